"""Element-wise nests whose operands are contiguous along two different axes, such as transposes.

Whichever axis is innermost, one of the operands is read or written with a line of the cache for
each element. In tiles, these lines stay in the first cache until all of their elements were met.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

from ..indexing.accesses import full_strides
from ..records.work import Access, Nest, Put
from .arrange import permute

FEW = 8  # elements of an axis that is unrolled within the other


def tiled(nest: Nest, tile: int) -> Nest | None:
    """An arranged nest that goes through two axes in tiles, or None if that has no use.

    The last axis is then the one along which results are stored, since a line of the cache that is
    written costs more than one that is read, unless it is so short that it is unrolled.
    """
    pair = disagreement(nest)
    if pair is None or not tile:
        return None
    across, along = pair
    if nest.axes[along] < nest.axes[across] and nest.axes[along] <= FEW:
        across, along = along, across
    if prod(nest.axes) < tile * tile:
        return None  # all of it stays in the first cache
    order = [a for a in range(len(nest.axes)) if a not in pair] + [across, along]
    moved = permute(nest, order, dict(enumerate(nest.axes)), len(order))
    if nest.axes[across] <= FEW:
        return replace(moved, style="unrolled", block=tile * tile // FEW)
    return replace(moved, style="tiled", block=tile)


def disagreement(nest: Nest) -> tuple[int, int] | None:
    """(another axis along which an operand is contiguous, the one along which most stores are)."""
    if nest.reduce or len(nest.axes) < 2:
        return None
    rank = len(nest.axes)
    strides = [full_strides(o, rank) for o in nest.operands]
    puts = [s.operand for stage in nest.stages for s in stage.outer if isinstance(s, Put)]
    along = Counter(a for p in puts for a in contiguous(strides[p], nest.operands[p]))
    if not along:
        return None
    last = max(along, key=lambda a: (along[a], a))
    # where that is short, as that of repeated pixels, others are better gone through in vectors
    beside = (-1, 1) if nest.axes[last] <= FEW else (-1, 0, 1)
    others = Counter(
        a
        for found, operand in zip(strides, nest.operands, strict=True)
        if found[last] not in beside
        for a in contiguous(found, operand)
    )
    return (max(others, key=lambda a: (others[a], a)), last) if others else None


def contiguous(strides: list[int], operand: Access) -> list[int]:
    """The axes along which an operand is contiguous, in either direction."""
    return [a for a, stride in enumerate(strides) if abs(stride) == 1]


def tiles(nest: Nest) -> int:
    """How many tiles a nest goes through, over all of its axes."""
    *outer, across, along = nest.axes
    rows = 1 if nest.style == "unrolled" else -(-across // nest.block)
    return prod(outer) * rows * -(-along // nest.block)
