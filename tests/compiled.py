"""Runs graphs through planning and code generation as plain Python, without a compiler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from targets import schedule
from tinygraph.codegen.assemble import assemble
from tinygraph.codegen.module import module_text
from tinygraph.codegen.python import execute
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Target
from tinygraph.plan.verify import verify_plan


def run_python(
    graph: Graph, *arrays: np.ndarray, target: Target | None = None, without: Sequence[str] = ()
) -> list:
    """The outputs of a graph, computed by its generated module in plain Python."""
    plan = verify_plan(schedule(graph, target=target, without=frozenset(without)))
    return execute_plan(plan, graph, *arrays)


def execute_plan(plan: Plan, graph: Graph, *arrays: np.ndarray) -> list:
    code = assemble(plan)
    outputs = [np.zeros(o.shape, DTYPES[o.dtype].numpy) for o in graph.outputs]
    blocks = {("input", i): np.ascontiguousarray(a) for i, a in enumerate(arrays)}
    blocks |= {("output", i): o.reshape(-1) for i, o in enumerate(outputs)}
    blocks |= {
        ("constant", i): np.array(c.attr("value").data) for i, c in enumerate(plan.constants)
    }
    for i, p in enumerate(graph.parameters):
        blocks["parameter", i] = np.ascontiguousarray(p.state.read().transpose(p.state.order))
    execute(module_text(code, plan, graph), code, blocks)
    return outputs


def graph_of(*outputs: Node, name: str = "g") -> Graph:
    """A graph whose inputs are those that its outputs reach."""
    reached = Graph(name, (), outputs).nodes
    return Graph(name, tuple(n for n in reached if n.op is INPUT), outputs)
