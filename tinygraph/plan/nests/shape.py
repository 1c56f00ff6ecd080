"""The shape of a nest's loops: how a reduction stands within them, which of them go in tiles."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..indexing.accesses import full_strides
from ..records.body import Statement
from ..records.target import Shaping
from ..records.work import Access, Load, Nest, Position, Put
from .tiling import tiled, tiles

# Columns that are added up once, too many for a cache, come at memory's rate if much of a row is
# read at a time; their sums are then in the first cache instead of registers.
STREAMED = 1 << 18  # elements
WIDE_PARTS = 4  # of a row, for as many threads
WIDEST = 8  # large blocks

MANY_ROWS = 16  # of a reduction, next to which folding the lanes at its end costs little


def shaped(nest: Nest, shaping: Shaping) -> Nest:
    """An arranged nest with the shape of its loops."""
    nest = tiled(nest, shaping.tile) or replace(nest, style=style(nest, shaping))
    if nest.style == "column":
        return replace(nest, block=block_of(nest, shaping.blocks))
    return in_lanes(nest, shaping.row)


def pieces(nest: Nest) -> int:
    """Into how many pieces a shaped nest can be cut: tiles, or steps of its outermost axis."""
    if nest.style in ("tiled", "unrolled"):
        return tiles(nest)
    outer = nest.axes[0] if 0 not in nest.reduce and nest.axes else 1
    if nest.style == "column" and len(nest.reduce) == len(nest.axes) - 1:
        outer = -(-outer // nest.block)
    return outer


def style(nest: Nest, shaping: Shaping) -> str:
    """The innermost loop: the reduction, or the last output axis around a reduction that is blocked
    or, if it is short, unrolled.
    """
    if not nest.reduce or len(nest.reduce) == len(nest.axes):
        return "row"
    last = nest.reduce[0] - 1
    rank = len(nest.axes)
    moving = [moves(nest, o) & {*nest.reduce} for o in nest.operands]
    strides = [full_strides(o, rank) for o in nest.operands]
    apart = [s[last] for s, m in zip(strides, moving, strict=True) if m and s[last] > 0]
    nearest = min(apart, default=0)
    if not 0 < nearest <= shaping.apart:
        return "row"
    if gathers(nest):
        return "column"  # all of a gathered row at a time
    # every pass over the reduction is unrolled: the values of one do not wait for the next in
    # registers if there are many, and edges of windows are tested outside of the innermost loop
    count = 1 if any(o.guards for o in nest.operands) else passes(nest)
    steps = count * prod(nest.axes[a] for a in nest.reduce)
    if steps <= shaping.unrolled:
        return "literal"
    return "column" if nearest == 1 else "row"


def in_lanes(nest: Nest, widest: int) -> Nest:
    """The nest, or if its reduction ends in short rows, as those of a group of channels, with a
    lane for each step of a row.
    """
    if nest.style != "row" or len(nest.reduce) < 2:
        return nest
    *long, width = (nest.axes[a] for a in nest.reduce)
    strides = [full_strides(o, len(nest.axes)) for o in nest.operands]
    apart = all(s[nest.reduce[-1]] in (0, 1) for s in strides)
    if width > widest or prod(long) < MANY_ROWS or width % 4 or not apart or gathers(nest):
        return nest
    return replace(nest, style="lanes", block=width)


def gathers(nest: Nest) -> bool:
    """True if elements are read at positions that are loaded."""
    return any(g.load is not None for o in nest.operands for g in o.guards)


def moves(nest: Nest, operand: Access) -> set[int]:
    """The axes that an operand moves along, those of the positions at which it is gathered too."""
    found = {a for a, s in enumerate(full_strides(operand, len(nest.axes))) if s}
    names = {g.load for g in operand.guards if g.load is not None}
    for stage in reversed(nest.stages):
        for step in (*reversed(stage.inner), *reversed(stage.outer)):
            if isinstance(step, Put) or step.name not in names:
                continue
            if isinstance(step, Load):
                found |= moves(nest, nest.operands[step.operand])
            elif isinstance(step, Position):
                found |= {a for a, _ in step.index.terms}
            else:
                names |= {*(step.args if isinstance(step, Statement) else (step.value,))}
    return found


def block_of(nest: Nest, blocks: tuple[int, int, int]) -> int:
    """Columns that are worked on at a time: whole vectors, blocks enough for several threads, and
    no remainder if that can be; all of them where they are less than a vector.
    """
    first = nest.reduce[0]
    columns = nest.axes[first - 1]
    large, medium, small = blocks
    if columns < small or (gathers(nest) and columns <= large):
        return columns
    if first == 1 and prod(nest.axes) >= STREAMED and passes(nest) == 1:
        wide = -(-columns // WIDE_PARTS // small) * small
        return columns if columns <= large else max(large, min(wide, WIDEST * large))
    most = small if columns < 2 * medium else medium
    most = large if first > 1 or columns >= 4 * large else most
    return next((b for b in blocks if b <= most and columns % b == 0), min(most, medium))


def passes(nest: Nest) -> int:
    """How often a nest goes through its reduction."""
    return sum(bool(stage.inner) for stage in nest.stages)
