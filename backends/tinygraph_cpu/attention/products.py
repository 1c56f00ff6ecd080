"""The products of attention: C (+)= A B, where A is read in place and B has contiguous rows."""

from __future__ import annotations

from llvmlite import ir

from tinygraph_scalar.builder import TextBuilder

from ..gemm import tile
from ..gemm.arguments import minimum
from ..gemm.reduce import accumulate
from ..gemm.tile import Reduction, Shape, i1, i64, offset, pointer
from .blocks import at, counted
from .records import Attention


class ProductFunctions:
    """product(a, b, c, m, k, bytes: of a by row and by step, of b by step, of c by row; fresh) for
    1, 2, ... ``vectors`` vectors of columns: C[m][columns] = A[m][k] B[k][columns], added to what C
    has unless it is fresh.

    Functions of their own, so that LLVM keeps registers for the accumulators.
    """

    def __init__(self, b: ir.IRBuilder, caller: ir.Function, spec: Attention) -> None:
        self.b, self.lanes, self.widest = b, spec.lanes, spec.vectors
        self.functions = [
            emit_product(caller, spec.lanes, v, min(14, spec.rows * spec.vectors // v))
            for v in range(1, spec.vectors + 1)
        ]

    def narrow(self, vectors: ir.Value, *args: ir.Value) -> None:
        """The product with at most the widest block of columns."""
        b, function = self.b, self.functions[0]
        for v, other in enumerate(self.functions[1:], 2):
            function = b.select(b.icmp_signed("==", vectors, i64(v)), other, function)
        b.call(function, args)

    def wide(self, vectors: ir.Value, *args: ir.Value) -> None:
        """The product with any number of vectors of columns, block after block."""
        b, (a, columns, c, *rest) = self.b, args
        size = i64(self.widest)
        with counted(b, b.udiv(b.add(vectors, b.sub(size, i64(1))), size)) as j:
            first = b.mul(j, size)
            left = minimum(b, b.sub(vectors, first), size)
            step = 4 * self.lanes
            self.narrow(left, a, at(b, columns, (first, step)), at(b, c, (first, step)), *rest)


def emit_product(caller: ir.Function, lanes: int, vectors: int, rows: int) -> ir.Function:
    """The product with this many vectors of columns, in tiles of ``rows`` rows."""
    kind = ir.FunctionType(ir.VoidType(), [*[pointer] * 3, *[i64] * 6, i1])
    function = ir.Function(caller.module, kind, f"{caller.name}_product{vectors}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = TextBuilder(function.append_basic_block("entry"))
    a, columns, c, m, k, a_m, a_k, b_k, c_m, fresh = function.args
    a_rows, one, zero = tile.row_offsets(b, a_m), i64(1), i64(0)
    reduction = Reduction([one, one, k], [zero, zero, a_k], [zero, zero, b_k], a_rows)
    done: ir.Value = zero
    for size in sorted({rows, min(rows, 4), 1}, reverse=True):
        shape = Shape(size, vectors, lanes)
        count = b.udiv(b.sub(m, done), i64(size))
        with counted(b, count) as i:
            row = b.add(done, b.mul(i, i64(size)))
            there = [
                offset(b, at(b, c, (b.add(row, i64(r)), c_m)), i64(4 * lanes * v))
                for r in range(size)
                for v in range(vectors)
            ]
            none = ir.Constant(shape.vector, None)
            old = [b.select(fresh, none, b.load(x, typ=shape.vector, align=4)) for x in there]
            start = at(b, a, (row, a_m))
            for x, place in zip(
                accumulate(b, shape, start, columns, reduction, old), there, strict=True
            ):
                b.store(x, place, align=4)
        done = b.add(done, b.mul(count, i64(size)))
    b.ret_void()
    return function
