"""The reduction of a register tile: three loops around multiply-adds of rows with columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES

from .arguments import lane_mask
from .aside import Aside
from .edges import Rim, either
from .products import StepProducts
from .tile import (
    PREFETCH_BYTES,
    PrefetchRows,
    Reduction,
    Shape,
    Walk,
    i8,
    i32,
    i64,
    masked_load,
    offset,
    opaque,
    prefetch,
    repeat,
    splat,
)

State = list[ir.Value]
Add = Callable[..., State]
Choose = Callable[[int, ir.Value], ir.Value]


def accumulate(
    b: ir.IRBuilder,
    shape: Shape,
    a: ir.Value,
    columns: ir.Value,
    reduction: Reduction,
    initial: Sequence[ir.Value],
    walks: Sequence[Walk] = (),
    block: PrefetchRows | None = None,
    aside: Aside | None = None,
    mask: ir.Value | None = None,
    rim: Rim | None = None,
) -> list[ir.Value]:
    """Row after row, `initial` and the sums over r, s and k of A[row] * B[columns]; with a rim,
    rows that are beyond it are zero.

    Only the lanes of the last vector that `mask` has are loaded: memory may end there.
    """
    a_strides, b_strides = list(reduction.a_strides), list(reduction.b_strides)
    if reduction.rest is not None:
        a_strides[2] = b_strides[2] = i64(4 * shape.lanes)
    ahead = b.mul(b_strides[2], i64(max(1, PREFETCH_BYTES // (4 * shape.vectors * shape.lanes))))
    fetched = [(walk.start, walk.step, walk.locality) for walk in walks]
    if block is not None:
        fetched += [(start, block.step, 2) for start in block.starts]

    if reduction.rest is not None:
        products = partial(_multiply_add_lanes, b, shape, reduction)
    else:
        products = partial(_multiply_add, b, shape, reduction, ahead)

    def multiply(a: ir.Value, columns: ir.Value, *sums: ir.Value) -> list[ir.Value]:
        return products(a, columns, sums, mask)

    def step(a: ir.Value, columns: ir.Value, *rest: ir.Value, add: Add = multiply) -> State:
        there, sums = rest[: len(fetched)], rest[len(fetched) :]
        for at, (_, _, locality) in zip(there, fetched, strict=True):
            prefetch(b, at, locality=locality)
        new = add(a, columns, *sums)
        on = [offset(b, at, step) for at, (_, step, _) in zip(there, fetched, strict=True)]
        return [offset(b, a, a_strides[2]), offset(b, columns, b_strides[2]), *on, *new]

    def tap(number: ir.Value, *state: ir.Value) -> State:
        assert rim is not None

        def add(a: ir.Value, columns: ir.Value, *sums: ir.Value) -> State:
            return either(
                b,
                rim.inside(b, number),
                lambda: multiply(a, columns, *sums),
                lambda: products(a, columns, sums, mask, rim.choose(b, number)),
            )

        return [b.add(number, i64(1)), *step(*state, add=add)]

    def in_vectors(state: State, choose: Choose | None = None) -> State:
        assert reduction.rest is not None
        rest = reduction.rest
        some = b.icmp_signed("!=", rest, i64(0))
        whole = b.sub(reduction.counts[2], b.zext(some, i64))
        steps = b.icmp_signed(">", whole, i64(0))
        long = aside is not None and aside.loop == "k"
        loop = aside.in_segments if aside is not None and long else repeat

        def add(a: ir.Value, columns: ir.Value, *sums: ir.Value) -> State:
            return products(a, columns, sums, None, choose)

        each = partial(step, add=add)
        state = either(b, steps, lambda: loop(b, whole, state, each), lambda: state)
        lanes = lane_mask(b, rest, shape.lanes)

        def last(a: ir.Value, columns: ir.Value, *sums: ir.Value) -> State:
            return products(a, columns, sums, lanes, choose)

        return either(b, some, lambda: step(*state, add=last), lambda: state)

    def window(number: ir.Value, *state: ir.Value) -> State:
        """A step of s at which rows may be beyond an edge."""
        assert rim is not None
        beyond = rim.choose(b, number)
        after = either(
            b,
            rim.inside(b, number),
            lambda: in_vectors(list(state)),
            lambda: in_vectors(list(state), beyond),
        )
        return [b.add(number, i64(1)), *moved(1, state, after)]

    def innermost(state: State) -> State:
        k = reduction.counts[2]
        if reduction.rest is not None:
            return in_vectors(state)
        if rim is not None:
            return repeat(b, k, [i64(0), *state], tap)[1:]
        if aside is not None and aside.loop == "k":
            return aside.in_segments(b, k, state, step)
        if block is None:
            return repeat(b, k, state, step)
        return _in_segments(b, k, block, 2 + len(walks), state, step)

    def moved(level: int, before: Sequence[ir.Value], after: State) -> State:
        """The state after a step of r or s."""
        a, columns, new = before[0], before[1], after[2:]
        if aside is not None and aside.loop == "rs"[level]:
            new = [*new[: len(fetched)], *aside.add(b, new[len(fetched) :])]
        return [offset(b, a, a_strides[level]), offset(b, columns, b_strides[level]), *new]

    def middle(*state: ir.Value) -> State:
        return moved(1, state, innermost(list(state)))

    def outer(*state: ir.Value) -> State:
        if rim is not None and reduction.rest is not None:
            after = repeat(b, reduction.counts[1], [i64(0), *state], window)[1:]
        else:
            after = repeat(b, reduction.counts[1], state, middle)
        return moved(0, state, after)

    start = [a, columns, *(at for at, _, _ in fetched), *initial]
    return repeat(b, reduction.counts[0], start, outer)[2 + len(fetched) :]


def _in_segments(
    b: ir.IRBuilder,
    count: ir.Value,
    block: PrefetchRows,
    first: int,
    state: Sequence[ir.Value],
    step: Callable[..., Sequence[ir.Value]],
) -> list[ir.Value]:
    """A loop over steps, cut into segments; state[first] and what follows are where the block's
    rows begin, which are the next ones after each segment.
    """
    end = first + len(block.starts)
    size = b.udiv(count, block.segments)
    longest = b.sub(count, b.mul(size, b.sub(block.segments, i64(1))))

    def segment(steps: ir.Value, *state: ir.Value) -> list[ir.Value]:
        after = repeat(b, steps, state, step)
        rows = zip(state[first:end], block.rows, strict=True)
        return [size, *after[:first], *(offset(b, *row) for row in rows), *after[end:]]

    return repeat(b, block.segments, [longest, *state], segment)[1:]


def _multiply_add(
    b: ir.IRBuilder, shape: Shape, reduction: Reduction, ahead: ir.Value,
    a: ir.Value, columns: ir.Value, sums: Sequence[ir.Value], mask: ir.Value | None,
    choose: Choose | None = None,
) -> list[ir.Value]:  # fmt: skip
    """One step of the reduction: a row of B is loaded once, A's scalars are broadcast; ``choose``
    gives the address of a row of A that may be beyond an edge.
    """
    if shape.group > 1:
        return _multiply_add_groups(b, shape, reduction, a, columns, sums, mask, choose)
    lanes = shape.lanes
    products = StepProducts.begin(b, shape, _vectors(b, shape, columns, mask))
    if shape.lanes_along == "columns":
        for at in range(0, 4 * shape.vectors * lanes, 64):  # a cache line each
            prefetch(b, offset(b, offset(b, columns, ahead), i64(at)))
    new = []
    for m in range(shape.rows):
        a, row = _row(b, reduction, a, m, choose)
        sums_of_row = sums[m * shape.vectors :][: shape.vectors]
        if shape.lanes_along != "columns":
            row_of_a = _vectors(b, shape, row, mask, shape.factors[0])
        else:
            align = DTYPES[shape.factors[0]].bytes
            word = b.load(row, typ=shape.words.element, align=align)
            row_of_a = [splat(b, word, lanes)] * shape.vectors
        new += products.add(row_of_a, sums_of_row)
    return new


def _row(
    b: ir.IRBuilder, reduction: Reduction, a: ir.Value, m: int, choose: Choose | None
) -> tuple[ir.Value, ir.Value]:
    """(where the last multiple of eight rows is, where row m is), from where that was before."""
    if m % 8 == 0:
        a = opaque(b, offset(b, a, reduction.a_rows[8]) if m else a)
    row = offset(b, a, reduction.a_rows[m % 8])
    return a, choose(m, row) if choose else row


def _multiply_add_lanes(
    b: ir.IRBuilder, shape: Shape, reduction: Reduction,
    a: ir.Value, columns: ir.Value, sums: Sequence[ir.Value], mask: ir.Value | None,
    choose: Choose | None = None,
) -> list[ir.Value]:  # fmt: skip
    """One step across the lanes: a vector of each row of A with one of each column of B."""
    one = replace(shape, vectors=1)
    there = [offset(b, columns, at) for at in reduction.columns[: shape.vectors]]
    loaded = [x for at in there for x in _vectors(b, one, at, mask)]
    products, new = StepProducts.begin(b, shape, loaded), list[ir.Value]()
    for m in range(shape.rows):
        a, row = _row(b, reduction, a, m, choose)
        (vector,) = _vectors(b, one, row, mask)
        sums_of_row = sums[m * shape.vectors :][: shape.vectors]
        new += products.add([vector] * shape.vectors, sums_of_row)
    return new


def _multiply_add_groups(
    b: ir.IRBuilder, shape: Shape, reduction: Reduction, a: ir.Value, columns: ir.Value,
    sums: Sequence[ir.Value], mask: ir.Value | None, choose: Choose | None,
) -> list[ir.Value]:  # fmt: skip
    """One step, where lanes hold the channels of groups: for each channel of a group a row of B,
    and rows of A that have it in all lanes of the group.
    """
    rows, new = list[list[ir.Value]](), list(sums)
    for m in range(shape.rows):
        a, row = _row(b, reduction, a, m, choose)
        rows.append(_vectors(b, shape, row, mask))
    for channel in range(shape.group):
        there = offset(b, columns, i64(4 * channel * shape.width))
        products = StepProducts.begin(b, shape, _vectors(b, shape, there, None))
        lanes = [i - i % shape.group + channel for i in range(shape.lanes)]
        picked = ir.Constant(ir.VectorType(i32, shape.lanes), lanes)
        for m, row in enumerate(rows):
            copied = [b.shuffle_vector(x, x, picked) for x in row]
            part = slice(m * shape.vectors, (m + 1) * shape.vectors)
            new[part] = products.add(copied, new[part])
    return new


def _vectors(
    b: ir.IRBuilder, shape: Shape, row: ir.Value, mask: ir.Value | None, dtype: str = "float32"
) -> list[ir.Value]:
    """The vectors of a row, of the last only the lanes that the mask has; bytes as floats."""
    record, last = DTYPES[dtype], shape.vectors - 1
    narrow = not record.is_float
    kind = ir.VectorType(i8, shape.lanes) if narrow else shape.words
    size = 1 if narrow else 4
    there = [offset(b, row, i64(size * v * shape.lanes)) for v in range(shape.vectors)]
    whole = there if mask is None else there[:last]
    loaded = [b.load(at, typ=kind, align=size) for at in whole]
    if mask is not None:
        loaded.append(masked_load(b, there[last], kind, dtype if narrow else "float32", mask))
    if not narrow:
        return loaded
    widen = b.sext if record.kind == "int" else b.zext
    words = ir.VectorType(i32, shape.lanes)
    return [b.sitofp(widen(x, words), shape.vector) for x in loaded]
