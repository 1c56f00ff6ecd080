"""Groups that move: element-wise values that only one other kernel reads are computed in it."""

from __future__ import annotations

from collections.abc import Set

from ...graph.ir import Node
from ..indexing.index import Indices
from ..indexing.reads import element_reads, is_gather, loops_of
from .group import LIMIT, Group
from .state import Fusion


def absorb(fusion: Fusion, fixed: Set[Node] = frozenset()) -> None:
    """Element-wise groups whose values only one other group reads move into that group; but not
    those of ``fixed`` values, which are the same in every run, into the tiles of a contraction.
    """
    users = fusion.users()
    for group in reversed(fusion.groups):
        readers = {g for n in group.index for g in users.get(n, ())} - {group}
        folds = any(n in fusion.reduction_axes for n in group.index)
        if folds or group.opaque is not None or group.copy or group.stores or len(readers) != 1:
            continue
        (reader,) = readers
        if reader.anchor is not None and all(n in fixed for n in group.index):
            continue
        indices = absorbed(fusion, group, reader)
        if indices is not None:
            for n in move(fusion, group, reader, indices):
                for x in n.inputs:
                    users[fusion.root(x)].discard(group)
                    users[fusion.root(x)].add(reader)


def absorbed(fusion: Fusion, group: Group, reader: Group) -> dict[Node, Indices] | None:
    """An index in the reader's axes for each node of the group; None if some node has none, or
    two.
    """
    if (
        reader.opaque is not None
        or reader.copy
        or len(group.index) + len(reader.index) > LIMIT
        or reader.device != group.device
        or any(n in fusion.held or n in fusion.housed for n in group.index)
    ):
        return None
    found: dict[Node, Indices] = {}

    def claim(x: Node, at: Indices) -> bool:
        leaf = fusion.pull(x, at, reader.axes)
        if leaf is None:
            return fusion.root(x) not in group.index
        if leaf.root not in group.index:
            return True
        return not leaf.guards and found.setdefault(leaf.root, leaf.indices) == leaf.indices

    for n, at in reader.index.items():
        reads = reads_of(fusion, group, reader, n, at)
        if reads is None or not all(claim(x, i) for x, i in reads):
            return None
    for n in reversed(group.index):
        source = fusion.root(n.inputs[0]) if is_gather(n) else None
        if n not in found or source in group.index or source in reader.index:
            return None
        if not all(claim(x, i) for x, i in element_reads(n, found[n], reader.axes)):
            return None
    inner = any(a in reader.reduce for at in found.values() for i in at for a, _ in i.terms)
    if inner and reader.anchor is not None:
        return None
    whole = all(once(n, found[n], reader) for n in group.index if n in fusion.results)
    return found if whole else None


def reads_of(
    fusion: Fusion, group: Group, reader: Group, n: Node, at: Indices
) -> list[tuple[Node, Indices]] | None:
    """Where the reader's node reads its inputs; None if it needs the group's values in memory."""
    mine = [fusion.root(x) in group.index for x in n.inputs]
    if n in fusion.reduction_axes:
        edges = any(
            r.outside is not None for r, m in zip(loops_of(n).reads, mine, strict=True) if m
        )
        if any(mine) and (reader.windows or reader.anchor is not None or edges):
            return None
        return [(x, fusion.read_at(n, reader, i)) for i, x in enumerate(n.inputs)]
    if n in fusion.held:
        return None if mine[0] else []
    if is_gather(n) and mine[0]:
        return None
    return element_reads(n, at, reader.axes)


def move(
    fusion: Fusion, group: Group, reader: Group, indices: dict[Node, Indices]
) -> tuple[Node, ...]:
    """Moves a group's nodes, and returns them; none if that would close a cycle."""
    if fusion.depends(reader.needs - {reader.number, group.number}, group):
        return ()
    moved = tuple(group.index)
    reader.index = {**{n: indices[n] for n in group.index}, **reader.index}
    reader.needs = (reader.needs | group.needs) - {group.number, reader.number}
    for n in group.index:
        fusion.writers[n] = [reader]
    group.index, group.needs = {}, set()
    fusion.refused = [
        r for r in fusion.refused if fusion.writers.get(r[0]) != fusion.writers.get(r[1])
    ]
    return moved


def once(n: Node, indices: Indices, group: Group) -> bool:
    """True if a group that computes n at ``indices`` computes each element, and each once."""
    axes: list[int] = []
    for index, size in zip(indices, n.shape, strict=True):
        if size > 1:
            if len(index.terms) != 1 or index.divisor != 1:
                return False
            ((axis, coefficient),) = index.terms
            if abs(coefficient) != 1 or group.axes[axis] != size:
                return False
            axes.append(axis)
    inner = any(a in group.reduce for a in axes)
    needed = [
        a for a, size in enumerate(group.axes) if size > 1 and (inner or a not in group.reduce)
    ]
    return sorted(axes) == needed
