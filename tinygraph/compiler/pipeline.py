"""From a graph to code: passes, planning, code; verified between steps, every step recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from ..codegen.program import Code
from ..graph.ir import Graph, Parameter
from ..graph.origins import defined_at
from ..graph.placement import device
from ..graph.rewrite import Event
from ..graph.verify import VerifyError, verify, verify_pass
from ..inspect.record import Compiled, Step
from ..passes import PIPELINE
from ..passes.expand_winograd import expand_winograd
from ..plan.contraction.tiling import Target
from ..plan.records.plan import Plan
from ..plan.schedule import schedule
from ..plan.verify import verify_plan
from .options import Pass

Check = Callable[[Pass, Graph, Graph], None]


def run_passes(
    graph: Graph,
    passes: Sequence[Pass] = PIPELINE,
    without: frozenset[str] = frozenset(),
    check: Check | None = None,
) -> tuple[Step, ...]:
    """The graph after each pass, the original first.

    A pass is ``f(graph) -> Graph``; one with a second argument ``log`` is given a list for its
    events. ``check(pass, before, after)`` may raise.
    """
    steps = [Step("graph", verify(graph))]
    for each, name in zip(passes, step_names(passes), strict=True):
        if each.__name__ in without:
            continue
        before, log = steps[-1].graph, list[Event]()
        keywords = {"log": log} if "log" in inspect.signature(each).parameters else {}
        after = each(before, **keywords)
        if not isinstance(after, Graph):
            made = "None" if after is None else f"a {type(after).__name__}"
            raise VerifyError(f"{defined_at(each)}: pass {name} returned {made}, not a Graph")
        verify_pass(before, after, name)
        if check is not None:
            check(each, before, after)
        steps.append(Step(name, after, tuple(log)))
    return tuple(steps)


def step_names(passes: Sequence[Pass]) -> list[str]:
    """What the steps are called: the passes' names, a second one of a name with its number."""
    names: list[str] = []
    for each in passes:
        count = sum(n.partition(".")[0] == each.__name__ for n in names)
        names.append(f"{each.__name__}.{count + 1}" if count else each.__name__)
    return names


def winograd_step(graph: Graph, conv: Mapping[str, str], remarks: list[str]) -> Step:
    """What a backend without Winograd kernels needs to follow ``conv``. Its values are less exact,
    and one NaN spreads over a tile: as with kernels, that is the user's choice, and not checked.
    """
    log: list[Event] = []
    after = expand_winograd(graph, conv, log, remarks)
    return Step("winograd", verify_pass(graph, after, "winograd"), tuple(log))


def translate(
    graph: Graph,
    updates: Sequence[Parameter],
    parameters: Sequence[Parameter],
    target: Target,
    assemble: Callable[[Plan], Code],
    passes: Sequence[Pass] = PIPELINE,
    without: frozenset[str] = frozenset(),
    conv: Mapping[str, str] | None = None,
    check: Check | None = None,
) -> Compiled:
    """Code for a graph whose last outputs are the new values of ``updates``.

    Buffers count ``parameters`` in order; ``assemble`` is the backend's. ``conv`` overrules how
    convolutions are computed, by name; "" stands for all others.
    """
    with device(None):  # what is placed has been placed
        steps = run_passes(graph, passes, without, check)
        remarks: list[str] = []
        if conv and not target.winograd and {*conv.values()} != {"implicit"}:
            steps = (*steps, winograd_step(steps[-1].graph, conv, remarks))
        plan = schedule(steps[-1].graph, updates, parameters, target, without, conv)
        plan.remarks[:0] = remarks
    verify_plan(plan)
    return Compiled(steps, plan, assemble(plan))
