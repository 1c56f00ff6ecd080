"""Where nodes read their inputs: an index for each of an input's axes."""

from __future__ import annotations

from ...graph.ir import Node
from ...graph.op import Kind, Loops
from .index import Indices, aligned, join, substituted


def loops_of(n: Node) -> Loops:
    """A node as a loop nest; its operator has one."""
    return n.op.nest(n)


def is_gather(n: Node) -> bool:
    """Reads its first input at positions that its second input holds.

    A transparent operator of two inputs is its first one, where the pass that removes it is left
    out.
    """
    return n.op.kind is Kind.VIEW and len(n.inputs) > 1 and not n.op.transparent


def element_reads(n: Node, indices: Indices, sizes: tuple[int, ...]) -> list[tuple[Node, Indices]]:
    """Where an element-wise node at ``indices`` reads its inputs; of a gather, where it reads the
    positions.
    """
    if is_gather(n):
        at = substituted(loops_of(n).reads[1].indices, indices, sizes)
        assert at is not None, f"{n!r} reads positions that are not affine"
        return [(n.inputs[1], at)]
    return [(i, aligned(i, len(n.shape), indices)) for i in n.inputs]


def gathered_as_slice(n: Node, indices: Indices, sizes: tuple[int, ...]) -> tuple[Node, Indices]:
    """Where a gather at ``indices`` would read its data if the positions counted up from zero: a
    result in the order of those reads is in the order of the data.
    """
    data, positions = loops_of(n).reads
    ((axis, _),) = data.gather
    others = {a for index in data.indices for a, _ in index.terms}
    new = [
        (size, index)
        for size, index in zip(n.inputs[1].shape, positions.indices, strict=True)
        if others.isdisjoint(a for a, _ in index.terms)
    ]
    along = join(tuple(size for size, _ in new), tuple(index for _, index in new), n.shape)
    at = substituted((*data.indices[:axis], along, *data.indices[axis + 1 :]), indices, sizes)
    assert at is not None, f"{n!r} reads its data at places that are not affine"
    return n.inputs[0], at
