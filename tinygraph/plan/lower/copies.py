"""Copies of a contraction's operands: padded, packed, or in another order."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod

from ...graph.dtype import DTYPES
from ...graph.ir import Node
from ..contraction.axes import pack_nest
from ..contraction.axis import Axis, Roles
from ..indexing.accesses import full_strides, ordered_strides, row_major
from ..memory.layout import row_gap
from ..memory.memory import Memory
from ..nests.arrange import copy_nest
from ..nests.shape import pieces, shaped
from ..nests.words import word_nest
from ..records.body import Statement
from ..records.lowered import Launches
from ..records.plan import Launch
from ..records.target import Target
from ..records.work import Access, Buffer, Nest, Tile


def weight(nest: Nest) -> int:
    """Rough cost of one element, relative to a copy."""
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    calls = sum(s.expr.count("(") > s.expr.count("K(") for s in steps if isinstance(s, Statement))
    return max(1, (len(steps) + 3 * calls) // 4)


def worth(target: Target, nest: Nest) -> int:
    """Into how many parts a nest's work should be cut."""
    return target.parts(prod(nest.axes) * weight(nest))


def nest_launch(target: Target, name: str, nest: Nest, nodes: tuple[Node, ...]) -> Launch:
    """An arranged nest as a launch, cut into pieces."""
    nest = shaped(nest, target.shaping)
    parts = max(1, min(pieces(nest), worth(target, nest)))
    first = nest.axes[0] if nest.axes else 1
    whole = parts - parts % first  # as many for each image, which may go through a chain
    if nest.shared > 1 and (whole >= 2 * first or (whole and whole % 2 == 0)):
        parts = whole
    return Launch(name, nest, nodes, parts)


@dataclass(frozen=True, slots=True)
class Copies:
    """Makes copies of operands for one group; a copy that exists already serves again.

    Attributes:
        fixed: nodes whose values stay between runs, whose copies are prepared.
        device: of the group.
        made: the launches of the group so far; those that copy come here.
    """

    memory: Memory
    fixed: Set[Node]
    target: Target
    device: int
    made: Launches = field(default_factory=Launches)

    def holder(self, fixed: bool) -> int | None:
        """Whose a copy is: every device makes its own, but what is prepared is for all."""
        return None if fixed else self.device

    def buffer(self, x: Node, how: str, elements: int, dtype: str, fixed: bool) -> Buffer:
        """Memory for a copy of x, prepared once if x stays between runs."""
        home = "prepared" if fixed else "arena"
        return self.memory.buffer(f"{x.name or x.op.name}_{how}", elements, dtype, home)

    def copy(self, name: str, nest: Nest, x: Node, fixed: bool) -> None:
        """A launch that copies x."""
        self.made.add(nest_launch(self.target, name, nest, (x,)), fixed)

    def pad(
        self,
        source: Access,
        shape: tuple[int, ...],
        x: Node,
        fixed: bool,
        inner: Sequence[int] = (),
    ) -> tuple[Buffer, tuple[int, ...]]:
        """A copy with its edges around it, in the order of the original, or with axes innermost
        that a contraction wants there.
        """
        key = (self.holder(fixed), source, shape, inner)
        copies = self.memory.copies
        if key not in copies:
            lie = full_strides(source, len(shape))
            order = sorted(range(len(shape)), key=lambda a: (a in inner, -abs(lie[a]), a))
            if inner:
                order.append(order.pop(order.index(inner[-1])))
            strides = ordered_strides(shape, order)
            buffer = self.buffer(x, "padded", prod(shape), x.dtype, fixed)
            copies[key] = Access(buffer, 0, strides, x.dtype)
            self.copy("pad", word_nest(shape, source, copies[key]), x, fixed)
        return copies[key].buffer, copies[key].strides

    def pack(self, roles: Roles, tile: Tile, b: Access, fixed: bool, root: Node) -> Access:
        """B in blocks of the tile's columns, or column by column, and of its dtype."""
        sizes, width = tile.sizes, tile.contraction.width
        columns = sizes["n"] if roles.dots else -(-sizes["n"] // width) * width
        depth = sizes["r"] * sizes["s"] * sizes["k"]
        order = (roles.batch, roles.reduce, roles.column, roles.group)
        way = "rows" if roles.dots else width
        dtype = tile.b.dtype
        key = (self.holder(fixed), id(b.buffer), b.offset, b.step, dtype, *order, way)
        copies = self.memory.copies
        if key not in copies:
            each = tile.contraction.word * tile.contraction.group
            elements = sizes["g"] * depth * columns * each
            buffer = self.buffer(root, "packed", elements, dtype, fixed)
            self.copy("pack", pack_nest(roles, tile, b, buffer), root, fixed)
            copies[key] = Access(buffer, 0, (), dtype)
        return replace(tile.b, buffer=copies[key].buffer, offset=0, step=0)

    def reorder(
        self, axes: list[Axis], a: Access, x: Node, turned: bool = False
    ) -> tuple[list[Axis], Access]:
        """A in the order in which the reduction goes through B, rows innermost, or outermost where
        it is ``turned``, and the axes that say so.
        """
        kept = [i for i, axis in enumerate(axes) if axis.size > 1 and axis.a]
        kept.sort(key=lambda i: (turned and axes[i].b != 0, -abs(axes[i].b), -abs(axes[i].a)))
        sizes = tuple(axes[i].size for i in kept)
        gap = row_gap((prod(sizes[:-1]), sizes[-1]), a.dtype, self.target.copying)
        strides = row_major(sizes, gap)
        source = replace(a, strides=tuple(axes[i].a for i in kept))
        fixed = x in self.fixed
        key = (self.holder(fixed), source, sizes)
        copies = self.memory.copies
        if key not in copies:
            buffer = self.buffer(x, "reordered", sizes[0] * strides[0], a.dtype, fixed)
            buffer.gap = gap * DTYPES[a.dtype].bytes
            copies[key] = Access(buffer, 0, strides, a.dtype)
            self.copy("reorder", copy_nest(sizes, source, copies[key]), x, fixed)
        lie = dict(zip(kept, copies[key].strides, strict=True))
        moved = [replace(axis, a=lie.get(i, 0)) for i, axis in enumerate(axes)]
        strides = tuple(axis.a for axis in moved)
        return moved, Access(copies[key].buffer, 0, strides, a.dtype)


def is_heavy(roles: Roles, target: Target) -> bool:
    """True if repacking B costs as much as multiplying with it: it is large, its rows few."""
    packed = 4 * prod(axis.size for axis in (*roles.batch, *roles.reduce, roles.column))
    rows = prod(axis.size for axis in roles.rows)
    return packed > target.copying.heavy and rows <= target.copying.few


def is_crowded(roles: Roles, target: Target) -> bool:
    """True if the rows of B are so far apart that a block of columns falls into a few sets of the
    caches, and serve enough rows of A that a copy pays (measured: 206 and 237 GFLOP/s for 2048
    rows).
    """
    limit = target.copying
    crowded = any(x.size >= limit.deep and limit.crowds(4 * x.b) for x in roles.reduce)
    across = any(abs(x.a) == 1 for x in roles.rows)  # a long reduction, which is cut in chunks
    return crowded and not across and prod(x.size for x in roles.rows) >= limit.many


def is_turned(axes: Sequence[Axis], roles: Roles, a: Access, fixed: bool, target: Target) -> bool:
    """True if a reduction goes across A's rows, which are contiguous instead, and a copy of A by
    rows pays: if the result is so large that its sums would not stay in the cache from chunk to
    chunk (measured: 181 and 320 GFLOP/s on two cores for 3072 x 768 sums of 512 products), or if
    columns of a ``fixed`` B, which need no packing, are many (196 x 512 x 2048: 124 and 153 on one,
    with the copy).
    """
    if roles.batch or roles.dots or [x.a for x in roles.rows] != [1]:
        return False
    once = prod(x.size for x in axes if x.a) * DTYPES[a.dtype].bytes <= a.buffer.bytes  # no windows
    rows, columns, limit = roles.rows[0].size, roles.column.size, target.copying
    return once and (min(rows, columns) >= limit.turned or (fixed and columns >= limit.turned_once))


def is_scattered(axes: Sequence[Axis], roles: Roles, a: Access, target: Target) -> bool:
    """True if a reduction goes through A in another order than that of memory, in steps that crowd
    the caches, as the gradient to the weights of a recurrent layer goes through a batch of
    sequences, step by step (measured: 217 and 233 GFLOP/s on each of two cores).
    """
    if roles.packed or roles.batch or [x.a for x in roles.rows] != [1]:
        return False
    item, reduce = DTYPES[a.dtype].bytes, sorted(roles.reduce, key=lambda x: -abs(x.a))
    ordered = all(abs(x.b) >= abs(y.b) for x, y in pairwise(reduce))
    limit = target.copying
    crowded = any(x.size >= limit.ways and limit.crowds(item * x.a) for x in reduce)
    once = prod(x.size for x in axes if x.a) * item <= a.buffer.bytes  # not windows
    return crowded and once and not ordered and roles.column.size >= limit.many
