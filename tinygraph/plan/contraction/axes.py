"""From an anchor to contractions: axes become rows, columns and reduction; operands are copied only
where they must be.

An anchor's loops read both operands by affine indices, so no operator is known here by name: an
output axis that only A's index contains is a row axis, one that only B's contains a column axis,
one in both is the batch. Strided transposes (indices with a divisor) have fallen into phases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod

from ...graph.dtype import DTYPES
from ...graph.op import Index
from ..indexing.phases import Problem, Unsuitable
from ..nests import words
from ..nests.arrange import copy_nest
from ..records.body import Body, Statement
from ..records.contraction import SQUARE, Contraction, TileOperand, blocked, word_of
from ..records.target import Cut, Product, Target
from ..records.work import Access, Buffer, Guard, Load, Nest, Put, Tile
from .axis import ONE, Axis, Roles, argument_axes, join_all, split_axis
from .dots import DOT, columns_as_rows, is_dot
from .edges import edges_of, guarded_view
from .groups import pack_groups

APART = 64  # launches into which a batch may fall whose axes do not join


def one_batch_axis(
    problem: Problem, operands: list[Access]
) -> Iterator[tuple[Problem, list[Access]]]:
    """The problem with its operands, A and B first; or, where the axes of its batch do not join,
    as the images and heads of attention, a part for each index of all but the longest.
    """
    a, b = operands[0].strides, operands[1].strides
    batch = [i for i, n in enumerate(problem.axes[: problem.outputs]) if n > 1 and a[i] and b[i]]
    batch.sort(key=lambda i: -abs(a[i]))
    axes = [Axis(problem.axes[i], a[i], b[i], tuple(o.strides[i] for o in operands)) for i in batch]
    together = join_all(axes)
    if len(together) <= 1:
        yield problem, operands
        return
    whole = max(together, key=lambda axis: axis.size)
    kept = whole.parts or (whole,)
    apart = [i for i, axis in zip(batch, axes, strict=True) if axis not in kept]
    if prod(problem.axes[i] for i in apart) > APART:
        raise Unsuitable("too many axes do not join")
    sizes = tuple(1 if i in apart else n for i, n in enumerate(problem.axes))
    for place in product(*(range(problem.axes[i]) for i in apart)):
        steps = list(zip(apart, place, strict=True))
        moved = [o.offset + sum(o.strides[i] * k for i, k in steps) for o in operands]
        yield (
            replace(problem, axes=sizes),
            [replace(o, offset=at) for o, at in zip(operands, moved, strict=True)],
        )


# ---------------------------------------------------------------------- roles of axes


def assign_roles(
    axes: list[Axis], outputs: int, writes: list[int], pack: bool, strided: bool = False
) -> Roles:
    """Sorts axes into roles, with A as rows and B as columns.

    ``pack`` asks for a packed copy of B; without ``strided``, columns that are not contiguous in B
    ask for it too.

    Raises:
        Unsuitable: too many axes remain, or the columns are not contiguous in some operand of the
            epilogue, or the batch, which would fill the lanes, is not where it is stored.
    """
    live = [a for a in axes[:outputs] if a.size > 1]
    batch = [a for a in live if a.a and a.b]
    columns = [a for a in live if a.b and not a.a]
    rows = [a for a in live if not a.b]
    reduce = [a for a in axes[outputs:] if a.size > 1]
    if not columns and not strided:  # what is contiguous in the batch fills the lanes instead
        columns = [a for a in batch if a.a == 1]
        if any(a.ops[w] != 1 for a in columns for w in writes):
            if prod(a.size for a in reduce) >= DOT:
                raise Unsuitable("its batch is not contiguous where it is stored", stored=True)
            columns = []
        batch = [a for a in batch if a not in columns]
    empty = ONE if not axes else replace(ONE, ops=(0,) * len(axes[0].ops))
    column = join_all(sorted(columns, key=lambda a: -max(map(abs, a.ops), default=0))) or [empty]
    wide = column[0].size > 1
    if len(column) > 1 or (wide and any(column[0].ops[w] != 1 for w in writes)):
        raise Unsuitable("its columns are not contiguous where they are stored", stored=True)
    if wide and any(s not in (0, 1) for s in column[0].ops):
        raise Unsuitable("its columns are not contiguous in its epilogue")
    dots = not strided and column[0].size == 1 and is_dot(reduce)
    packed = not dots and (pack or (not strided and wide and column[0].b != 1))
    both = not packed and any(abs(a.a) == 1 for a in rows)  # the reduction strides over A and B
    by_stride = sorted(reduce, key=lambda a: -abs(a.a) - both * abs(a.b))
    reduce = join_all(by_stride, packed)
    if packed and len(reduce) > 3:
        reduce = join_all(by_stride)
    rows = join_all(sorted(rows, key=lambda a: (-abs(a.a), -max(map(abs, a.ops), default=0))))
    batch = join_all(sorted(batch, key=lambda a: -abs(a.a)))
    if len(batch) > 1 or len(rows) > 3 or len(reduce) > 3:
        raise Unsuitable("too many axes do not join")
    return Roles(tuple(batch), tuple(rows), column[0], tuple(reduce), packed, dots)


def in_words(roles: Roles, word: int) -> Roles:
    """The roles, whose innermost reduction goes through words of so many elements.

    Raises:
        Unsuitable: these are not side by side in A.
    """
    inner = roles.reduce[-1] if roles.reduce else ONE
    last = inner.parts[-1] if inner.parts else inner
    if inner.a != 1 or last.size % word or not roles.packed or roles.lanes_along != "columns":
        raise Unsuitable(f"its channels are not side by side, {word} by {word}")
    wide = replace(last, size=last.size // word, a=last.a * word, b=last.b * word)
    parts = (*inner.parts[:-1], wide) if inner.parts else ()
    whole = replace(wide, size=inner.size // word, parts=parts)
    rows = roles.rows
    longest = max(rows, key=lambda a: a.size, default=ONE)
    if rows and rows[-1].size < min(SQUARE, longest.size // 2):  # taps, of a gradient to weights
        rows = (*(a for a in rows if a is not longest), longest)
    return replace(roles, rows=rows, reduce=(*roles.reduce[:-1], whole))


# ---------------------------------------------------------------------- the epilogue


def epilogue(nest: Nest, accumulator: str) -> Body:
    """The statements after the reduction as a tile's body.

    Raises:
        Unsuitable: the epilogue needs something that a tile does not offer.
    """
    steps = [s for stage in nest.stages for s in stage.outer]
    if len(nest.stages) != 2 or nest.stages[1].inner:
        raise Unsuitable("its epilogue has a reduction")
    loads, statements, stores = [], [], []
    rename = {accumulator: "acc"}
    for step in steps:
        if isinstance(step, Load):
            if nest.operands[step.operand].guards:
                raise Unsuitable("its epilogue reads beyond edges")
            loads.append((step.name, step.operand))
        elif isinstance(step, Statement):
            statements.append(replace(step, args=tuple(rename.get(a, a) for a in step.args)))
        elif isinstance(step, Put):
            stores.append((step.operand, rename.get(step.value, step.value)))
        else:
            raise Unsuitable("its epilogue uses positions")
    return Body(tuple(loads), tuple(statements), tuple(stores))


def product_of(
    roles: Roles, longest: int = 1, factors: tuple[str, str] = ("float32", "float32")
) -> Product:
    """The sizes of a contraction with these roles; ``longest``, ``factors`` as in ``Product``."""
    g, z, y, m, *reduce = argument_axes(roles, 0)
    r, s, k = (axis.size for axis in reduce)
    return Product(
        batch=g.size,
        outer=z.size * y.size,
        rows=m.size,
        columns=roles.column.size,
        reduction=(r, s, k),
        packed=roles.packed,
        across=m.a == 1,
        longest=longest,
        lanes_along=roles.lanes_along,
        group=roles.group.size if roles.group else 1,
        factors=factors,
        lines=y.size,
        pitch=pitch(y, m),
        fresh=fresh(roles),
    )


def fresh(roles: Roles) -> int:
    """Steps of the reduction that are no taps, which reach as far in A as the next row begins."""
    apart = [part.a for axis in roles.rows for part in axis.parts or (axis,)]
    steps = (part for axis in roles.reduce for part in axis.parts or (axis,))
    return prod(x.size for x in steps if not any(x.a <= a < x.a * x.size for a in apart))


def pitch(y: Axis, m: Axis) -> int:
    """Rows of A from one line of y to the next; 0 if they are no whole number."""
    return y.a // m.a if m.a > 0 and y.a % m.a == 0 and y.a // m.a >= m.size else 0


def make_tile(
    roles: Roles,
    way: Cut,
    body: Body,
    a: Access,
    b: Access,
    operands: list[Access],
    target: Target,
) -> Tile:
    """The record and the argument values of one contraction; strides of ``a``, ``b`` are ignored,
    roles hold them.
    """
    g, z, y, m, r, s, k = argument_axes(roles, len(operands))
    n, factors = roles.column.size, (a.dtype, b.dtype)
    word, exact = word_of(factors) if roles.packed else 1, not DTYPES[a.dtype].is_float
    group = roles.group.size if roles.group else 1
    if way.inner:
        s, k = split_axis(k, way.inner)
    width = way.vectors * (1 if roles.dots else target.lanes)
    blocks = -(-n // width)
    specs = tuple(
        TileOperand(roles.column.ops[i] == 1 if n > 1 else True, o.dtype, m.ops[i] != 0)
        for i, o in enumerate(operands)
    )
    shape, chunked = (way.rows, way.vectors), way.chunk > 0
    record = Contraction.tiled(
        shape,
        m.size,
        n,
        body,
        specs,
        target.lanes,
        chunked,
        roles.lanes_along,
        "" if chunked or way.splits > 1 or exact else blocked(r.size, s.size, k.size),
        roles.packed,
        edges_of(roles, len(a.guards)),
        factors,
        way.matrix,
        group,
        way.lines,
        pitch(y, m) if way.lines > 1 else 0,
        way.tails,
    )
    packed_k = width * word * group
    if roles.packed and roles.dots:
        b_k, b_s, b_r = 1, k.size, k.size * s.size
        b_g, b_j = b_r * r.size * n, b_r * r.size * width
    elif roles.packed:
        b_k, b_s, b_r = packed_k, packed_k * k.size, packed_k * k.size * s.size
        b_g, b_j = b_r * r.size * blocks, b_r * r.size
    else:
        b_k, b_s, b_r, b_g = k.b, s.b, r.b, g.b
        b_j = width * roles.column.b if n > 1 else width
    sizes = {"row_parts": way.row_parts, "column_parts": way.column_parts}
    sizes |= {"row_group": way.row_group}
    sizes |= {"g": g.size, "z": z.size, "y": y.size, "m": m.size, "n": n}
    sizes |= {"r": r.size, "s": s.size, "k": k.size}
    sizes |= {"a_g": g.a, "a_z": z.a, "a_y": y.a, "a_m": m.a, "a_r": r.a, "a_s": s.a, "a_k": k.a}
    sizes |= {"b_g": b_g, "b_j": b_j, "b_r": b_r, "b_s": b_s, "b_k": b_k, "s_chunk": way.chunk}
    views = tuple(
        replace(
            o, strides=(g.ops[i], z.ops[i], y.ops[i], m.ops[i], roles.column.ops[i] if n > 1 else 0)
        )
        for i, o in enumerate(operands)
    )
    b_view = replace(b, strides=(b_g, b_j, b_r, b_s, b_k))
    a_view = guarded_view(a, (g, z, y, m, r, s, k))
    return Tile(record, sizes, a_view, b_view, views, splits=way.splits)


def pack_nest(roles: Roles, tile: Tile, source: Access, target: Buffer) -> Nest:
    """Copies B into column blocks of the tile's width, rows contiguous, the last block filled with
    zeros; or column by column.
    """
    if roles.dots:
        return columns_as_rows(roles, source, target)
    if roles.group:
        return pack_groups(roles, tile, source, target)
    sizes, width, word = tile.sizes, tile.contraction.width, tile.contraction.word
    n, blocks = roles.column.size, -(-roles.column.size // width)
    columns = roles.column
    order = [*roles.batch, *(p for axis in roles.reduce for p in (axis.parts or (axis,)))]
    axes = [*(x.size for x in order), blocks, width]
    strides = [sizes["b_g"]] * len(roles.batch)
    inner = [p.size for axis in roles.reduce for p in (axis.parts or (axis,))]
    strides += [word * width * prod(inner[i + 1 :]) for i in range(len(inner))]
    strides += [sizes["b_j"], word]
    j, w = len(order), len(order) + 1
    if n % width:
        terms = tuple((a, c) for a, c, size in ((j, width, blocks), (w, 1, width)) if size > 1)
        guard = Guard(Index(0, terms), n, columns.b)
        read = replace(source, strides=(*(x.b for x in order), 0, 0), guards=(guard,), outside=0.0)
    else:
        read = replace(source, strides=(*(x.b for x in order), width * columns.b, columns.b))
    if word > 1:  # the innermost axis goes through words
        axes, strides = [*axes, word], [*strides, 1]
        read = replace(read, strides=(*read.strides, roles.reduce[-1].b // word))
    write = Access(target, 0, tuple(strides), tile.b.dtype)
    if whole := whole_words(read, write, word):
        return copy_nest(tuple(axes[:-1]), *whole)
    return words.word_nest(tuple(axes), read, write)


def whole_words(read: Access, write: Access, word: int) -> tuple[Access, Access] | None:
    """A copy of words as one of integers of 32 bits, if their elements are side by side in what is
    read, too.
    """
    last = len(read.strides) - 1
    whole = words.is_whole(read, last, word)
    if word <= 2 or read.strides[last] != 1 or read.step or not whole:
        return None
    source, target = (words.as_words(x, last, word, "int32") for x in (read, write))
    return replace(source, strides=source.strides[:last]), replace(
        target, strides=target.strides[:last]
    )
