"""Copies of a contraction's operands: padded, packed, or in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

from ...graph.dtype import DTYPES
from ...graph.ir import Graph, Node
from ..contraction.axes import Axis, Roles, pack_nest
from ..contraction.tiling import Target
from ..fusion.state import Fusion
from ..indexing.accesses import full_strides, ordered_strides, row_major
from ..memory.layout import CROWDED, Layout, row_gap
from ..nests.arrange import copy_nest
from ..records.body import Statement
from ..records.plan import Access, Buffer, Launch, Nest, Tile

GRAIN = 32_768  # elements that are worth a part of their own
HEAVY = 1 << 20  # bytes of an operand that is rather read as it lies than repacked every time,
FEW = 128  # if it is used for at most so many rows
MANY = 512  # rows, or columns, for which a copy of the other operand pays
DEEP = 64  # rows of B that are a crowd
WAYS = 16  # as many rows of A: more lines than a set of the first cache holds


def weight(nest: Nest) -> int:
    """Roughly, what an element costs more than in a copy with an operation or two."""
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    calls = sum(s.expr.count("(") > s.expr.count("K(") for s in steps if isinstance(s, Statement))
    return max(1, (len(steps) + 3 * calls) // 4)


def grains(work: int) -> int:
    """Parts for so many elements; a few are an even number, or half of the threads would idle."""
    count = round(work / GRAIN)
    return count + count % 2 if 1 < count < 8 else min(count, 64)


class Copies(Layout):
    """Launches that copy operands; a copy that exists already serves again.

    Attributes:
        launches, prepare: what runs every time, and what runs when parameters have changed.
        packed, padded: copies that exist already, by their device and what they are copies of.
        device: of the group that is lowered.
    """

    def __init__(self, graph: Graph, updates: tuple[Node, ...], fusion: Fusion, target: Target):
        super().__init__(graph, updates, fusion)
        self.target = target
        self.launches: list[Launch] = []
        self.prepare: list[Launch] = []
        self.device = 0
        self.packed: dict[tuple, Access] = {}
        self.padded: dict[tuple, tuple[Buffer, tuple[int, ...]]] = {}

    def launch(self, name: str, nest: Nest, nodes: tuple[Node, ...]) -> Launch:
        work = prod(nest.axes) * weight(nest)
        outer = nest.axes[0] if 0 not in nest.reduce and nest.axes else 1
        if nest.style == "column" and len(nest.reduce) == len(nest.axes) - 1:
            outer = -(-outer // nest.block)
        return Launch(name, nest, nodes, parts=max(1, min(outer, grains(work))))

    def holder(self, fixed: bool) -> int | None:
        """Whose a copy is: every device makes its own, but what is prepared is for all."""
        return None if fixed else self.device

    def copy_of(self, x: Node, how: str, elements: int, dtype: str, fixed: bool) -> Buffer:
        """Memory for a copy of x, prepared once where x stands still."""
        home = "prepared" if fixed else "arena"
        return self.buffer(f"{x.name or x.op.name}_{how}", elements, dtype, home)

    def pad(
        self, source: Access, shape: tuple[int, ...], x: Node, fixed: bool, launches: list[Launch]
    ) -> tuple[Buffer, tuple[int, ...]]:
        """A copy with its edges around it, in the order of the original."""
        key = (self.holder(fixed), source, shape)
        if key not in self.padded:
            lie = full_strides(source, len(shape))
            order = sorted(range(len(shape)), key=lambda a: (-abs(lie[a]), a))
            strides = ordered_strides(shape, order)
            buffer = self.copy_of(x, "padded", prod(shape), x.dtype, fixed)
            nest = copy_nest(shape, source, Access(buffer, 0, strides, x.dtype))
            (self.prepare if fixed else launches).append(self.launch("pad", nest, (x,)))
            self.padded[key] = buffer, strides
        return self.padded[key]

    def pack(
        self, roles: Roles, tile: Tile, b: Access, fixed: bool, launches: list[Launch], root: Node
    ) -> Access:
        """B in blocks of the tile's columns; a copy that exists already serves again."""
        sizes, width = dict(tile.sizes), tile.contraction.width
        blocks = -(-sizes["n"] // width)
        depth = sizes["r"] * sizes["s"] * sizes["k"]
        order = (roles.batch, roles.reduce, roles.column, width)
        key = (self.holder(fixed), id(b.buffer), b.offset, b.step, *order)
        if key not in self.packed:
            elements = sizes["g"] * blocks * depth * width
            buffer = self.copy_of(root, "packed", elements, "float32", fixed)
            nest = pack_nest(roles, tile, b, buffer)
            (self.prepare if fixed else launches).append(self.launch("pack", nest, (root,)))
            self.packed[key] = Access(buffer, 0, (), "float32")
        return replace(tile.b, buffer=self.packed[key].buffer, offset=0, step=0)

    def reorder(
        self, axes: list[Axis], a: Access, x: Node, launches: list[Launch]
    ) -> tuple[list[Axis], Access]:
        """A in the order in which the reduction goes through B, and the axes that say so."""
        kept = [i for i, axis in enumerate(axes) if axis.size > 1 and axis.a]
        kept.sort(key=lambda i: (-abs(axes[i].b), -abs(axes[i].a)))
        sizes = tuple(axes[i].size for i in kept)
        gap = row_gap((prod(sizes[:-1]), sizes[-1]), a.dtype)
        strides = row_major(sizes, gap)
        source = replace(a, strides=tuple(axes[i].a for i in kept))
        fixed = x in self.fixed
        key = (self.holder(fixed), source, sizes)
        if key not in self.padded:
            buffer = self.copy_of(x, "reordered", sizes[0] * strides[0], a.dtype, fixed)
            buffer.gap = gap * DTYPES[a.dtype].bytes
            nest = copy_nest(sizes, source, Access(buffer, 0, strides, a.dtype))
            (self.prepare if fixed else launches).append(self.launch("reorder", nest, (x,)))
            self.padded[key] = buffer, strides
        buffer, strides = self.padded[key]
        lie = dict(zip(kept, strides, strict=True))
        moved = [replace(axis, a=lie.get(i, 0)) for i, axis in enumerate(axes)]
        return moved, Access(buffer, 0, tuple(axis.a for axis in moved), a.dtype)


def is_heavy(roles: Roles) -> bool:
    """Whether repacking B costs as much as multiplying with it: it is large, its rows few."""
    packed = 4 * prod(axis.size for axis in (*roles.batch, *roles.reduce, roles.column))
    return packed > HEAVY and prod(axis.size for axis in roles.rows) <= FEW


def is_crowded(roles: Roles) -> bool:
    """Whether the rows of B lie so that a block of columns falls into a few sets of the caches, and
    serve so many rows of A that a copy pays (measured: 206 and 237 GFLOP/s for 2048 rows).
    """
    crowded = any(x.size >= DEEP and x.b * 4 % CROWDED == 0 for x in roles.reduce)
    across = any(abs(x.a) == 1 for x in roles.rows)  # a long reduction, which is cut in chunks
    return crowded and not across and prod(x.size for x in roles.rows) >= MANY


def is_scattered(axes: Sequence[Axis], roles: Roles, a: Access) -> bool:
    """Whether a reduction goes through A in another order than it lies, in steps that crowd the
    caches, as the gradient to the weights of a recurrent layer goes through a batch of sequences,
    step by step (measured: 217 and 233 GFLOP/s on each of two cores).
    """
    if roles.packed or roles.batch or [x.a for x in roles.rows] != [1]:
        return False
    item, reduce = DTYPES[a.dtype].bytes, sorted(roles.reduce, key=lambda x: -abs(x.a))
    ordered = all(abs(x.b) >= abs(y.b) for x, y in pairwise(reduce))
    crowded = any(x.size >= WAYS and x.a * item % CROWDED == 0 for x in reduce)
    once = prod(x.size for x in axes if x.a) * item <= a.buffer.bytes  # not windows
    return crowded and once and not ordered and roles.column.size >= MANY
