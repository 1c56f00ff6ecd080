"""The shape of a nest's loops: how a reduction stands within them, which of them go in tiles."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..indexing.accesses import full_strides
from ..records.body import Statement
from ..records.target import Shaping
from ..records.work import Access, Load, Nest, Position, Put
from .pieces import divisor
from .tiling import tiled, tiles

# Columns that are added up once, too many for a cache, come at memory's rate if much of a row is
# read at a time; their sums are then in the first cache instead of registers.
STREAMED = 1 << 18  # elements
WIDE_PARTS = 4  # of a row, for as many threads
WIDEST = 8  # large blocks

MANY_ROWS = 16  # of a reduction, next to which folding the lanes at its end costs little
SIDE_BY_SIDE = 128  # lanes of several results
FEW_BLOCKS = 4  # of results, for as many threads


def shaped(nest: Nest, shaping: Shaping) -> Nest:
    """An arranged nest with the shape of its loops."""
    nest = tiled(nest, shaping.tile) or replace(nest, style=style(nest, shaping))
    if nest.style == "column":
        return replace(nest, block=block_of(nest, shaping.blocks))
    return in_lanes(nest, shaping.row)


def pieces(nest: Nest) -> int:
    """Into how many pieces a shaped nest can be cut: tiles, or steps of its outermost axes."""
    if nest.style in ("tiled", "unrolled"):
        return tiles(nest)
    if 0 in nest.reduce or not nest.axes:
        return 1
    outer = prod(nest.axes[: nest.shared])
    if nest.style in ("column", "lanes") and len(nest.reduce) == len(nest.axes) - 1:
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
    lane for each step of a row, and for as many results as have their rows side by side.
    """
    if nest.style != "row" or len(nest.reduce) < 2 or nest.reduce[0] == 0:
        return nest  # of one result there is nothing side by side
    *long, width = (nest.axes[a] for a in nest.reduce)
    last, inner = nest.reduce[0] - 1, nest.reduce[-1]
    strides = [full_strides(o, len(nest.axes)) for o in nest.operands]
    apart = all(s[inner] in (0, 1) for s in strides)
    if width > widest or prod(long) < MANY_ROWS or not apart or gathers(nest):
        return nest
    summed = {s.operand for x in nest.stages for s in x.inner if isinstance(s, Load | Put)}
    beside = all(strides[o][last] == width * strides[o][inner] for o in summed)
    placed = any(o.guards for o in nest.operands) or any(
        isinstance(s, Position) for x in nest.stages for s in x.inner
    )
    if beside and not placed:
        most = max(1, SIDE_BY_SIDE // width)
        enough = nest.axes[last] // FEW_BLOCKS if last == 0 else nest.axes[last]
        block = divisor(nest.axes[last], max(1, min(most, enough)))
        if block > 1:
            return replace(nest, style="lanes", block=block)
    return nest if width % 4 else replace(nest, style="lanes", block=1)


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
    no remainder if that can be; all of them where they are few.
    """
    first = nest.reduce[0]
    columns = nest.axes[first - 1]
    large, medium, small = blocks
    if columns < small or (columns <= large and (first > 1 or gathers(nest))):
        return columns
    if first == 1 and prod(nest.axes) >= STREAMED and passes(nest) == 1:
        if columns <= large:
            return columns
        parts = max(WIDE_PARTS, -(-columns // (WIDEST * large)))
        return max(large, even(columns, parts + parts % 2, small))
    most = small if columns < 2 * medium else medium
    most = large if first > 1 or columns >= 4 * large else most
    whole = (b for b in blocks if b <= most and columns % b == 0)
    return next(whole, even(columns, -(-columns // most), small))


def even(size: int, count: int, unit: int) -> int:
    """So many units as ``count`` equal blocks of ``size`` need."""
    return -(-size // (count * unit)) * unit


def passes(nest: Nest) -> int:
    """How often a nest goes through its reduction."""
    return sum(bool(stage.inner) for stage in nest.stages)
