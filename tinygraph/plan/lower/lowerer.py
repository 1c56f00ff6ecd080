"""What all lowerings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from ...graph.ir import Graph, Node
from ..fusion.group import Group, Slot, Write
from ..fusion.state import Fusion
from ..indexing.accesses import resolve
from ..indexing.index import own
from ..memory.layout import Layout
from ..memory.memory import Memory
from ..records.lowered import Launches
from ..records.plan import Launch
from ..records.target import Target
from ..records.work import Access, Location, Nest
from .copies import Copies, nest_launch

Stores = Sequence[tuple[Write, Location]]


class BodyPlanner(Protocol):
    """Plans the body of a loop: its groups as launches, not yet ordered."""

    def __call__(
        self,
        graph: Graph,
        updates: Sequence[Node],
        locations: Mapping[Node | Slot, Location],
        invariant: Set[Node],
    ) -> Launches: ...


@dataclass(frozen=True, slots=True)
class Lowerer:
    """One graph whose groups become launches.

    Attributes:
        updates: parameters whose new values are outputs of the graph.
        fixed: nodes whose values stay between runs.
        conv: the user's choices of convolution algorithms, by name or scope.
        plan_body: plans a loop's body with a planner of its own.
        remarks: why a choice was made.
    """

    graph: Graph
    updates: Sequence[Node]
    fusion: Fusion
    layout: Layout
    memory: Memory
    fixed: Set[Node]
    target: Target
    conv: Mapping[str, str]
    plan_body: BodyPlanner
    remarks: list[str] = field(default_factory=list)

    def copies(self, group: Group) -> Copies:
        """For the copies that a group needs, and to collect its launches."""
        return Copies(self.memory, self.fixed, self.target, group.device)

    def nest(self, name: str, nest: Nest, nodes: tuple[Node, ...]) -> Launch:
        """A nest as a launch."""
        return nest_launch(self.target, name, nest, nodes)

    def located(self, x: Node) -> Access:
        """A whole value that is in memory, over its own axes."""
        leaf = self.fusion.pull(x, own(x.shape), x.shape)
        assert leaf is not None and not leaf.guards
        return resolve(self.layout.of(leaf.root), leaf, len(x.shape))


def label(group: Group) -> str:
    """A kernel's name: its operators in order, the main one first."""
    names = [n.op.name for n in group.index]
    if group.anchor is not None:
        names = [group.anchor.op.name, *(x for x in names if x != group.anchor.op.name)]
    return "_".join(dict.fromkeys(names))[:60]
