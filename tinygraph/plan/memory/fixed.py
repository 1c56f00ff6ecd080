"""Values that stay between runs, and so are computed once: in the launches that prepare a run."""

from __future__ import annotations

from collections.abc import Iterable, Set

from ...graph.ir import Graph, Node
from ...graph.op import INPUT, Kind
from ..fusion.group import Group
from ..fusion.state import Fusion
from ..records.plan import Launch
from ..records.work import Buffer


def fixed_nodes(
    graph: Graph, fusion: Fusion, updates: Iterable[Node], invariant: Set[Node] = frozenset()
) -> Set[Node]:
    """Nodes that depend on constants and on parameters that the program does not update.

    Without those whose kernel also does what must be done in every run. ``invariant`` are inputs of
    a loop's body that are the same in every step: they count as fixed.
    """
    changing: set[Node] = set(updates)
    while True:
        fixed = unchanging(graph, fusion, changing, invariant)
        mixed = [g for g in fusion.groups if not is_fixed(g, fixed)]
        more = {n for g in mixed for n in g.index if n in fixed and n.op.kind is not Kind.SOURCE}
        if not more:
            return fixed
        changing |= more


def unchanging(
    graph: Graph, fusion: Fusion, changing: Set[Node], invariant: Set[Node]
) -> Set[Node]:
    """Nodes that depend on nothing that changes."""
    fixed: set[Node] = set()
    for n in (*graph.nodes, *(n for g in fusion.groups for n in g.index)):
        if (
            (n.op is not INPUT or n in invariant)
            and n.op.kind is not Kind.LOOP
            and not n.op.ordered
            and n not in changing
            and all(i in fixed for i in n.inputs)
        ):
            fixed.add(n)
    return fixed


def make_temporary(buffers: Iterable[Buffer], launches: Iterable[Launch]) -> None:
    """Prepared values that no launch of a run reads, such as weights before they are packed, go as
    soon as they have been used.
    """
    read = {id(a.buffer) for launch in launches for a in launch.accesses}
    gone = (b for b in buffers if b.home == "prepared" and id(b) not in read)
    for number, buffer in enumerate(gone):
        buffer.home, buffer.number = "temporary", number


def is_fixed(group: Group, fixed: Set[Node]) -> bool:
    """True if a group computes, and stores, values that stay between runs only."""
    return all(n in fixed for n in (*group.index, *(s.dest for s in group.stores)))
