"""Anchors become contractions: operands padded or packed where they must be, tiles cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import prod

from ...ir import Graph, Node
from ...op import Index
from ..arrange import arrange, full_strides
from ..body import Body, Statement
from ..fusion.group import Group, Store
from ..fusion.state import Fusion
from ..index import Indices, Leaf, own, read
from ..memory.layout import CROWDED, Layout, ordered_strides
from ..nest import NestBuilder, resolve
from ..plan import Access, Buffer, Launch, Nest, Place, Stage, Tile
from ..winograd.launch import winograd_launches
from .axes import (
    Axis,
    Roles,
    assign_roles,
    copy_nest,
    cut_roles,
    epilogue,
    make_tile,
    one_batch_axis,
    pack_nest,
)
from .phases import Heavy, Problem, Unsuitable, operand_indices, phases, reach
from .pieces import add_up, outermost, split_reduction
from .tiling import Cut, Target

HEAVY = 1 << 20  # bytes of an operand that is rather read as it lies than repacked every time,
FEW = 128  # if it is used for at most so many rows
MANY = 512  # rows for which a copy of B pays whose rows do not crowd the cache
DEEP = 64  # rows of B that are a crowd
GRAIN = 32_768  # elements that are worth a part of their own


def weight(nest: Nest) -> int:
    """Roughly, what an element costs more than in a copy with an operation or two."""
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    calls = sum(s.expr.count("(") > s.expr.count("K(") for s in steps if isinstance(s, Statement))
    return max(1, (len(steps) + 3 * calls) // 4)


class Anchors(Layout):
    """Lowers groups with an anchor.

    Attributes:
        launches, prepare: what runs every time, and what runs when parameters have changed.
        packed, padded: copies that exist already, by their device and what they are copies of.
        device: of the group that is lowered.
        conv: the user's choices of convolution algorithms, by name or scope.
    """

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Node, ...],
        fusion: Fusion,
        target: Target,
        conv: Mapping[str, str],
    ):
        super().__init__(graph, updates, fusion)
        self.target, self.conv = target, conv
        self.launches: list[Launch] = []
        self.prepare: list[Launch] = []
        self.remarks: list[str] = []
        self.device = 0
        self.packed: dict[tuple, Access] = {}
        self.padded: dict[tuple, tuple[Buffer, tuple[int, ...]]] = {}

    def launch(self, name: str, nest: Nest, nodes: tuple[Node, ...]) -> Launch:
        work = prod(nest.axes) * weight(nest)
        outer = nest.axes[0] if 0 not in nest.reduce and nest.axes else 1
        if nest.style == "column" and len(nest.reduce) == len(nest.axes) - 1:
            outer = -(-outer // nest.block)
        return Launch(name, nest, nodes, parts=max(1, min(outer, 64, work // GRAIN)))

    def contraction(
        self, group: Group, stores: list[tuple[Store, Place]], heavy: bool = False
    ) -> list[Launch]:
        """The launches of a group with an anchor; nothing is left behind where it is unsuitable."""
        padded, packed, prepared, count = (
            dict(self.padded),
            dict(self.packed),
            list(self.prepare),
            len(self.buffers),
        )
        try:
            return self.tiles(group, stores, heavy)
        except Unsuitable:
            self.padded, self.packed, self.prepare[:] = padded, packed, prepared
            del self.buffers[count:]
            raise

    def tiles(self, group: Group, stores: list[tuple[Store, Place]], heavy: bool) -> list[Launch]:
        n = group.anchor
        assert n is not None
        nest = NestBuilder(self.fusion, group, self).build(stores, accumulator="acc")
        body = epilogue(nest, "acc")
        if (found := winograd_launches(self, group, nest, body, label(group))) is not None:
            return found
        reads = [operand_indices(n, number) for number in (0, 1)]
        launches: list[Launch] = []
        places = [
            self.readable(group, x, at, launches) for x, at in zip(n.inputs, reads, strict=True)
        ]
        for problem in phases(group.axes, len(n.shape), [at for _, at in places]):
            operands = [remap(o, problem) for o in nest.operands]
            if 0 in problem.axes:
                bare = epilogue_of_zero(nest, problem, operands)
                launches.append(self.launch(f"{label(group)}_gap", bare, tuple(group.index)))
                continue
            views = [
                resolve(p, Leaf(n, tuple(map(problem.at, at))), len(problem.axes))
                for p, at in places
            ]
            for sizes, placed in one_batch_axis(problem, [*views, *operands]):
                self.tile(group, sizes, placed[:2], placed[2:], nest, launches, heavy)
        return launches

    def readable(
        self, group: Group, x: Node, at: Indices, launches: list[Launch]
    ) -> tuple[Place, Indices]:
        """An operand's place, and the indices of its axes; a padded copy, if it is read beyond its
        edges.
        """
        leaf = read(x, at, group.axes, 0.0, self.fusion.held)
        if leaf is not None and not leaf.guards:
            return self.of(leaf.root), leaf.indices
        box = reach(at, group.axes)
        shape = tuple(high - low + 1 for low, high in box)
        inside = tuple(Index(low, i.terms) for (low, _), i in zip(box, own(shape), strict=True))
        leaf = read(x, inside, shape, 0.0, self.fusion.held)
        if leaf is None:
            raise Unsuitable("an operand's views do not compose")
        source, fixed = resolve(self.of(leaf.root), leaf, len(shape)), leaf.root in self.fixed
        key = (self.holder(fixed), source, shape)
        if key not in self.padded:
            self.padded[key] = self.pad(source, shape, x, fixed, launches)
        buffer, strides = self.padded[key]
        offset = -sum(low * s for (low, _), s in zip(box, strides, strict=True))
        return Place(buffer, offset, strides, x.dtype), at

    def holder(self, fixed: bool) -> int | None:
        """Whose a copy is: every device makes its own, but what is prepared is for all."""
        return None if fixed else self.device

    def pad(
        self, source: Access, shape: tuple[int, ...], x: Node, fixed: bool, launches: list[Launch]
    ) -> tuple[Buffer, tuple[int, ...]]:
        """A copy with its edges around it, in the order of the original."""
        lie = full_strides(source, len(shape))
        strides = ordered_strides(shape, sorted(range(len(shape)), key=lambda a: (-abs(lie[a]), a)))
        home = "prepared" if fixed else "arena"
        buffer = self.buffer(f"{x.name or x.op.name}_padded", prod(shape), x.dtype, home)
        nest = copy_nest(shape, source, Access(buffer, 0, strides, x.dtype))
        (self.prepare if fixed else launches).append(self.launch("pad", nest, (x,)))
        return buffer, strides

    def tile(
        self,
        group: Group,
        problem: Problem,
        views: list[Access],
        operands: list[Access],
        nest: Nest,
        launches: list[Launch],
        heavy: bool,
    ) -> None:
        """One contraction, with whichever operand gives contiguous columns as B.

        A large operand that changes between runs is not repacked unless ``heavy`` says so.
        """
        failure: Unsuitable | None = None
        body, anchor = epilogue(nest, "acc"), group.anchor
        assert anchor is not None
        for first, second in ((0, 1), (1, 0)):
            a, b, source = views[first], views[second], anchor.inputs[second]
            axes = [
                Axis(size, a.strides[i], b.strides[i], tuple(o.strides[i] for o in operands))
                for i, size in enumerate(problem.axes)
            ]
            fixed = source in self.fixed
            kept = fixed or b.buffer.home == "input"
            try:
                roles = self.roles(axes, problem.outputs, [o for o, _ in body.stores], kept)
            except Unsuitable as reason:
                failure = failure or reason
                continue
            whole = problem.axes == group.axes and not roles.batch
            way = cut_roles(roles, self.target, outermost(roles).size if whole else 1)
            if way.pieces > 1:
                self.in_pieces(group, nest, (a, b), axes, roles, way, launches)
                return
            made = make_tile(roles, way, body, a, b, operands, self.target)
            if roles.packed and not fixed and not heavy and is_heavy(roles):
                failure = Heavy("a large operand would be repacked every time")
                continue
            if roles.packed:
                made = replace(made, b=self.pack(roles, made, b, fixed, launches, source))
            launches.append(self.tile_launch(made, label(group), tuple(group.index)))
            return
        raise failure or Unsuitable("its axes have no roles")

    def roles(self, axes: list[Axis], outputs: int, stores: list[int], packed: bool) -> Roles:
        """The roles of a contraction's axes; B is packed if it shall be, or crowds the cache.

        Raises:
            Unsuitable: it has none.
        """
        packs = self.target.packs
        sort = partial(assign_roles, axes, outputs, stores, strided=not packs)
        roles = sort(packs and packed)
        return sort(True) if packs and not roles.packed and is_crowded(roles) else roles

    def tile_launch(self, made: Tile, name: str, nodes: tuple[Node, ...]) -> Launch:
        if made.contraction.chunked or made.splits > 1:
            made = replace(made, partial=self.partial(made))
        sizes = dict(made.sizes)
        return Launch(name, made, nodes, sizes["row_parts"] * sizes["column_parts"])

    def in_pieces(
        self,
        group: Group,
        nest: Nest,
        views: tuple[Access, Access],
        axes: list[Axis],
        roles: Roles,
        way: Cut,
        launches: list[Launch],
    ) -> None:
        """A contraction in pieces of its reduction, and a nest that adds them up."""
        anchor = group.anchor
        assert anchor is not None
        sums = self.piece_sums(nest, anchor.shape, way.pieces)
        split = split_reduction(axes, roles, way.pieces, sums.strides)
        roles = assign_roles(split, len(sums.strides), [0], False)
        each = replace(
            cut_roles(roles, self.target),
            row_parts=way.pieces * way.row_parts,
            column_parts=way.column_parts,
        )
        body = Body(stores=((0, "acc"),))
        operand = replace(sums, strides=tuple(axis.ops[0] for axis in split))
        made = make_tile(roles, each, body, *views, [operand], self.target)
        launches.append(self.tile_launch(made, anchor.op.name, (anchor,)))
        launches.append(self.added_up(group, nest, sums, way.pieces))

    def piece_sums(self, nest: Nest, shape: tuple[int, ...], pieces: int) -> Access:
        """Memory for the sums of pieces of a reduction, each in the order of the result; the last
        axis is that of the pieces.
        """
        number, _ = epilogue(nest, "acc").stores[0]
        stored = nest.operands[number].strides
        order = sorted(range(len(shape)), key=lambda axis: (-abs(stored[axis]), axis))
        buffer = self.buffer("pieces", prod(shape) * pieces, "float32", "arena")
        return Access(buffer, 0, (*ordered_strides(shape, order), prod(shape)), "float32")

    def added_up(self, group: Group, nest: Nest, sums: Access, pieces: int) -> Launch:
        """The nest that adds up pieces and runs the epilogue."""
        nodes = tuple(n for n in group.index if n is not group.anchor) or tuple(group.index)
        names = dict.fromkeys(("sum", *(n.op.name for n in nodes if n is not group.anchor)))
        return self.launch("_".join(names), add_up(nest, "acc", pieces, sums), nodes)

    def partial(self, tile: Tile) -> Access:
        """Memory for the sums of every tile between chunks, or of every split."""
        s, spec = dict(tile.sizes), tile.contraction
        tiles = s["g"] * s["z"] * s["y"] * -(-s["m"] // spec.rows) * -(-s["n"] // spec.width)
        count = tile.splits * tiles * spec.rows * spec.width
        buffer = self.buffer("partial_sums", count, "float32", "arena")
        return Access(buffer, 0, (), "float32")

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
            buffer = self.buffer(
                f"{root.name or root.op.name}_packed",
                sizes["g"] * blocks * depth * width,
                "float32",
                "prepared" if fixed else "arena",
            )
            nest = pack_nest(roles, tile, b, buffer)
            (self.prepare if fixed else launches).append(self.launch("pack", nest, (root,)))
            self.packed[key] = Access(buffer, 0, (), "float32")
        return replace(tile.b, buffer=self.packed[key].buffer, offset=0, step=0)


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


def remap(access: Access, problem: Problem) -> Access:
    """An epilogue operand over the axes of a problem."""
    strides, offset = [0] * len(problem.axes), access.offset
    for axis, stride in enumerate(access.strides):
        index = problem.mapping[axis]
        offset += stride * index.constant
        for a, c in index.terms:
            strides[a] += stride * c
    return replace(access, offset=offset, strides=tuple(strides))


def epilogue_of_zero(nest: Nest, problem: Problem, operands: list[Access]) -> Nest:
    """What a phase that no tap reaches stores: the epilogue of an empty sum."""
    rank = problem.outputs
    steps = (s for stage in nest.stages for s in stage.outer)
    stage = Stage((Statement("acc", "K(0)", (), "float32"), *steps), ())
    outer = tuple(replace(o, strides=o.strides[:rank]) for o in operands)
    return arrange(Nest(problem.axes[:rank], (), outer, (stage,)))


def label(group: Group) -> str:
    """A kernel's name: its operators in order, the main one first."""
    names = [n.op.name for n in group.index]
    if group.anchor is not None:
        names = [group.anchor.op.name, *(x for x in names if x != group.anchor.op.name)]
    return "_".join(dict.fromkeys(names))[:60]
