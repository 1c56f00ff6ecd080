"""What the text of a contraction calls: unrolled code, emitted as LLVM.

Numba takes some 10 ms for every line of a kernel's text, so what is written out for every element
of a register tile comes from here. Arguments in capitals are integer literals; indices count
elements. Importing this module imports numba-cuda.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..compile.intrinsics import VECTOR, Builder, define
from ..compile.toolchain import types
from .blocking import ALL, PAD

Codegen = Callable[..., ir.Value]
Typed = tuple[Any, Codegen] | None

i32, i64 = ir.IntType(32), ir.IntType(64)


def emitted(body: Callable[..., ir.Value]) -> Codegen:
    """A lowering that emits with a Builder of its own, which may open new blocks."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        b = Builder(builder)
        value = body(context, b, signature.return_type, args)
        builder.position_at_end(b.block)
        return value

    return lower


def literals(*kinds: Any) -> list[int]:
    return [kind.literal_value for kind in kinds]


def integer(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """An index as int32, which the caller has made sure it fits in."""
    return b.trunc(x, i32) if x.type.width > 32 else x


def parts(b: ir.IRBuilder, values: ir.Value, count: int) -> list[ir.Value]:
    return [b.extract_value(values, i) for i in range(count)]


def element(b: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    return b.gep(data, [b.sext(index, i64)])


def vector(b: ir.IRBuilder, at: ir.Value, width: int) -> ir.Value:
    return b.bitcast(at, ir.VectorType(at.type.pointee, width).as_pointer(at.type.addrspace))


def load_parts(b: ir.IRBuilder, at: ir.Value, width: int, align: int) -> list[ir.Value]:
    """``width`` elements from an address on, in one access."""
    if width == 1:
        return [b.load(at)]
    loaded = b.load(vector(b, at, width), align=align)
    return [b.extract_element(loaded, i32(i)) for i in range(width)]


def store_parts(b: ir.IRBuilder, at: ir.Value, values: list[ir.Value], align: int) -> None:
    if len(values) == 1:
        b.store(values[0], at)
        return
    target = vector(b, at, len(values))
    packed = ir.Constant(target.type.pointee, ir.Undefined)
    for i, value in enumerate(values):
        packed = b.insert_element(packed, value, i32(i))
    b.store(packed, target, align=align)


def zeros(count: Any) -> Typed:
    """zeros(N): a tuple of N accumulators."""
    (n,) = literals(count)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        return context.make_tuple(b, result, [ir.FloatType()(0.0)] * n)

    return types.UniTuple(types.float32, n)(count), lower


# ---------------------------------------------------------------------- from memory to registers


def line_offset(b: Any, row: ir.Value, sizes: list[ir.Value], strides: list[ir.Value]) -> ir.Value:
    """The offset of a row that counts through z, y and m: ``sizes`` of y and m, ``strides`` of all.
    """
    m, rest = b.urem(row, sizes[1]), b.udiv(row, sizes[1])
    index = [b.udiv(rest, sizes[0]), b.urem(rest, sizes[0]), m]
    terms = [b.mul(i, s) for i, s in zip(index, strides, strict=True)]
    return b.add(b.add(terms[0], terms[1]), terms[2])


def row_offsets(first: Any, last: Any, lines: Any, strides: Any, count: Any, step: Any) -> Typed:
    """row_offsets(first, last, (y, m), (z, y, m), COUNT, STEP): where rows first, first + STEP, ...
    lie, by the sizes of y and m and the strides of z, y and m; beyond ``last`` it is the last.

    With an empty tuple of sizes, all rows are ``strides[0]`` apart.
    """
    n, each = literals(count, step)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        row, end = (integer(b, x) for x in args[:2])
        sizes = [integer(b, x) for x in parts(b, args[2], len(lines))]
        steps = [integer(b, x) for x in parts(b, args[3], len(strides))]
        found = []
        for i in range(n):
            at = b.add(row, i32(i * each))
            at = b.select(b.icmp_unsigned("<", at, end), at, end)
            found.append(line_offset(b, at, sizes, steps) if sizes else b.mul(at, steps[0]))
        return context.make_tuple(b, result, found)

    kind = types.UniTuple(types.int32, n)
    return kind(first, last, lines, strides, count, step), lower


def spaced(first: Any, step: Any, count: Any) -> Typed:
    """spaced(first, step, COUNT): first, first + step, first + 2 * step, ..."""
    (n,) = literals(count)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        start, each = integer(b, args[0]), integer(b, args[1])
        found = [b.add(start, b.mul(each, i32(i))) for i in range(n)]
        return context.make_tuple(b, result, found)

    return types.UniTuple(types.int32, n)(first, step, count), lower


def moved(x: Any, by: Any) -> Typed:
    """moved(x, by): the pointer ``by`` bytes on; int64."""

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        start = b.bitcast(args[0], ir.IntType(8).as_pointer(args[0].type.addrspace))
        return b.bitcast(b.gep(start, [args[1]]), args[0].type)

    return x(x, by), lower


def gather(x: Any, offsets: Any, left: Any, width: Any, step: Any) -> Typed:
    """gather(x, offsets, left, WIDTH, STEP): x[offset] for each of the offsets, and what follows,
    WIDTH elements in one access; zeros for offset i unless i * STEP < left.

    With STEP = ALL everything is there.
    """
    wide, each = literals(width, step)
    count = len(offsets)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        rest = integer(b, args[2])
        found: list[ir.Value] = []
        for i, offset in enumerate(parts(b, args[1], count)):
            place = element(b, args[0], offset)

            def read(place: ir.Value = place) -> list[ir.Value]:
                return load_parts(b, place, wide, 4 * wide)

            inside = b.icmp_signed("<", i32(i * each), rest)
            found += read() if each == ALL else where_inside(b, inside, read)
        return context.make_tuple(b, result, found)

    found = types.UniTuple(types.float32, count * wide)
    return found(x, offsets, left, width, step), lower


def where_inside(
    b: ir.IRBuilder, condition: ir.Value, read: Callable[[], list[ir.Value]]
) -> list[ir.Value]:
    """The values that ``read`` emits, or zeros of its types."""
    before = b.block
    with b.if_then(condition):
        found = read()
        inside = b.block
    merged = []
    for value in found:
        phi = b.phi(value.type)
        phi.add_incoming(value, inside)
        phi.add_incoming(ir.Constant(value.type, 0), before)
        merged.append(phi)
    return merged


# ---------------------------------------------------------------------- shared memory


def shared(context: Any, b: Builder, kind: Any, value: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, b, value=value).data


def stash(tile: Any, at: Any, values: Any, width: Any, step: Any, stride: Any) -> Typed:
    """stash(tile, at, values, WIDTH, STEP, STRIDE): element j of group i of WIDTH values goes to
    tile[at + i * STEP + j * STRIDE]; a group in one access where STRIDE is 1.
    """
    wide, step_, stride_ = literals(width, step, stride)
    count = len(values) // wide

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        base = element(b, shared(context, b, tile, args[0]), integer(b, args[1]))
        numbers = parts(b, args[2], count * wide)
        for i in range(count):
            group = numbers[i * wide : (i + 1) * wide]
            if stride_ == 1:
                store_parts(b, b.gep(base, [i64(i * step_)]), group, 4 * wide)
                continue
            for j, number in enumerate(group):
                b.store(number, b.gep(base, [i64(i * step_ + j * stride_)]))
        return context.get_dummy_value()

    return types.void(tile, at, values, width, step, stride), lower


def multiply(
    acc: Any, tile: Any, a_at: Any, b_at: Any, m: Any, n: Any, depth: Any, rows: Any, columns: Any
) -> Typed:
    """multiply(acc, tile, a, b, M, N, DEPTH, ROWS, COLUMNS): acc plus the product of what a thread
    sees of both operands, m rows from tile[a] on and n columns from tile[b] on, in groups of four
    that are spread over the block's; one step of the reduction is ROWS (or COLUMNS) + PAD long.

    Each fragment is read before the multiply-adds of the one before.
    """
    tall, wide, steps, high, broad = literals(m, n, depth, rows, columns)

    def fragment(b: ir.IRBuilder, base: ir.Value, at: int, count: int, gap: int) -> list[ir.Value]:
        groups = (b.gep(base, [i64(at + g * gap)]) for g in range(count // VECTOR))
        return [x for group in groups for x in load_parts(b, group, VECTOR, 16)]

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        data = shared(context, b, tile, args[1])
        left, right = (element(b, data, integer(b, at)) for at in args[2:4])
        sums = parts(b, args[0], tall * wide)

        def fragments(step: int) -> tuple[list[ir.Value], list[ir.Value]]:
            return (
                fragment(b, left, step * (high + PAD), tall, high * VECTOR // tall),
                fragment(b, right, step * (broad + PAD), wide, broad * VECTOR // wide),
            )

        following = fragments(0)
        for step in range(steps):
            x, y = following
            if step + 1 < steps:
                following = fragments(step + 1)
            sums = [b.fma(x[i // wide], y[i % wide], total) for i, total in enumerate(sums)]
        return context.make_tuple(b, result, sums)

    return acc(acc, tile, a_at, b_at, m, n, depth, rows, columns), lower


def define_literal(name: str, arity: int, count: int, typer: Callable[..., Typed]) -> Any:
    """An intrinsic whose last ``count`` arguments must be literals: Numba tries without first."""

    def checked(*kinds: Any) -> Typed:
        return typer(*kinds) if all(isinstance(k, types.Literal) for k in kinds[-count:]) else None

    return define(name, arity, checked)


SCOPE = {  # what the text of a contraction may call
    name: define_literal(name, arity, count, typer)
    for name, arity, count, typer in (
        ("zeros", 1, 1, zeros),
        ("row_offsets", 6, 2, row_offsets),
        ("spaced", 3, 1, spaced),
        ("gather", 5, 2, gather),
        ("stash", 6, 3, stash),
        ("multiply", 9, 5, multiply),
    )
} | {"moved": define("moved", 2, moved)}
