"""Legality of fusion: whether a node fits into a group, and at which index.

A node fits where it has an index at which every input is either read from memory or computed in the
group at exactly that index. So legality is not a table of kinds of nodes: a group is legal if its
loops can be written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...graph.ir import Node
from ...graph.op import Index, Kind
from ..indexing.index import Indices, Leaf, own, push, substituted
from ..indexing.reads import element_reads, is_gather, loops_of
from ..records.reason import Reason
from .group import Group
from .state import Fusion


@dataclass(frozen=True, slots=True)
class Fit:
    """A node's index in a group; of a reduction also the axes that it runs over."""

    indices: Indices
    folds: Indices | None = None


def fit_elementwise(fusion: Fusion, n: Node, group: Group) -> Fit | Reason:
    """At the first index that suits."""
    reason = Reason.INDEX
    for indices in candidates(fusion, n, group):
        found = misfit(fusion, n, indices, group)
        if found is None:
            return Fit(indices)
        reason = found
    return reason


def candidates(fusion: Fusion, n: Node, group: Group) -> Iterator[Indices]:
    """Indices that n could have: those of an input of its shape, or of what a reduction of the
    group reads.
    """
    for i in n.inputs:
        if i.shape == n.shape and (indices := fusion.pushed(i, group)) is not None:
            yield indices
    if not group.windows and group.anchor is None:
        for other in list(group.index):
            whole = other.op.kind is Kind.REDUCE and loops_of(other).reads[0].outside is None
            if whole and other.inputs[0].shape == n.shape:
                yield fusion.read_at(other, group)


def misfit(fusion: Fusion, n: Node, indices: Indices, group: Group) -> Reason | None:
    """None if n can be computed at ``indices``: every input in memory, or in the group at that very
    index.
    """
    if any(a in group.reduce for i in indices for a, _ in i.terms):
        if group.anchor is not None:
            return Reason.STAGE
        if group.windows:
            return Reason.WINDOW
    if is_gather(n) and fusion.root(n.inputs[0]) in group.index:
        return Reason.INDEX
    for x, at in element_reads(n, indices, group.axes):
        leaf = fusion.pull(x, at, group.axes)
        if leaf is None:
            return Reason.INDEX
        if leaf.root in group.index and leaf.guards:
            return Reason.EDGES
        if leaf.root in group.index and leaf.indices != group.index[leaf.root]:
            return Reason.INDEX
    return None


def fit_view(fusion: Fusion, n: Node, group: Group) -> Fit | Reason:
    """A view that holds its value, in the group of what it is a view of."""
    indices = fusion.pushed(n.inputs[0], group)
    indices = push(n, indices, group.axes) if indices is not None else None
    return Reason.INDEX if indices is None else Fit(indices)


def fit_reduction(fusion: Fusion, n: Node, group: Group) -> Fit | Reason:
    """In the nest that computes its input: some output axes become reduction axes."""
    if n.op.kind is Kind.ANCHOR:
        return Reason.ANCHOR
    if group.anchor is not None:
        return Reason.STAGE
    if group.windows:
        return fit_window(fusion, n, group)
    loops, rank = loops_of(n), len(n.shape)
    at = fusion.pushed(n.inputs[0], group)
    if at is None:
        return Reason.INDEX
    mapping = match(loops.reads[0].indices, at, rank + len(loops.reduce))
    if mapping is None or loops.reads[0].outside is not None:
        return Reason.WINDOW
    axes = {a for i in mapping[rank:] for a, _ in i.terms}
    reduces = bool(group.reduce) or any(m in fusion.reduction_axes for m in group.index)
    if (reduces and group.reduce != axes) or not axes:
        return Reason.REDUCTION
    if any(a in axes for i in mapping[:rank] for a, _ in i.terms):
        return Reason.INDEX
    for x, how in list(zip(n.inputs, loops.reads, strict=True))[1:]:
        leaf = leaf_at(fusion, x, how.indices, mapping, group)
        if leaf is None or group.index.get(leaf.root, leaf.indices) != leaf.indices:
            return Reason.INDEX
    return Fit(mapping[:rank], mapping[rank:])


def fit_window(fusion: Fusion, n: Node, group: Group) -> Fit | Reason:
    """A reduction over the very windows of the group, as the positions of the maxima that it has
    just found.
    """
    loops, rank = loops_of(n), len(n.shape)
    if (*n.shape, *loops.reduce) != group.axes:
        return Reason.REDUCTION
    mapping = (*own(n.shape), *own(loops.reduce, rank))
    for x, how in zip(n.inputs, loops.reads, strict=True):
        if fusion.root(x) in group.index:
            leaf = leaf_at(fusion, x, how.indices, mapping, group)
            if leaf is None or leaf.guards or leaf.indices != group.index[leaf.root]:
                return Reason.WINDOW
    return Fit(mapping[:rank], mapping[rank:])


def leaf_at(
    fusion: Fusion, x: Node, indices: Indices, mapping: Indices, group: Group
) -> Leaf | None:
    """The leaf of ``x`` that a reduction with its axes at ``mapping`` reads."""
    at = substituted(indices, mapping, group.axes)
    return None if at is None else fusion.pull(x, at, group.axes)


def match(read: Indices, at: Indices, rank: int) -> Indices | None:
    """Solves read(mapping) == at for a reduction's own axes, if each has an index of its own."""
    mapping: dict[int, Index] = {}
    for index, value in zip(read, at, strict=True):
        if index.constant or index.divisor != 1 or len(index.terms) > 1:
            return None
        for axis, coefficient in index.terms:
            if coefficient != 1 or axis in mapping:
                return None
            mapping[axis] = value
    return tuple(mapping.get(a, Index()) for a in range(rank))
