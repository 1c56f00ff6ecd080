"""Strides of values in memory, and how the axes of a nest reach them."""

from __future__ import annotations

from collections.abc import Sequence

from ..records.work import Access, Guard, Location
from .index import Leaf


def row_major(shape: tuple[int, ...], gap: int = 0) -> tuple[int, ...]:
    """Strides of an array in row-major order, with ``gap`` elements after each row."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
        step += gap if len(strides) == 1 else 0
    return tuple(reversed(strides))


def ordered_strides(shape: tuple[int, ...], order: Sequence[int], gap: int = 0) -> tuple[int, ...]:
    """Strides of an array whose axes lie in ``order``, outermost first, with so many elements
    behind each row.
    """
    lying = row_major(tuple(shape[axis] for axis in order), gap)
    strides = dict(zip(order, lying, strict=True))
    return tuple(strides[axis] for axis in range(len(shape)))


def is_row_major(place: Location, shape: tuple[int, ...]) -> bool:
    """True if an array is in row-major order, without gaps."""
    order = zip(shape, place.strides, row_major(shape), strict=True)
    return all(have == want for size, have, want in order if size > 1)


def resolve(place: Location, leaf: Leaf, rank: int) -> Access:
    """An access in the ``rank`` axes of a nest: indices melt into offset and strides, guards keep
    their own stride.
    """
    offset, strides = place.offset, [0] * (rank + len(leaf.guards))
    for index, stride in zip(leaf.indices, place.strides, strict=True):
        offset += index.constant * stride
        for a, c in index.terms:
            strides[a] += c * stride
    guards = tuple(Guard(g.index, g.size, strides[rank + k]) for k, g in enumerate(leaf.guards))
    return Access(place.buffer, offset, tuple(strides[:rank]), place.dtype, guards, leaf.outside,
                  place.step)  # fmt: skip


def place_access(place: Location, offset: int, strides: Sequence[int]) -> Access:
    return Access(place.buffer, offset, tuple(strides), place.dtype, step=place.step)


def full_strides(access: Access, rank: int) -> list[int]:
    """Strides including those of guarded axes."""
    strides = list(access.strides)
    for g in access.guards:
        for a, c in g.index.terms:
            if g.load is None:
                strides[a] += max(1, abs(c) * g.stride // g.index.divisor) if g.stride else 0
    return strides
