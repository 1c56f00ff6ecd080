"""Sums of lanes: those of many vectors together, each step of a tree for two at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from llvmlite import ir

from .tile import Shape, i32


def add_lanes(b: ir.IRBuilder, shape: Shape, sums: Sequence[ir.Value]) -> list[ir.Value]:
    """Each row's sums of all lanes, of one column after the other in the first lanes of a vector.

    Halves of a vector are added, then halves of these: the sum of each is the same whatever it is
    added up with.
    """
    columns, lanes = shape.vectors, shape.lanes
    together = max(1, lanes // columns)  # rows that share a tree
    rows = list[ir.Value]()
    for first in range(0, shape.rows, together):
        some = sums[first * columns : (first + together) * columns]
        total, places = _tree(b, some, lanes)
        for row in range(len(some) // columns):
            own = places[row * columns : (row + 1) * columns]
            rest = [own[-1]] * (lanes - columns)  # nobody reads these
            picked = ir.Constant(ir.VectorType(i32, lanes), [*own, *rest])
            rows.append(b.shuffle_vector(total, total, picked))
    return rows


def _tree(b: ir.IRBuilder, sums: Sequence[ir.Value], lanes: int) -> tuple[ir.Value, list[int]]:
    """A vector with the sums of up to as many vectors as it has lanes, and the lane of each."""
    vectors: list[tuple[ir.Value, list[int]]] = [(x, [i]) for i, x in enumerate(sums)]
    nothing = ir.Constant(sums[0].type, ir.Undefined), [-1]
    length = lanes
    while length > 1:
        pairs = zip_longest(vectors[::2], vectors[1::2], fillvalue=nothing)
        vectors = [_halves(b, one, other, length) for one, other in pairs]
        length //= 2
    ((total, found),) = vectors
    return total, [found.index(i) for i in range(len(sums))]


def _halves(
    b: ir.IRBuilder,
    one: tuple[ir.Value, list[int]],
    other: tuple[ir.Value, list[int]],
    length: int,
) -> tuple[ir.Value, list[int]]:
    """Two vectors as one. Each of their runs, of ``length`` lanes, has what is left of one sum; the
    halves of a run are added in its first half, those of the other vector's run in the second.
    """
    (x, in_x), (y, in_y) = one, other
    lanes, half = x.type.count, length // 2
    kept, moved = list[int](), list[int]()
    for lane in range(lanes):
        first = lane % length < half
        kept.append(lane if first else lanes + lane)  # a blend, which is cheaper than a shuffle
        moved.append(lane + half if first else lanes + lane - half)
    kind = ir.VectorType(i32, lanes)
    added = (b.shuffle_vector(x, y, ir.Constant(kind, at)) for at in (kept, moved))
    in_y = in_y if len(in_y) == len(in_x) else [-1] * len(in_x)
    return b.fadd(*added), [n for both in zip(in_x, in_y, strict=True) for n in both]
