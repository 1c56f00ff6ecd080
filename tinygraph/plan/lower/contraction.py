"""Anchors become contractions: operands padded or packed where they must be, tiles cut."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from ...graph.dtype import DTYPES
from ...graph.ir import Node, same_nodes
from ..contraction.axes import assign_roles, epilogue, in_words, make_tile, product_of
from ..contraction.axis import Axis, Roles
from ..contraction.dots import across_lanes
from ..contraction.edges import axes_of, edges_of
from ..contraction.groups import grouped_roles
from ..contraction.pieces import outermost, split_reduction
from ..fusion.group import Group, Write
from ..indexing.accesses import ordered_strides
from ..indexing.index import Leaf
from ..indexing.phases import Problem, Unsuitable
from ..memory.fixed import is_fixed
from ..memory.memory import Memory
from ..nests.arrange import arrange
from ..nests.builder import NestBuilder
from ..records.body import Body
from ..records.contraction import is_exact_in_floats, word_of
from ..records.lowered import Declined, Launches
from ..records.plan import Launch
from ..records.reason import Reason
from ..records.target import Cut
from ..records.work import Access, Location, Tile
from .anchored import Anchored
from .copies import is_crowded, is_heavy, is_scattered, is_turned
from .lowerer import Lowerer, Stores, label
from .operands import Part, beyond_edges, epilogue_of_zero, padded


def contraction(
    s: Lowerer, group: Group, stores: Stores, repack: bool = False
) -> Launches | Declined:
    """A group with an anchor: the epilogue within its tiles, or after it as a kernel of its own.

    Only if neither is possible otherwise, a large operand is repacked in every run (``repack``).
    """
    if group.anchor is None:
        return Declined("it has no contraction")
    made = with_epilogue(s, group, stores, repack)
    if isinstance(made, Launches):
        return made
    apart = epilogue_apart(s, group, group.anchor, stores, made, repack)
    if isinstance(apart, Launches):
        return apart
    if apart.repack and not made.repack:
        swapped = epilogue_apart(s, group, group.anchor, stores, apart, repack)
        if isinstance(swapped, Launches):
            return swapped
    if not repack and (made.repack or apart.repack):
        return contraction(s, group, stores, repack=True)
    s.remarks.append(f"{label(group)}: plain loops, because {made.reason}")
    return made


def with_epilogue(
    s: Lowerer, group: Group, stores: Stores, repack: bool = False
) -> Launches | Declined:
    """The contraction by the first of the backend's ways that takes it, or else in tiles; nothing
    is left in memory if it is declined.
    """
    mark = s.memory.mark()
    try:
        builder = NestBuilder(s.fusion, group, s.layout)
        nest = builder.build(stores, accumulator="acc")
        body = epilogue(nest, "acc")
        work = Anchored(s, group, nest, body, s.copies(group), repack)
        for lowering in s.target.lowerings:
            if (found := lowering(work)) is not None:
                return found.naming(builder.values)
        return tiles(work).naming(builder.values)
    except Unsuitable as why:
        s.memory.rollback(mark)
        return Declined(str(why), why.repack, why.stored)


def epilogue_apart(
    s: Lowerer, group: Group, anchor: Node, stores: Stores, why: Declined, repack: bool
) -> Launches | Declined:
    """The contraction into memory of its own, and its epilogue as a kernel after it.

    If it was declined for an operand that would be repacked, its operands change their roles; if
    for where it is stored, a kernel after it copies it there.
    """
    index = {anchor: group.index[anchor]}
    alone = replace(group, index=index, stores=[], swapped=why.repack)
    store = Write(anchor, anchor, group.index[anchor])
    mark, locations = s.memory.mark(), s.memory.locations
    kept = locations.get(anchor)
    if kept is None or why.repack or why.stored:
        locations[anchor] = memory_for(s, alone, store, anchor)
    made = with_epilogue(s, alone, [(store, locations[anchor])], repack)
    if isinstance(made, Declined):
        s.memory.rollback(mark)
        return made
    if kept is not None and why.repack:
        s.memory.buffers.remove(kept.buffer)
    others = [(x, p) for x, p in stores if x.dest is not anchor or why.stored]
    if others:
        made.add(epilogue_launch(s, group, anchor, others))
        rest = (n for n in group.index if n is not anchor)
        s.fusion.refused += [(anchor, n, Reason.DETACHED) for n in rest]
        s.remarks.append(
            f"{label(group)}: its epilogue is a kernel of its own, because {why.reason}"
        )
    if kept is not None and why.stored:
        locations[anchor] = kept
    return made


def memory_for(s: Lowerer, group: Group, store: Write, anchor: Node) -> Location:
    """Memory of an anchor's own, in the order in which it is computed."""
    home = "prepared" if is_fixed(group, s.fixed) else "arena"
    strides = ordered_strides(anchor.shape, s.layout.physical_order(group, store, anchor))
    name = anchor.name or anchor.op.name
    buffer = s.memory.buffer(name, anchor.type.size, anchor.dtype, home)
    return Location(buffer, 0, strides, anchor.dtype)


def epilogue_launch(s: Lowerer, group: Group, anchor: Node, stores: Stores) -> Launch:
    """A group's epilogue, which reads the anchor from memory."""
    after = replace(group, axes=anchor.shape, reduce=frozenset())
    builder = NestBuilder(s.fusion, after, s.layout)
    loaded = builder.load(Leaf(anchor, group.index[anchor]))
    nest = arrange(builder.build(stores, accumulator=loaded))
    nodes = tuple(n for n in group.index if n is not anchor) or (anchor,)
    launch = s.nest("_".join(dict.fromkeys(n.op.name for n in nodes)), nest, nodes)
    launch.values = tuple(builder.values.items())
    return launch


# ---------------------------------------------------------------------- tiles


def tiles(work: Anchored) -> Launches:
    """One launch for every phase of a strided transpose, and for every part of a batch whose axes
    do not join; mostly one.

    Raises:
        Unsuitable: with the reason.
    """
    for part in in_place(work) or padded(work):
        if part.views:
            tile(work, part)
        else:
            dtype = work.anchor.dtype
            bare = epilogue_of_zero(work.nest, part.problem, part.operands, dtype)
            work.made.add(work.s.nest(f"{work.name}_gap", bare, work.nodes))
    return work.made


def in_place(work: Anchored) -> list[Part] | None:
    """The parts of a contraction, one operand of which is read beyond its edges where it is; None
    if none is, or not in tiles.
    """
    found = beyond_edges(work) if work.s.target.packs else None
    try:
        for part in found or ():
            if part.views:
                o = oriented(work, part, (0, 1))
                edges_of(o.roles, len(o.a.guards))
    except Unsuitable:
        return None
    return found


@same_nodes
@dataclass(frozen=True, slots=True)
class Oriented:
    """A contraction with one of its operands as A, the other as B: the axes of both and of the
    epilogue, their roles, and what B is a value of, which may be rounded as it is packed.
    """

    axes: list[Axis]
    roles: Roles
    a: Access
    b: Access
    source: Node

    @property
    def factors(self) -> tuple[str, str]:
        """The dtypes that are multiplied."""
        narrow = self.roles.lanes_along == "batch" and not DTYPES[self.a.dtype].is_float
        return self.a.dtype, "float32" if narrow else self.source.dtype

    @property
    def rounded(self) -> Access:
        """B as it is multiplied."""
        return replace(self.b, dtype=self.factors[1])


def tile(work: Anchored, part: Part) -> None:
    """One contraction, with whichever operand gives contiguous columns as B.

    Raises:
        Unsuitable: with the reason; ``repack`` if only repacking a large operand is in the way.
    """
    s, failure = work.s, None
    problem, operands = part.problem, part.operands
    for first, second in orders(work, part):
        try:
            o = oriented(work, part, (first, second))
        except Unsuitable as reason:
            failure = failure or reason
            continue
        fixed = o.source in s.fixed
        turned = is_turned(o.axes, o.roles, o.a, fixed, s.target)
        floats = o.a.dtype == "float32" and s.target.packs
        if floats and (turned or is_scattered(o.axes, o.roles, o.a, s.target)):
            axes, a = work.copies.reorder(o.axes, o.a, work.anchor.inputs[first], turned)
            o = replace(o, axes=axes, a=a, roles=roles_of(work, problem, axes, o.b, o.source))
        whole = problem.axes == work.group.axes and not o.roles.batch
        cut = outermost(o.roles)  # unless it is that of words, which are none of the anchor's axes
        longest = cut.size if whole and any(axis is cut for axis in o.axes) else 1
        way = s.target.cut(product_of(o.roles, longest, o.factors))
        if way.pieces > 1:
            in_pieces(work, o, way)
            return
        made = make_tile(o.roles, way, work.body, o.a, o.rounded, operands, s.target)
        floats = made.contraction.word == 1  # words are always packed
        repacks = floats and not (fixed or work.repack) and is_heavy(o.roles, s.target)
        if o.roles.packed and repacks:
            failure = Unsuitable("a large operand would be repacked every time", repack=True)
            continue
        if o.roles.packed:
            made = replace(made, b=work.copies.pack(o.roles, made, o.b, fixed, o.source))
        work.made.add(tile_launch(work, made, work.name, work.nodes))
        return
    raise failure or Unsuitable("its axes have no roles")


def orders(work: Anchored, part: Part) -> tuple[tuple[int, int], ...]:
    """The orders of the operands as A and B, the better one first: a B that changes is not packed
    if its rows can be multiplied with the other's only row where they are.
    """
    usual, other = (0, 1), (1, 0)
    with suppress(Unsuitable):
        o = oriented(work, part, usual)
        packs = o.roles.packed and o.source not in work.s.fixed
        if packs and oriented(work, part, other).roles.dots:
            return other, usual
    return usual, other


def oriented(work: Anchored, part: Part, order: tuple[int, int]) -> Oriented:
    """With the operands in this order as A and B.

    Raises:
        Unsuitable: the axes have no roles then.
    """
    problem, (a, b) = part.problem, (part.views[number] for number in order)
    axes, a, b = axes_of(problem.axes, a, b, part.operands, problem.outputs)
    rows, source = (work.anchor.inputs[number] for number in order)
    if a.dtype != rows.dtype:
        raise Unsuitable("its rows would be rounded each time that they are read")
    word = word_of((a.dtype, source.dtype)) if work.s.target.packs else 1
    if word > 1:
        stored = [o for o, _ in work.body.stores]
        roles = assign_roles(axes, problem.outputs, stored, True)
        exact = is_exact_in_floats(prod(x.size for x in roles.reduce))
        bytes_alone = roles.lanes_along == "batch" and not DTYPES[a.dtype].is_float and exact
        return Oriented(axes, roles if bytes_alone else in_words(roles, word), a, b, source)
    return Oriented(axes, roles_of(work, problem, axes, b, source), a, b, source)


def roles_of(work: Anchored, problem: Problem, axes: list[Axis], b: Access, source: Node) -> Roles:
    """The roles of a contraction's axes, with what fills the lanes best across them.

    Raises:
        Unsuitable: it has none.
    """
    target, outputs = work.s.target, problem.outputs
    stored = [o for o, _ in work.body.stores]
    floats = target.packs and all(x.dtype == "float32" for x in work.anchor.inputs)
    if floats and (found := grouped_roles(axes, outputs, stored, target.lanes)):
        return found
    roles = roles_of_columns(work, problem, axes, b, source)
    if floats and roles.column.size < target.lanes:
        with suppress(Unsuitable):
            dots = across_lanes(roles, axes[outputs:])
            rows = prod(x.size for x in roles.rows)
            copied = dots.packed and source not in work.s.fixed
            pays = not copied or rows >= target.copying.reused
            if pays and target.across(product_of(roles), product_of(dots)):
                return dots
    return roles


def roles_of_columns(
    work: Anchored, problem: Problem, axes: list[Axis], b: Access, source: Node
) -> Roles:
    """The roles of a contraction's axes; B is packed if that is done once, if it is an input, or a
    parameter that the program changes, that enough rows read (BERT's step over 256 rows: 94 and 152
    GFLOP/s on each of two cores), or if it crowds the cache; but not where the reduction goes
    across A's rows in chunks, which are read from the cache as they are stored.

    Raises:
        Unsuitable: it has none.
    """
    target = work.s.target
    stored = [o for o, _ in work.body.stores]
    sort = partial(assign_roles, axes, problem.outputs, stored, strided=not target.packs)
    rows = prod(x.size for x in axes[: problem.outputs] if x.a and not x.b)
    read_often = b.buffer.home in ("input", "parameter") and rows >= target.copying.reused
    kept = source in work.s.fixed or (read_often and b.buffer.bytes > target.copying.near)
    roles = sort(target.packs and kept)
    if roles.packed and any(abs(axis.a) == 1 for axis in roles.rows):
        plain = sort(False)
        if not plain.packed and target.cut(product_of(plain)).chunk:
            return plain
    crowded = target.packs and not roles.packed and is_crowded(roles, target)
    return sort(True) if crowded else roles


def tile_launch(work: Anchored, made: Tile, name: str, nodes: tuple[Node, ...]) -> Launch:
    if made.contraction.chunked or made.splits > 1:
        made = replace(made, partial=partial_sums(work.s.memory, made))
    sizes = made.sizes
    return Launch(name, made, nodes, sizes["row_parts"] * sizes["column_parts"])


def partial_sums(memory: Memory, tile: Tile) -> Access:
    """Memory for the sums of every tile between chunks, or of every split."""
    spec = tile.contraction
    count = tile.row_tiles * -(-tile.sizes["n"] // spec.width)
    elements = tile.splits * count * spec.rows * spec.width
    return Access(memory.buffer("partial_sums", elements, "float32", "arena"), 0, (), "float32")


def in_pieces(work: Anchored, o: Oriented, way: Cut) -> None:
    """A contraction in pieces of its reduction, and a nest that adds them up."""
    anchor, target = work.anchor, work.s.target
    sums = work.piece_sums(anchor.shape, way.pieces)
    split = split_reduction(o.axes, o.roles, way.pieces, sums.strides)
    word = word_of(o.factors)
    roles = assign_roles(split, len(sums.strides), [0], word > 1)
    roles = in_words(roles, word) if word > 1 else roles
    each = replace(
        target.cut(product_of(roles, factors=o.factors)),
        row_parts=way.pieces * way.row_parts,
        column_parts=way.column_parts,
    )
    operand = replace(sums, strides=tuple(axis.ops[0] for axis in split))
    body = Body(stores=((0, "acc"),))
    made = make_tile(roles, each, body, o.a, o.rounded, [operand], target)
    if roles.packed:
        fixed = o.source in work.s.fixed
        made = replace(made, b=work.copies.pack(roles, made, o.b, fixed, o.source))
    work.made.add(tile_launch(work, made, anchor.op.name, (anchor,)))
    work.made.add(work.added_up(sums, way.pieces))
