"""From a graph to code: passes, planning, code; verified between steps, every step recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .codegen.program import Code, assemble
from .dump import dump
from .ir import Graph, Parameter
from .passes import PIPELINE
from .plan.contract import Target
from .plan.plan import Plan
from .plan.report import plan_text, remarks
from .plan.schedule import schedule
from .plan.verify import verify_plan
from .verify import verify

Pass = Callable[[Graph], Graph]


@dataclass(slots=True)
class Compiled:
    """What compiling made of a graph, and everything that was recorded on the way."""

    graph: Graph
    plan: Plan
    code: Code
    stages: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    graphs: dict[str, Graph] = field(default_factory=dict)


def run_passes(
    graph: Graph, passes: Sequence[Pass] = PIPELINE, without: frozenset[str] = frozenset(),
    check: Callable[[Pass, Graph, Graph], None] | None = None,
) -> dict[str, Graph]:
    """The graph after each pass, by the pass' name, the original first."""
    graphs = {"graph": verify(graph)}
    for each in passes:
        name = each.__name__
        if name in without:
            continue
        after = verify(each(graph), after=name)
        if check is not None:
            check(each, graph, after)
        graphs[name] = graph = after
    return graphs


def translate(
    graph: Graph, updates: Sequence[Parameter], parameters: Sequence[Parameter], target: Target,
    passes: Sequence[Pass] = PIPELINE, without: frozenset[str] = frozenset(),
    check: Callable[[Pass, Graph, Graph], None] | None = None,
) -> Compiled:
    """Code for a graph whose last outputs are the new values of ``updates``; buffers count ``parameters`` in order."""
    graphs = run_passes(graph, passes, without, check)
    optimized = list(graphs.values())[-1]
    plan = schedule(optimized, updates, parameters, target, without)
    verify_plan(plan)
    code = assemble(plan)
    result = Compiled(optimized, plan, code, graphs=graphs)
    result.stages = {name: dump(g) for name, g in graphs.items()}
    result.stages["plan"] = plan_text(plan)
    result.remarks = remarks(plan)
    return result


