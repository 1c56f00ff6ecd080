"""From a graph to code: passes, planning, code; verified between steps, every step recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..codegen.program import Code
from ..graph.ir import Graph, Parameter
from ..graph.origins import built_from, defined_at, origins
from ..graph.placement import device
from ..graph.rewrite import Event
from ..graph.verify import VerifyError, verify, verify_pass
from ..inspect.record import Compiled, Snapshot
from ..passes import APPROXIMATE, PIPELINE, expand_winograd
from ..passes.widen import require_wide
from ..plan.records.plan import Plan
from ..plan.records.target import Hasty, Target
from ..plan.schedule import Watch, schedule
from ..plan.touched import PlanError
from ..plan.verify import verify_plan
from .options import Pass

Check = Callable[[Pass, Graph, Graph], None]


def run_passes(
    graph: Graph,
    passes: Sequence[Pass] = PIPELINE,
    without: frozenset[str] = frozenset(),
    check: Check | None = None,
    verify_all: bool = True,
    **given: Any,
) -> tuple[Snapshot, ...]:
    """The graph after each pass, the original first.

    A pass is ``f(graph) -> Graph``. What else it names as parameters it is given: ``log``, a list
    for its events, and of ``given`` (``target``, ``conv``, ``precision``, ``remarks`` when a
    program is compiled).
    ``check(pass, before, after)`` may raise. Without ``verify_all``, only the last graph is
    verified.
    """
    steps = [Snapshot("graph", verify(graph))]
    for each, name in zip(passes, step_names(passes), strict=True):
        if each.__name__ in without:
            continue
        before, log = steps[-1].graph, list[Event]()
        named = inspect.signature(each).parameters
        keywords = {k: v for k, v in (given | {"log": log}).items() if k in named}
        with built_from(()):  # nodes of a pass come from those that they replace
            after = each(before, **keywords)
        if not isinstance(after, Graph):
            made = "None" if after is None else f"a {type(after).__name__}"
            raise VerifyError(f"{defined_at(each)}: pass {name} returned {made}, not a Graph")
        if verify_all:
            verify_pass(before, after, name)
        if check is not None and each not in APPROXIMATE:
            check(each, before, after)
        steps.append(Snapshot(name, after, tuple(log)))
    if not verify_all:
        verify_pass(graph, steps[-1].graph, f"one of {', '.join(s.name for s in steps[1:])}")
    return tuple(steps)


def step_names(passes: Sequence[Pass]) -> list[str]:
    """The names of the stages: each pass's name, numbered when repeated."""
    names: list[str] = []
    for each in passes:
        count = sum(n.partition(".")[0] == each.__name__ for n in names)
        names.append(f"{each.__name__}.{count + 1}" if count else each.__name__)
    return names


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
    precision: str | None = None,
) -> Compiled:
    """Code for a graph whose last outputs are the new values of ``updates``.

    Buffers count ``parameters`` in order; ``assemble`` is the backend's. ``conv`` overrules how
    convolutions are computed, by name; "" means all others; ``precision`` is as in ``compile``.
    """
    with device(None):  # what is placed has been placed
        remarks: list[str] = []
        given = {"target": target, "conv": conv, "precision": precision, "remarks": remarks}
        own = isinstance(target, Hasty) and bool(target.without) and set(passes) <= set(PIPELINE)
        steps = run_passes(graph, passes, without, check, verify_all=not own, **given)
        require_wide(steps[-1].graph)
        ran = any(s.name == expand_winograd.__name__ for s in steps)
        if not (ran or target.winograd or {*(conv or {}).values()} <= {"implicit"}):
            remarks.append(
                "conv asks for Winograd, for which this backend has no kernels, and the "
                "pass expand_winograd is left out: convolutions are implicit"
            )
        made = partial(schedule, steps[-1].graph, updates, parameters, target, conv=conv)
        plan = verified(made, without, graph)
        plan.remarks[:0] = remarks

    def replan(watch: Watch) -> Plan:
        with device(None):
            return made(without=without, watch=watch)

    return Compiled(steps, plan, replace(assemble(plan), updates=bool(updates)), replan)


def verified(made: Callable[..., Plan], without: frozenset[str], graph: Graph) -> Plan:
    """The plan that ``made(without=...)`` makes, verified.

    Raises:
        PlanError: with the user's lines, what to leave out meanwhile, and how to report it.
    """
    try:
        return verify_plan(made(without=without))
    except PlanError as error:
        error.graph = graph
        nodes = [n for x in error.launches for m in x.members for n in m.nodes]
        lines = dict.fromkeys(str(o) for n in nodes for o in origins(n))
        ways = (without.union(more) for more in (["fuse"], ["contract"], ["fuse", "contract"]))
        way = next((sorted(w) for w in ways if is_right(made, w)), None)
        meanwhile = f"without={way}, which is planned right" if way else "nothing known"
        error.args = (
            f"{error}\n"
            f"  it is planned for: {'; '.join(lines) or 'the whole program'}\n"
            f"  this is a fault of tinygraph, not of your program\n"
            f"  what helps meanwhile: {meanwhile}\n"
            f"  to report it, add the program's text: tg.dump(error.graph) of this error",
        )
        raise


def is_right(made: Callable[..., Plan], without: frozenset[str]) -> bool:
    try:
        verify_plan(made(without=without))
    except Exception:  # it is only asked for advice, while another error is on its way
        return False
    return True
