"""The products of a Winograd convolution: one matrix product at every point."""

from __future__ import annotations

from collections.abc import Mapping

from llvmlite import ir

from tinygraph_scalar.builder import TextBuilder

from ..gemm import tile
from ..gemm.arguments import ceil_divide, minimum
from ..gemm.reduce import accumulate
from ..gemm.tile import PartPrefetch, Reduction, Shape, Walk, i64, offset, pointer
from .records import Products, WinogradTile

Values = list[ir.Value]

# At most this many input channels are summed up by themselves. The rounding error of one long sum
# grows with its length: for F(4x4, 3x3) and 192 channels, 3.2, 4.1, 5.0 and 6.5 times PyTorch's by
# chunks of 32, 64, 128 and all; for F(4x4, 5x5) and 32 channels, 6.7 and 8.0 times by 16 and 32.
CHUNK, SHORT_CHUNK = 96, 16
NEXT = 2  # lines of the next point's weights that are fetched at a step


def emit_products(caller: ir.Function, spec: WinogradTile, vectors: int) -> ir.Function:
    """products(v, u, m, tiles / rows, k, strides of v by row and by point, of m by point, in
    bytes; place and step of what is fetched ahead), `vectors` wide.

    M[point][tile] = V[point][tile] U[point]. Meanwhile row tiles share out the fetching of the next
    point's weights: where there are few tiles, they come from memory, which idled while all but the
    first tile met the weights again. A function of its own: LLVM would hoist the
    transforms' constants out of the caller's loops into registers that the accumulators need.
    """
    kind = ir.FunctionType(ir.VoidType(), [*[pointer] * 3, *[i64] * 5, pointer, i64])
    function = ir.Function(caller.module, kind, f"{caller.name}_products{vectors}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = TextBuilder(function.append_basic_block("entry"))
    v, u, m, tiles, k, v_row, v_point, m_point, place, step = function.args
    ahead = PartPrefetch(place, step)
    shape = Shape(spec.rows, vectors, spec.lanes)
    one, zero, row_of_b = i64(1), i64(0), i64(4 * spec.width)
    strides = [zero, zero, i64(4)], [zero, zero, row_of_b]
    a_rows = tile.row_offsets(b, v_row)
    chunks = ceil_divide(b, k, CHUNK if spec.r <= 3 else SHORT_CHUNK)
    chunk_size = b.udiv(b.add(k, b.sub(chunks, one)), chunks)
    a_step, b_step = b.mul(chunk_size, i64(4)), b.mul(chunk_size, row_of_b)
    panel = b.mul(k, row_of_b)  # bytes of a point's weights, of which a walk fetches a share
    share = b.udiv(panel, b.mul(tiles, i64(NEXT)))
    pace = ceil_divide(b, share, k)
    places = [
        4 * (i // vectors * spec.width + i % vectors * spec.lanes)
        for i in range(spec.rows * vectors)
    ]

    def point(v: ir.Value, u: ir.Value, m: ir.Value) -> Values:
        def rows(v: ir.Value, m: ir.Value, *following: ir.Value) -> Values:
            there = [offset(b, m, i64(place)) for place in places]

            def chunk(left: ir.Value, v: ir.Value, u: ir.Value, *following: ir.Value) -> Values:
                count = minimum(b, left, chunk_size)
                reduction = Reduction([one, one, count], *strides, a_rows)
                walks = [ahead.walk(b), *(Walk(at, pace, locality=2) for at in following)]
                sums = accumulate(b, shape, v, u, reduction, tile.zeros(shape), walks)
                ahead.advance(b, reduction)
                with b.if_else(b.icmp_signed("==", left, k)) as (first, later):
                    with first:
                        for x, place in zip(sums, there, strict=True):
                            b.store(x, place, align=4)
                    with later:
                        for x, place in zip(sums, there, strict=True):
                            b.store(b.fadd(b.load(place, typ=x.type, align=4), x), place, align=4)
                on = [offset(b, at, b.mul(pace, count)) for at in following]
                return [b.sub(left, chunk_size), offset(b, v, a_step), offset(b, u, b_step), *on]

            tile.repeat(b, chunks, [k, v, u, *following], chunk)
            return [
                offset(b, v, b.mul(v_row, i64(spec.rows))),
                offset(b, m, i64(4 * spec.rows * spec.width)),
                *(offset(b, at, b.mul(share, i64(NEXT))) for at in following),
            ]

        after = offset(b, u, panel)
        following = [offset(b, after, b.mul(share, i64(i))) for i in range(NEXT)]
        tile.repeat(b, tiles, [v, m, *following], rows)
        return [offset(b, v, v_point), after, offset(b, m, m_point)]

    tile.repeat(b, i64(spec.points), [v, u, m], point)
    b.ret_void()
    return function


def of_block(
    b: ir.IRBuilder,
    products: Mapping[int, ir.Function],
    spec: Products,
    j: ir.Value,
    blocks: ir.Value,
) -> tuple[ir.Value, ir.Value]:
    """The products of column block j of ``blocks``, and its vectors."""
    function, vectors = products[spec.vectors], i64(spec.vectors)
    if spec.vector_tail:
        last = b.icmp_signed("==", j, b.sub(blocks, i64(1)))
        function = b.select(last, products[spec.vector_tail], function)
        vectors = b.select(last, i64(spec.vector_tail), vectors)
    return function, vectors
