"""The register tile in matrix registers (AMX), of bytes or of bfloat16.

Such a register has 16 rows of 64 bytes. One instruction adds to 16 x 16 sums of 32 bits the
products of 16 words of each row of A with 16 words of each column of B, four or two products to a
word. A is read as it is stored, row by row, B as it is packed for vectors: a row of one register
holds a word of each of 16 columns.

A tile has up to four registers of sums, which is one to four blocks of rows times vectors of
columns. All blocks have equally many rows; the last one begins so far up that it ends with the
tile, and computes a few rows again. Sums go to the epilogue through the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tinygraph.plan.records.contraction import SQUARE, Contraction
from tinygraph_scalar.arithmetic import declare

from ..costs.matrix import LINES, SUMS, blocks_of, tail_blocks
from .tile import Reduction, Shape, Walk, i8, i32, i64, offset, pointer, prefetch, repeat

# the first registers are those of sums, the last two for what remains of k, if anything does
A, B, A_TAIL, B_TAIL = 4, 5, 6, 7
ROW = 4 * SQUARE  # bytes
PRODUCTS = {
    ("uint8", "int8"): "tdpbusd",
    ("int8", "uint8"): "tdpbsud",
    ("int8", "int8"): "tdpbssd",
    ("bfloat16", "bfloat16"): "tdpbf16ps",
}


@dataclass(slots=True)
class MatrixRegisters:
    """The registers of one kernel: how they are configured, and where sums wait for the epilogue.

    Attributes:
        spec: of the kernel.
        k: words of a row of A.
        place: memory for the sums of the largest tile.
        config: 64 bytes, as ``ldtilecfg`` reads them.
        rows: how many the registers are configured for; 0: not at all.
    """

    b: ir.IRBuilder
    spec: Contraction
    k: ir.Value
    place: ir.Value
    config: ir.Value
    rows: ir.Value

    @staticmethod
    def begin(b: ir.IRBuilder, spec: Contraction, k: ir.Value) -> MatrixRegisters:
        """Emitted in a function's first block."""
        vector = Shape(1, 1, spec.lanes, factors=spec.factors).vector
        place = b.alloca(ir.ArrayType(vector, SUMS * SQUARE))
        config, rows = b.alloca(ir.ArrayType(i8, ROW)), b.alloca(i32)
        config.align = ROW
        b.store(ir.Constant(ir.ArrayType(i8, ROW), None), config)
        b.store(i32(0), rows)
        return MatrixRegisters(b, spec, k, place, config, rows)

    def call(self, name: str, kinds: list[ir.Type], *arguments: ir.Value) -> None:
        self.b.call(declare(self.b.module, f"llvm.x86.{name}", ir.VoidType(), kinds), arguments)

    def configure(self, rows: int) -> None:
        """Registers whose blocks have so many rows, if they are not."""
        b = self.b
        with b.if_then(b.icmp_unsigned("!=", b.load(self.rows, typ=i32), i32(rows)), likely=False):
            rest = b.trunc(b.and_(self.k, i64(SQUARE - 1)), i8)
            tail = b.select(b.icmp_unsigned("!=", rest, i8(0)), rest, i8(SQUARE))
            self._set(0, i8(1))  # the palette
            for number in range(8):
                high = i8(SQUARE if number in (B, B_TAIL) else rows)
                self._set(16 + 2 * number, b.mul(tail, i8(4)) if number == A_TAIL else i8(ROW))
                self._set(48 + number, tail if number == B_TAIL else high)
            self.call("ldtilecfg", [pointer], self.config)
            b.store(i32(rows), self.rows)

    def _set(self, at: int, value: ir.Value) -> None:
        self.b.store(value, self.b.gep(self.config, [i64(0), i64(at)]))

    def end(self) -> None:
        """Gives the registers back, so that they need not be saved when threads change."""
        b = self.b
        with b.if_then(b.icmp_unsigned("!=", b.load(self.rows, typ=i32), i32(0))):
            self.call("tilerelease", [])

    def load(self, register: int, at: ir.Value, stride: ir.Value) -> None:
        self.call("tileloadd64", [i8, pointer, i64], i8(register), at, stride)

    # -- a tile --------------------------------------------------------------------------------

    def accumulate(
        self,
        shape: Shape,
        a: ir.Value,
        columns: ir.Value,
        a_row: ir.Value,
        reduction: Reduction,
        walk: Walk,
    ) -> None:
        """Leaves in ``place`` the sums over r, s and k of A[row] * B[columns], row after row."""
        b, spec = self.b, self.spec
        height = shape.rows + spec.height - spec.rows
        count, rows = tail_blocks(height, blocks_of(spec.height)[1])
        firsts = [min(i * rows, height - rows) for i in range(count)]
        self.configure(rows)
        for number in range(count * shape.vectors):
            self.call("tilezero", [i8], i8(number))
        starts = [b.mul(a_row, i64(first)) for first in firsts]
        step = MatrixStep(self, shape, starts, a_row, reduction)
        step.emit(a, columns, walk)
        for number in range(count * shape.vectors):
            block, v = number % count, number // count
            at = (firsts[block] * shape.vectors + v) * ROW
            there = offset(b, self.place, i64(at))
            kinds, stride = [i8, pointer, i64], i64(shape.vectors * ROW)
            self.call("tilestored64", kinds, i8(number), there, stride)


@dataclass(frozen=True, slots=True)
class MatrixStep:
    """Steps of a tile's reduction; ``blocks`` are the distances of its blocks in A."""

    registers: MatrixRegisters
    shape: Shape
    blocks: Sequence[ir.Value]
    a_row: ir.Value
    reduction: Reduction

    def emit(self, a: ir.Value, columns: ir.Value, walk: Walk) -> None:
        """The loops. Where nothing remains of k, a square of blocks has the last registers, too."""
        b = self.registers.b
        tail = b.and_(self.registers.k, i64(SQUARE - 1))
        if len(self.blocks) != 2 or self.shape.vectors != 2:
            self.loops(a, columns, walk, self.products, tail)
            return
        with b.if_else(b.icmp_unsigned("==", tail, i64(0))) as (whole, other):
            with whole:
                self.loops(a, columns, walk, self.square)
            with other:
                self.loops(a, columns, walk, self.products, tail)

    def loops(
        self,
        a: ir.Value,
        columns: ir.Value,
        walk: Walk,
        products: Callable[[ir.Value, ir.Value, int, int], None],
        tail: ir.Value | None = None,
    ) -> None:
        b, reduction = self.registers.b, self.reduction
        steps = b.lshr(self.registers.k, i64(4))
        a_strides, b_strides = reduction.a_strides, reduction.b_strides
        a_step, b_step = (b.mul(x[2], i64(SQUARE)) for x in (a_strides, b_strides))

        def whole(a: ir.Value, columns: ir.Value, ahead: ir.Value) -> list[ir.Value]:
            for line in range(LINES):
                prefetch(b, offset(b, ahead, i64(64 * line)))
            products(a, columns, A, B)
            return [offset(b, a, a_step), offset(b, columns, b_step), offset(b, ahead, walk.step)]

        def inner(a: ir.Value, columns: ir.Value, ahead: ir.Value) -> list[ir.Value]:
            start, state = b.block, [a, columns, ahead]
            with b.if_then(b.icmp_unsigned("!=", steps, i64(0))):
                after, end = repeat(b, steps, state, whole), b.block
            phis = [b.phi(pointer) for _ in state]
            for phi, before, moved in zip(phis, state, after, strict=True):
                phi.add_incoming(before, start)
                phi.add_incoming(moved, end)
            if tail is not None:
                with b.if_then(b.icmp_unsigned("!=", tail, i64(0))):
                    products(phis[0], phis[1], A_TAIL, B_TAIL)
            return [offset(b, a, a_strides[1]), offset(b, columns, b_strides[1]), phis[2]]

        def outer(a: ir.Value, columns: ir.Value, ahead: ir.Value) -> list[ir.Value]:
            ahead = repeat(b, reduction.counts[1], [a, columns, ahead], inner)[2]
            return [offset(b, a, a_strides[0]), offset(b, columns, b_strides[0]), ahead]

        repeat(b, reduction.counts[0], [a, columns, walk.start], outer)

    def square(self, a: ir.Value, columns: ir.Value, *_: int) -> None:
        """One step of k with 2 x 2 blocks, each operand in a register of its own, loaded once."""
        b, row, load = self.registers.b, self.reduction.b_strides[2], self.registers.load
        load(B_TAIL, columns, row)
        load(A, offset(b, a, self.blocks[0]), self.a_row)
        self.multiply(0, A, B_TAIL)
        load(A_TAIL, offset(b, a, self.blocks[1]), self.a_row)
        self.multiply(1, A_TAIL, B_TAIL)
        load(B, offset(b, columns, i64(ROW)), row)
        self.multiply(3, A_TAIL, B)
        self.multiply(2, A, B)

    def multiply(self, sums: int, a: int, columns: int) -> None:
        numbers = [i8(number) for number in (sums, a, columns)]
        self.registers.call(PRODUCTS[self.shape.factors], [i8] * 3, *numbers)

    def products(self, a: ir.Value, columns: ir.Value, in_a: int, in_b: int) -> None:
        """One step of k. Blocks of A go down and up again, so that one is loaded once less."""
        registers, shape, count = self.registers, self.shape, len(self.blocks)
        b, row, loaded = registers.b, self.reduction.b_strides[2], -1
        for v in range(shape.vectors):
            registers.load(in_b, offset(b, columns, i64(ROW * v)), row)
            for block in range(count)[:: -1 if v % 2 else 1]:
                if block != loaded:
                    registers.load(in_a, offset(b, a, self.blocks[block]), self.a_row)
                    loaded = block
                self.multiply(v * count + block, in_a, in_b)
