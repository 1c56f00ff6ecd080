"""Plans of small graphs of integers, run as plain Python, against the reference: bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from random_networks import Network, integers
from targets import SMALL, schedule
from tinygraph.codegen.assemble import assemble
from tinygraph.codegen.module import module_text
from tinygraph.codegen.python import execute
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node, Parameter, position
from tinygraph.graph.op import INPUT, input
from tinygraph.graph.parameter import parameter
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Target
from tinygraph.plan.verify import verify_plan

EXACT = {"": "implicit"}  # Winograd's transforms round


def planned(
    net: Network,
    without: Sequence[str] = (),
    conv: dict[str, str] | None = None,
    target: Target = SMALL,
) -> Plan:
    left_out, conv = frozenset(without), conv or EXACT
    return verify_plan(schedule(net.graph, net.updates, target=target, without=left_out, conv=conv))


def results(net: Network, plan: Plan) -> list[np.ndarray]:
    """The outputs, then the new values of the updated parameters."""
    graph, code = net.graph, assemble(plan)
    parameters = tuple(dict.fromkeys((*graph.parameters, *net.updates)))
    count = len(graph.outputs) - len(net.updates)
    outputs = [np.zeros(o.shape, o.dtype) for o in graph.outputs[:count]]
    states = [
        np.array(p.state.read().transpose(p.state.order), order="C", ndmin=1) for p in parameters
    ]
    blocks = {("input", i): np.ascontiguousarray(a) for i, a in enumerate(net.arrays)}
    blocks |= {("output", i): o.reshape(-1) for i, o in enumerate(outputs)}
    blocks |= {
        ("constant", i): np.array(c.attr("value").data) for i, c in enumerate(plan.constants)
    }
    blocks |= {("parameter", i): s for i, s in enumerate(states)}
    execute(module_text(code, plan, graph), code, blocks)
    for p in net.updates:
        physical = states[position(p, parameters)].reshape([p.shape[a] for a in p.state.order])
        outputs.append(physical.transpose(np.argsort(p.state.order)) if p.shape else physical)
    return outputs


def agree(net: Network, without: Sequence[str] = (), **options: Any) -> Plan:
    plan = planned(net, without, **options)
    for got, want in zip(results(net, plan), run(net.graph, *net.arrays), strict=True):
        np.testing.assert_array_equal(got, want)
    return plan


def network(*outputs: Node, updates: dict[Parameter, Node] | None = None) -> Network:
    """A network of these outputs and updates, with integers for its inputs."""
    pairs = updates or {}
    whole = (*outputs, *pairs.values())
    inputs = tuple(n for n in Graph("", (), whole).nodes if n.op is INPUT)
    arrays = [integers(i.shape, i.dtype, seed) for seed, i in enumerate(inputs)]
    return Network(Graph("g", inputs, whole), tuple(pairs), arrays)


def state(*shape: int, order: tuple[int, ...] | None = None) -> Parameter:
    return parameter(integers(shape, "float32", len(shape)), name="p", order=order)


def x(*shape: int, name: str = "x") -> Node:
    return input(name, *shape)
