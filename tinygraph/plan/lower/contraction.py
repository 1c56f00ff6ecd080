"""Anchors become contractions: operands padded or packed where they must be, tiles cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import prod

from ...graph.ir import Graph, Node
from ...graph.op import Index
from ..contraction.axes import (
    Axis,
    Roles,
    assign_roles,
    cut_roles,
    epilogue,
    make_tile,
    one_batch_axis,
)
from ..contraction.pieces import add_up, outermost, split_reduction
from ..contraction.tiling import Cut, Target
from ..fusion.group import Group, Store
from ..fusion.state import Fusion
from ..indexing.accesses import ordered_strides, resolve
from ..indexing.index import Indices, Leaf, own, read
from ..indexing.phases import Heavy, Problem, Unsuitable, operand_indices, phases, reach
from ..nests.arrange import arrange
from ..nests.builder import NestBuilder
from ..records.body import Body, Statement
from ..records.plan import Access, Launch, Nest, Place, Stage, Tile
from ..records.reason import Reason
from .copies import Copies, is_crowded, is_heavy, is_scattered
from .winograd import winograd_launches


class Anchors(Copies):
    """Lowers groups with an anchor.

    Attributes:
        conv: the user's choices of convolution algorithms, by name or scope.
        remarks: why a choice was made.
    """

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Node, ...],
        fusion: Fusion,
        target: Target,
        conv: Mapping[str, str],
    ):
        super().__init__(graph, updates, fusion, target)
        self.conv = conv
        self.remarks: list[str] = []

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
        buffer, strides = self.pad(source, shape, x, fixed, launches)
        offset = -sum(low * s for (low, _), s in zip(box, strides, strict=True))
        return Place(buffer, offset, strides, x.dtype), at

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
            if self.target.packs and is_scattered(axes, roles, a):
                axes, a = self.reorder(axes, a, anchor.inputs[first], launches)
                roles = self.roles(axes, problem.outputs, [o for o, _ in body.stores], kept)
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
        anchor = group.anchor
        assert anchor is not None
        nodes = tuple(n for n in group.index if n is not anchor) or (anchor,)
        rest = [n for n in nodes if n is not anchor]
        self.fusion.refused += [(anchor, n, Reason.PIECES) for n in rest]
        names = dict.fromkeys(("sum", *(n.op.name for n in rest)))
        return self.launch("_".join(names), add_up(nest, "acc", pieces, sums), nodes)

    def partial(self, tile: Tile) -> Access:
        """Memory for the sums of every tile between chunks, or of every split."""
        s, spec = dict(tile.sizes), tile.contraction
        tiles = s["g"] * s["z"] * s["y"] * -(-s["m"] // spec.rows) * -(-s["n"] // spec.width)
        count = tile.splits * tiles * spec.rows * spec.width
        buffer = self.buffer("partial_sums", count, "float32", "arena")
        return Access(buffer, 0, (), "float32")


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
