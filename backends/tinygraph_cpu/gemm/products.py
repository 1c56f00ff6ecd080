"""Products of one step of the reduction: a row of B with a word of each row of A.

A word has a float32, two bfloat16, or four bytes: four products, added up in int32. What the
processor has for those (``Features.dot``) differs, the sums do not: they are exact, whatever their
order.

    vpdpbusd   one instruction, a quarter of the products' number; sums wrap around
    pmaddwd    products of 16 bits in pairs: of the even bytes of both operands, then of the odd
    ""         32-bit multiplications, one byte after the other

Products of bfloat16 are exact in float32, which adds them up: the odd element's first, then the
even one's, each sum rounded to the nearest. So does

    vdpbf16ps  one instruction, which takes denormals for 0 and gives none
    ""         two multiply-adds of the halves as float32: the same bits but for denormals

AVX2's vpmaddubsw would be twice as fast as pmaddwd, but saturates: it is not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.arithmetic import declare

from .tile import Shape, i16

Halves = Sequence[ir.Value]
WHOLE = ("vpdpbusd", "vdpbf16ps")  # instructions that take whole words


class BFloat(ir.types.Type):
    """LLVM's bfloat, for which llvmlite has no type."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash("bfloat")


@dataclass(frozen=True, slots=True)
class StepProducts:
    """The products of a step; what depends on B's row alone is made once for all rows of A.

    Attributes:
        columns: the vectors of a row of B.
        parts: these, taken apart, where the processor multiplies parts of words.
    """

    b: ir.IRBuilder
    shape: Shape
    columns: Sequence[ir.Value]
    parts: list[Halves] = field(default_factory=list)

    @staticmethod
    def begin(b: ir.IRBuilder, shape: Shape, columns: Sequence[ir.Value]) -> StepProducts:
        made = StepProducts(b, shape, columns)
        if shape.factors[1] != "float32" and shape.dot not in WHOLE:
            made.parts.extend(made.apart(y, shape.factors[1]) for y in columns)
        return made

    def add(self, row: Sequence[ir.Value], sums: Sequence[ir.Value]) -> list[ir.Value]:
        """The sums of a row of A, whose words are in ``row``, a vector for each of the columns'."""
        if self.shape.factors[1] == "float32":
            return self.fused(row, sums)
        if self.shape.dot in WHOLE:
            return self.dots(row, sums)
        x = self.apart(row[0], self.shape.factors[0])
        return [self.by_parts(x, y, s) for y, s in zip(self.parts, sums, strict=True)]

    def fused(self, row: Sequence[ir.Value], sums: Sequence[ir.Value]) -> list[ir.Value]:
        each = zip(row, self.columns, sums, strict=True)
        return [self.multiply_add(x, y, s) for x, y, s in each]

    def multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        kind = self.shape.vector
        fma = declare(self.b.module, f"llvm.fmuladd.v{self.shape.lanes}f32", kind, [kind] * 3)
        return self.b.call(fma, [x, y, total])

    def dots(self, row: Sequence[ir.Value], sums: Sequence[ir.Value]) -> list[ir.Value]:
        """The instruction takes unsigned bytes, then signed ones; or pairs of bfloat16."""
        b, kind, bits = self.b, self.shape.vector, 32 * self.shape.lanes
        if self.shape.dot == "vdpbf16ps":
            pairs = ir.VectorType(BFloat(), 2 * self.shape.lanes)
            name = f"llvm.x86.avx512bf16.dpbf16ps.{bits}"
            dot = declare(b.module, name, kind, [kind, pairs, pairs])
            both = ((b.bitcast(x, pairs), y) for x, y in zip(row, self.columns, strict=True))
            return [
                b.call(dot, [s, x, b.bitcast(y, pairs)])
                for (x, y), s in zip(both, sums, strict=True)
            ]
        name = f"llvm.x86.avx512.vpdpbusd.{bits}"
        dot = declare(self.b.module, name, kind, [kind] * 3)
        turned = self.shape.factors[0] == "int8"
        each = zip(row, self.columns, sums, strict=True)
        return [self.b.call(dot, [s, y, x] if turned else [s, x, y]) for x, y, s in each]

    def apart(self, word: ir.Value, dtype: str) -> Halves:
        """The bytes of words: even and odd ones as 16 bits, or each of them as 32 bits; the odd
        bfloat16, then the even one, as float32.
        """
        b, lanes, signed = self.b, self.shape.lanes, DTYPES[dtype].kind == "int"
        if DTYPES[dtype].is_float:
            odd = b.and_(word, ir.Constant(word.type, [0xFFFF0000] * lanes))
            even = b.shl(word, ir.Constant(word.type, [16] * lanes))
            return [b.bitcast(x, self.shape.vector) for x in (odd, even)]
        if self.shape.dot == "pmaddwd":
            halves = b.bitcast(word, ir.VectorType(i16, 2 * lanes))
            eight = ir.Constant(halves.type, [8] * (2 * lanes))
            down = b.ashr if signed else b.lshr
            return [down(b.shl(halves, eight), eight), down(halves, eight)]
        down, top = b.ashr if signed else b.lshr, ir.Constant(word.type, [24] * lanes)
        moved = (b.shl(word, ir.Constant(word.type, [up] * lanes)) for up in (24, 16, 8, 0))
        return [down(x, top) for x in moved]

    def by_parts(self, x: Halves, y: Halves, total: ir.Value) -> ir.Value:
        b = self.b
        for one, other in zip(x, y, strict=True):
            if self.shape.factors[0] == "bfloat16":
                total = self.multiply_add(one, other, total)
            elif self.shape.dot == "pmaddwd":
                name = PAIRS[self.shape.lanes]
                pairs = declare(b.module, name, total.type, [one.type, other.type])
                total = b.add(total, b.call(pairs, [one, other]))
            else:
                total = b.add(total, b.mul(one, other))
        return total


PAIRS = {  # pmaddwd, by the number of sums
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}
