"""What the text of a contraction by tensor cores calls: asynchronous copies, matrices, products.

A row of a tile in shared memory is ``pitch`` bytes, in chunks of 16. Chunk c of row i is stored at
the place of chunk ``c ^ swizzle(i)``: ldmatrix reads a chunk of each of eight rows at a time, which
are then in eight different groups of banks. Importing this module imports numba-cuda.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..compile.intrinsics import Builder, define
from ..compile.toolchain import types
from .blocking import ALL
from .tile import (
    Typed,
    define_literal,
    element,
    emitted,
    i32,
    i64,
    integer,
    literals,
    parts,
    shared,
    where_inside,
)

f32, i8, i16 = ir.FloatType(), ir.IntType(8), ir.IntType(16)
CHUNK = 16  # bytes
BANK_ROW = 128  # bytes of all banks


def shared_address(context: Any, b: Builder, kind: Any, value: ir.Value) -> ir.Value:
    """Of a shared array, as instructions take it: 32 bits."""
    data = shared(context, b, kind, value)
    return b.ptrtoint(b.addrspacecast(data, ir.PointerType(data.type.pointee, 3)), i32)


def swizzle(b: ir.IRBuilder, row: ir.Value, pitch: int) -> ir.Value:
    """What the numbers of a row's chunks are xor-ed with; the same for rows eight apart."""
    rows = max(1, BANK_ROW // pitch)  # that share a row of the banks
    return b.and_(b.udiv(row, i32(rows)), i32(min(pitch // CHUNK, 8) - 1))


def place(b: ir.IRBuilder, row: ir.Value, column: ir.Value, pitch: int) -> ir.Value:
    """The byte of an element of a tile, of 2 bytes."""
    byte = b.shl(column, i32(1))
    chunk = b.xor(b.udiv(byte, i32(CHUNK)), swizzle(b, row, pitch))
    inside = b.and_(byte, i32(CHUNK - 1))
    return b.add(b.add(b.mul(row, i32(pitch)), b.mul(chunk, i32(CHUNK))), inside)


def copy_tile(
    tile: Any, stage: Any, across: Any, along: Any, x: Any, offsets: Any, left: Any,
    width: Any, step: Any, pitch: Any, reach: Any,
) -> Typed:  # fmt: skip
    """copy_tile(tile, stage, across, along, x, offsets, left, WIDTH, STEP, PITCH, REACH): WIDTH
    elements of x from each of the offsets on go to row across + i * STEP, column along, of the tile
    that begins at byte ``stage``; zeros for offset i unless i * REACH < left.

    Asynchronous, unless WIDTH is 1. With REACH = ALL everything is there.
    """
    wide, rows, pitch_, each = literals(width, step, pitch, reach)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        base = b.add(shared_address(context, b, tile, args[0]), integer(b, args[1]))
        row, column, rest = (integer(b, args[i]) for i in (2, 3, 6))
        first = place(b, row, column, pitch_)
        for i, offset in enumerate(parts(b, args[5], len(offsets))):
            source = element(b, args[4], offset)
            if rows % 8:
                at = place(b, b.add(row, i32(i * rows)), column, pitch_)
            else:
                at = b.add(first, i32(i * rows * pitch_))
            inside = None if each == ALL else b.icmp_signed("<", i32(i * each), rest)
            copy_elements(b, b.add(base, at), source, wide, inside)
        return context.get_dummy_value()

    kinds = (tile, stage, across, along, x, offsets, left, width, step, pitch, reach)
    return types.void(*kinds), lower


def copy_elements(
    b: ir.IRBuilder, to: ir.Value, source: ir.Value, count: int, inside: ir.Value | None
) -> None:
    """To shared memory, 2 bytes each; zeros unless they are ``inside``."""
    if count == 1:
        place = b.inttoptr(to, ir.PointerType(i16, 3))
        read = lambda: [b.load(source)]  # noqa: E731
        b.store((read() if inside is None else where_inside(b, inside, read))[0], place)
        return
    size = 2 * count
    kind = "cg" if size == CHUNK else "ca"
    text = f"cp.async.{kind}.shared.global [$0], [$1], {size}"
    place = b.ptrtoint(b.addrspacecast(source, ir.PointerType(source.type.pointee, 1)), i64)
    arguments, constraints = [to, place], "r,l"
    if inside is not None:
        arguments.append(b.select(inside, i32(size), i32(0)))
        text, constraints = f"{text}, $2", f"{constraints},r"
    instruct(b, f"{text};", f"{constraints},~{{memory}}", arguments, ir.VoidType())


def instruct(
    b: ir.IRBuilder, text: str, constraints: str, arguments: list[ir.Value], result: ir.Type
) -> ir.Value:
    """An instruction that stays where it is among those that touch memory."""
    kind = ir.FunctionType(result, [x.type for x in arguments])
    return b.asm(kind, text, constraints, arguments, side_effect=True)


def commit_copies() -> Typed:
    """commit_copies(): the thread's copies since the last time are a group."""

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        instruct(b, "cp.async.commit_group;", "~{memory}", [], ir.VoidType())
        return context.get_dummy_value()

    return types.void(), lower


def await_copies(groups: Any) -> Typed:
    """await_copies(GROUPS): until all but the thread's last groups have come."""
    (count,) = literals(groups)

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        instruct(b, f"cp.async.wait_group {count};", "~{memory}", [], ir.VoidType())
        return context.get_dummy_value()

    return types.void(groups), lower


# ---------------------------------------------------------------------- matrices


def matrix_places(
    lane: Any, first: Any, is_left: Any, lines: Any, by_k: Any, depth: Any, pitch: Any
) -> Typed:
    """matrix_places(lane, first, LEFT, LINES, BY_K, DEPTH, PITCH): the bytes from which on a lane
    reads rows of matrices, of the LINES from ``first`` on. Other matrices follow by constants.

    Four matrices of 8 x 8 make 16 lines by 16 steps. Stored by k, rows of memory are lines, and
    there is a place for each 16 steps; else they are steps, and there is one for each 16 lines.
    Lanes 8 to 15 give the rows of the second matrix, which is the next in lines for A, in k for B.
    """
    left, count, k_inner, steps, width = literals(is_left, lines, by_k, depth, pitch)
    number = (steps if k_inner else count) // 16

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        me, start = (integer(b, x) for x in args[:2])
        within = b.and_(me, i32(7))
        second = b.and_(b.lshr(me, i32(3)), i32(1))
        third = b.lshr(me, i32(4))
        line, k = (second, third) if left else (third, second)
        eights = lambda x: b.shl(x, i32(3))  # noqa: E731
        found = []
        for i in range(number):
            if k_inner:
                row = b.add(start, b.add(within, eights(line)))
                found.append(place(b, row, b.add(i32(16 * i), eights(k)), width))
            else:
                column = b.add(b.add(start, i32(16 * i)), eights(line))
                found.append(place(b, b.add(within, eights(k)), column, width))
        return context.make_tuple(b, result, found)

    kind = types.UniTuple(types.int32, number)
    return kind(lane, first, is_left, lines, by_k, depth, pitch), lower


def load_matrices(b: ir.IRBuilder, at: ir.Value, by: int, transposed: bool) -> list[ir.Value]:
    """Four matrices: a register of each, for every lane."""
    kind = ir.LiteralStructType([i32] * 4)
    turned = ".trans" if transposed else ""
    text = f"ldmatrix.sync.aligned.m8n8.x4{turned}.shared.b16 {{$0, $1, $2, $3}}, [$4+{by}];"
    found = instruct(b, text, "=r,=r,=r,=r,r,~{memory}", [at], kind)
    return [b.extract_value(found, i) for i in range(4)]


def multiply_matrix(
    b: ir.IRBuilder, kind: str, x: list[ir.Value], y: list[ir.Value], sums: list[ir.Value]
) -> list[ir.Value]:
    """mma.sync of 16 x 8 sums over 16 steps."""
    outs = ir.FunctionType(ir.LiteralStructType([f32] * 4), [i32] * 6 + [f32] * 4)
    text = (
        f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 {{$0, $1, $2, $3}}, "
        "{$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    found = b.asm(outs, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", [*x, *y, *sums], False)
    return [b.extract_value(found, i) for i in range(4)]


def multiply_matrices(
    acc: Any, tile: Any, stage: Any, a_parts: Any, b_parts: Any, m: Any, n: Any, depth: Any,
    a_by_k: Any, a_pitch: Any, b_by_k: Any, b_pitch: Any, below: Any, name: Any,
) -> Typed:  # fmt: skip
    """multiply_matrices(acc, tile, stage, a, b, M, N, DEPTH, A_BY_K, A_PITCH, B_BY_K, B_PITCH,
    BELOW, KIND): acc plus the product of what a warp sees of both tiles in one stage; B's begins
    BELOW bytes after A's. KIND is 'bf16' or 'f16'.

    A lane's sums are in the order of M / 8 rows and N / 4 columns: of every 8 x 8 two neighbours.
    The matrices of 16 steps are loaded before the products of the 16 before.
    """
    tall, broad, steps, a_k, a_width, b_k, b_width, start = literals(
        m, n, depth, a_by_k, a_pitch, b_by_k, b_pitch, below
    )
    kind, wide = name.literal_value, broad // 4

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        base = b.add(shared_address(context, b, tile, args[1]), integer(b, args[2]))
        sums = parts(b, args[0], tall // 8 * wide)
        bases = {
            name: [b.add(base, x) for x in parts(b, args[i], len(kinds))]
            for name, i, kinds in (("a", 3, a_parts), ("b", 4, b_parts))
        }

        def matrices(name: str, k: int) -> list[list[ir.Value]]:
            lines, by_k, width, more = (
                (tall, a_k, a_width, 0) if name == "a" else (broad, b_k, b_width, start)
            )
            found = []
            for i in range(lines // 16):
                at = bases[name][k if by_k else i]
                by = more + (16 * i if by_k else 16 * k) * width
                found.append(load_matrices(b, at, by, not by_k))
            return found

        following = matrices("a", 0), matrices("b", 0)
        for k in range(steps // 16):
            left, right = following
            if k + 1 < steps // 16:
                following = matrices("a", k + 1), matrices("b", k + 1)
            for i, x in enumerate(left):
                for j in range(broad // 8):
                    y = right[j // 2][2 * (j % 2) : 2 * (j % 2) + 2]
                    own = [(2 * i + h) * wide + 2 * j + e for h in (0, 1) for e in (0, 1)]
                    new = multiply_matrix(b, kind, x, y, [sums[o] for o in own])
                    for o, value in zip(own, new, strict=True):
                        sums[o] = value
        return context.make_tuple(b, result, sums)

    kinds = (acc, tile, stage, a_parts, b_parts, m, n, depth, a_by_k, a_pitch, b_by_k, b_pitch)
    return acc(*kinds, below, name), lower


SCOPE = {
    "copy_tile": define_literal("copy_tile", 11, 4, copy_tile),
    "commit_copies": define("commit_copies", 0, commit_copies),
    "await_copies": define_literal("await_copies", 1, 1, await_copies),
    "matrix_places": define_literal("matrix_places", 7, 5, matrix_places),
    "multiply_matrices": define_literal("multiply_matrices", 14, 9, multiply_matrices),
}
