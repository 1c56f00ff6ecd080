"""Convolutions in groups of few channels: whole groups lie side by side across the lanes.

A group of four channels in and four out has four columns, a quarter of a vector. But the channels
of all groups are side by side in the picture as in the result. So lanes hold the channels of
several groups, as those of a depthwise convolution; a step of the reduction multiplies them once
for each channel of a group, which is copied to the lanes of its group's columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...graph.op import Index
from ..nests.arrange import copy_nest
from ..records.work import Access, Buffer, Guard, Nest, Tile
from .axis import Axis, Grouped, Roles, join_all


def grouped_roles(
    axes: Sequence[Axis], outputs: int, writes: Sequence[int], lanes: int
) -> Roles | None:
    """The roles of such a convolution, as ``assign_roles``; None if it is none."""
    live = [a for a in axes[:outputs] if a.size > 1]
    batch = [a for a in live if a.a and a.b]
    columns = [a for a in live if a.b and not a.a]
    inner = [a for a in axes[outputs:] if a.size > 1 and a.a == 1]
    if len(batch) != 1 or len(columns) != 1 or len(inner) != 1:
        return None
    (groups,), (column,), (channel,) = batch, columns, inner
    size = column.size
    if channel.size != size or groups.a != size or lanes % size:
        return None
    if any(column.ops[w] != 1 for w in writes) or any(s not in (0, 1) for s in column.ops):
        return None
    if any(g != size * s for g, s in zip(groups.ops, column.ops, strict=True)):
        return None
    if any((*groups.edges, *column.edges, *channel.edges)):
        return None
    reduce = [a for a in axes[outputs:] if a.size > 1 and a is not channel]
    rows = [a for a in live if not a.b]
    reduce = join_all(sorted(reduce, key=lambda a: -abs(a.a)), True)
    rows = join_all(sorted(rows, key=lambda a: (-abs(a.a), -max(map(abs, a.ops), default=0))))
    if len(rows) > 3 or len(reduce) > 3:
        return None
    across = Axis(groups.size * size, 1, column.b, column.ops)
    within = Grouped(groups, column, channel)
    return Roles((), tuple(rows), across, tuple(reduce), True, group=within)


def pack_groups(roles: Roles, tile: Tile, source: Access, target: Buffer) -> Nest:
    """Copies B into blocks of the tile's width: at each step a row for each channel of a group."""
    group, sizes, width = roles.group, tile.sizes, tile.contraction.width
    assert group is not None
    size = group.size
    count, each = group.groups.size, width // size
    order = [p for axis in roles.reduce for p in (axis.parts or (axis,))]
    inner = [p.size for p in order]
    strides, step = list[int](), size * width
    for n in reversed(inner):
        strides.insert(0, step)
        step *= n
    blocks = -(-count // each)
    axes = (*inner, size, blocks, each, size)
    write = Access(target, 0, (*strides, width, sizes["b_j"], size, 1), source.dtype)
    read = (*(p.b for p in order), group.channel.b)
    if count % each:
        j = len(read)
        terms = tuple((a, c) for a, c, n in ((j, each, blocks), (j + 1, 1, each)) if n > 1)
        guard = Guard(Index(0, terms), count, group.groups.b)
        strided = (*read, 0, 0, group.column.b)
        source = replace(source, strides=strided, guards=(guard,), outside=0.0)
    else:
        strided = (*read, each * group.groups.b, group.groups.b, group.column.b)
        source = replace(source, strides=strided)
    return copy_nest(axes, source, write)
