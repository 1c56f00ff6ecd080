"""Few columns: the reduction is across the lanes, if rows of A are contiguous along it.

A vector of three columns is a fifth full. A vector of 16 channels of a pixel is full, and so is one
of 16 channels of each column's weights, which are stored as rows for that unless they are already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..indexing.accesses import row_major
from ..indexing.phases import Unsuitable
from ..nests.arrange import copy_nest
from ..records.work import Access, Buffer, Nest
from .axis import ONE, Axis, Roles, join_all

DOT = 16  # steps from which on a reduction fills lanes


def is_dot(reduce: Sequence[Axis]) -> bool:
    """True if both operands have the innermost axis of a reduction contiguous, and it is long."""
    inner = min(reduce, key=lambda axis: (abs(axis.a), abs(axis.b)), default=ONE)
    return inner.a == inner.b == 1 and inner.size >= DOT


def across_lanes(roles: Roles, reduce: Sequence[Axis]) -> Roles:
    """The roles with the reduction across the lanes instead of the columns; B is copied unless it
    is contiguous along the innermost of the ``reduce`` axes.

    Raises:
        Unsuitable: rows of A are not contiguous along it, or it is short.
    """
    by_stride = sorted((a for a in reduce if a.size > 1), key=lambda a: -abs(a.a))
    packed = not by_stride or by_stride[-1].b != 1
    joined = join_all(by_stride, packed)
    inner = joined[-1] if joined else ONE
    if roles.lanes_along != "columns" or inner.a != 1 or inner.size < DOT or len(joined) > 3:
        raise Unsuitable("rows are not contiguous along the reduction")
    return Roles(roles.batch, roles.rows, roles.column, tuple(joined), packed, dots=True)


def columns_as_rows(roles: Roles, source: Access, target: Buffer) -> Nest:
    """Copies B column by column, each contiguous along the reduction."""
    inner = [p for axis in roles.reduce for p in (axis.parts or (axis,))]
    order = [*roles.batch, roles.column, *inner]
    axes = tuple(x.size for x in order)
    read = replace(source, strides=tuple(x.b for x in order))
    write = Access(target, 0, row_major(axes), source.dtype)
    return copy_nest(axes, read, write)
