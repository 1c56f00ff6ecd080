"""The shape of a nest's loops: how a reduction stands within them, which of them go in tiles."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..indexing.accesses import full_strides
from ..records.plan import Nest
from ..records.target import Shaping
from .tiling import tiled, tiles

# Columns that are added up once, too many for a cache, come at memory's rate if much of a row is
# read at a time; their sums are then in the first cache instead of registers.
STREAMED = 1 << 18  # elements
WIDE_PARTS = 4  # of a row, for as many threads
WIDEST = 8  # large blocks


def shaped(nest: Nest, shaping: Shaping) -> Nest:
    """An arranged nest with the shape of its loops."""
    nest = tiled(nest, shaping.tile) or replace(nest, style=style(nest, shaping.unrolled))
    if nest.style != "column":
        return nest
    return replace(nest, block=block_of(nest, shaping.blocks))


def pieces(nest: Nest) -> int:
    """Into how many pieces a shaped nest can be cut: tiles, or steps of its outermost axis."""
    if nest.style in ("tiled", "unrolled"):
        return tiles(nest)
    outer = nest.axes[0] if 0 not in nest.reduce and nest.axes else 1
    if nest.style == "column" and len(nest.reduce) == len(nest.axes) - 1:
        outer = -(-outer // nest.block)
    return outer


def style(nest: Nest, unrolled: int) -> str:
    """The innermost loop: the reduction, or the last output axis around a reduction that is blocked
    or, up to ``unrolled`` steps of all passes over it, unrolled.
    """
    if not nest.reduce or len(nest.reduce) == len(nest.axes):
        return "row"
    last = nest.reduce[0] - 1
    rank = len(nest.axes)
    reads = [
        s for s in (full_strides(o, rank) for o in nest.operands) if any(s[a] for a in nest.reduce)
    ]
    main = max(
        reads, key=lambda s: prod(n for n, x in zip(nest.axes, s, strict=True) if x), default=None
    )
    if main is None or all(s[last] != 1 for s in reads):
        return "row"
    # every pass over the reduction is unrolled: the values of one do not wait for the next in
    # registers if there are many, and edges of windows are tested outside of the innermost loop
    count = 1 if any(o.guards for o in nest.operands) else passes(nest)
    steps = count * prod(nest.axes[a] for a in nest.reduce)
    return "literal" if steps <= unrolled else "column"


def block_of(nest: Nest, blocks: tuple[int, int, int]) -> int:
    """Columns that are worked on at a time: whole vectors, blocks enough for several threads, and
    no remainder if that can be.
    """
    first = nest.reduce[0]
    columns = nest.axes[first - 1]
    large, medium, small = blocks
    if first == 1 and prod(nest.axes) >= STREAMED and passes(nest) == 1:
        wide = -(-columns // WIDE_PARTS // small) * small
        return columns if columns <= large else max(large, min(wide, WIDEST * large))
    most = small if columns < 2 * medium else medium
    most = large if first > 1 or columns >= 4 * large else most
    return next((b for b in blocks if b <= most and columns % b == 0), min(most, medium))


def passes(nest: Nest) -> int:
    """How often a nest goes through its reduction."""
    return sum(bool(stage.inner) for stage in nest.stages)
