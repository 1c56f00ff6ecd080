"""The record of a compilation: the graph after every step, the plan, the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..codegen.program import Code
from ..graph.ir import Graph
from ..graph.rewrite import Event
from ..plan.records.plan import Plan
from ..plan.schedule import Watch


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The graph that a pass left, and the rules applied on the way; the first is the original."""

    name: str
    graph: Graph
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """The result of a compilation, and everything that was recorded on the way.

    ``replan`` plans once more, under the eyes of a ``watch`` as ``schedule`` takes it.
    """

    steps: tuple[Snapshot, ...]
    plan: Plan
    code: Code
    replan: Callable[[Watch], Plan]

    @property
    def graph(self) -> Graph:
        """The optimized graph."""
        return self.steps[-1].graph
