"""Which launch runs on which device, and which values cross."""

from __future__ import annotations

from collections.abc import Set

from ...graph.ir import Graph, Node
from ...graph.op import PLACE
from ...graph.placement import device_of, numbered, parts_of, rank_of
from ..fusion.state import Fusion


def device_names(graph: Graph) -> tuple[str, ...]:
    """The devices of a graph by number, up to the last that it uses; () where it is not placed."""
    names = numbered(d for n in graph.nodes if (d := device_of(n)) is not None)
    if any(rank_of(d) is not None for d in names):
        return tuple(names)
    kinds = sorted({parts_of(d)[1] for d in names})
    count = max((number + 1 for number in names.values()), default=0)
    return tuple(f"{kinds[0]}:{number}" for number in range(count))


def crossings(fusion: Fusion, fixed: Set[Node]) -> dict[tuple[Node, int], int]:
    """(value, reading device) -> its own device, for what a run computes on one, reads on another.

    Inputs, parameters and what is prepared from them are where they are read.
    """
    found: dict[tuple[Node, int], int] = {}
    for group in fusion.groups:
        for n in group.index:
            for x in (n,) if group.copy else n.inputs:
                root = fusion.root(x)
                for writer in fusion.writers.get(root, ()) if root not in fixed else ():
                    if writer.device != group.device:
                        found[brought(n, x, root), group.device] = writer.device
    return found


def brought(reader: Node, x: Node, root: Node) -> Node:
    """The value that ``place`` brings to a reader of ``x``, a view of ``root``; else the root."""
    value = x if reader.op is PLACE else root
    while x is not root and x.inputs:
        if x.op is PLACE:
            value = x.inputs[0]
        x = x.inputs[0]
    return value
