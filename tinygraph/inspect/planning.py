"""The planner, step by step: what each took, and what it left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.ir import Node
from ..plan.records.plan import Launch
from ..plan.schedule import Planning
from .record import Compiled


@dataclass(frozen=True, slots=True)
class PlannerStep:
    """A step of the planner.

    Attributes:
        name: of the function in ``tinygraph/plan/schedule.py``; ``without=`` takes those of the
            optional ones.
        seconds: that it took.
        left: a count of what is there after it: groups, then launches.
        text: the groups, or the launches, by their nodes.
    """

    name: str
    seconds: float
    left: str
    text: str


def planner_steps(compiled: Compiled, names: Mapping[Node, str]) -> list[PlannerStep]:
    """Plans once more, and records every step; ``names`` are the nodes' labels."""
    found: list[PlannerStep] = []
    start = time.perf_counter()

    def watch(name: str, planning: Planning) -> None:
        nonlocal start
        seconds = time.perf_counter() - start
        found.append(PlannerStep(name, seconds, *progress(planning, names)))
        start = time.perf_counter()

    compiled.replan(watch)
    return found


def progress(planning: Planning, names: Mapping[Node, str]) -> tuple[str, str]:
    """A count of the groups or launches so far, and a line for each."""

    def line(number: int, nodes: Sequence[Node]) -> str:
        return f"{number:>3}  " + ", ".join(f"{names.get(n, '?')} {n.op.name}" for n in nodes)

    made = planning.launches
    if not made.run and not made.prepare:
        groups = planning.order or planning.fusion.groups
        lines = [line(number, list(g.index)) for number, g in enumerate(groups)]
        return f"{len(groups)} groups", "\n".join(lines)
    launches: list[Launch] = [*made.prepare, *made.run]
    lines = [line(number, x.nodes or x.members[0].nodes) for number, x in enumerate(launches)]
    prepared = f", {len(made.prepare)} prepared" if made.prepare else ""
    return f"{len(made.run)} launches{prepared}", "\n".join(lines)


def planning_text(name: str, steps: Sequence[PlannerStep]) -> str:
    """A table of the steps."""
    total = sum(s.seconds for s in steps)
    text = [f"planning {name}: {len(steps)} steps, {1e3 * total:.1f} ms"]
    width = max(len(s.name) for s in steps)
    text += [f"  {s.name:<{width}}  {1e3 * s.seconds:>8.2f} ms  {s.left}" for s in steps]
    return "\n".join(text) + "\n"
