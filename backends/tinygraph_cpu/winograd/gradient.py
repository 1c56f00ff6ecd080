"""Gradients of convolutions to their weights by Winograd's transforms, as machine code: `void
name(i64 part, i64 tid, i64* args)`, emitted whole.

See records.py for what a part does and for its argument block.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.winograd.toom_cook import transforms, transposed
from tinygraph_scalar.builder import TextBuilder

from ..gemm import tile
from ..gemm.arguments import ArgumentBlock, ceil_divide, define_kernel, lane_mask, minimum, share
from ..gemm.reduce import accumulate
from ..gemm.tile import Reduction, Shape, i1, i64, offset, pointer
from .products import of_block
from .records import (
    GRADIENT_FIELDS,
    GRADIENT_STRIDES,
    SCRATCH,
    TAP_STRIDES,
    WinogradGradient,
)
from .transforms import Pixels, Points, Transforms, element, finish_vector, moved

Values = list[ir.Value]


def emit_gradient(module: ir.Module, name: str, spec: WinogradGradient) -> ir.Function:
    """Adds the function `name` to `module`."""
    return define_kernel(module, name, _GradientEmitter, spec)


class _GradientEmitter:
    def __init__(self, b: ir.IRBuilder, spec: WinogradGradient, function: ir.Function) -> None:
        self.b, self.spec = b, spec
        self.part, self.tid, args = function.args
        arguments = ArgumentBlock(b, args)
        self.f = f = arguments.fields(GRADIENT_FIELDS + SCRATCH)
        image, gradient = (arguments.operand(axes) for axes in GRADIENT_STRIDES)
        self.image = Pixels(*image, f["image_height"], f["image_width"])
        self.gradient = Pixels(*gradient, f["height"], f["width"])
        self.epilogue = [arguments.operand(TAP_STRIDES) for _ in spec.operands]
        self.n = spec.m + spec.r - 1
        a_t, g, self.b_t = transforms(spec.m, spec.r)
        self.a, self.g_t = transposed(a_t), transposed(g)
        self.products = {
            v: emit_products(function, spec, v) for v in (spec.vectors, spec.vector_tail) if v
        }
        self.transforms = Transforms(b, self.n, spec.lanes)
        self.taps = b.alloca(ir.ArrayType(self.transforms.vector, spec.r))

    # -- the division of work ------------------------------------------------------------------

    def emit(self) -> None:
        b, f, spec = self.b, self.f, self.spec
        column_part, rest = self.divided(self.part, "column_parts")
        channel_part, rest = self.divided(rest, "channel_parts")
        self.piece, self.group = self.divided(rest, "pieces")
        self.blocks = ceil_divide(b, f["n"], spec.width)
        self.first_block, self.end_block = share(b, self.blocks, column_part, f["column_parts"])
        vectors = ceil_divide(b, f["k"], spec.lanes)
        first, end = share(b, vectors, channel_part, f["channel_parts"])
        self.channel = b.mul(first, i64(spec.lanes))
        self.channels = b.sub(minimum(b, b.mul(end, i64(spec.lanes)), f["k"]), self.channel)
        self.column = b.mul(self.first_block, i64(spec.width))
        last = minimum(b, b.mul(self.end_block, i64(spec.width)), f["n"])
        self.columns = b.sub(last, self.column)
        scratch = offset(b, b.inttoptr(f["scratch"], pointer), b.mul(self.tid, f["scratch_stride"]))
        self.v, self.q, self.sums = (
            offset(b, scratch, at)
            for at in (i64(0), self.bytes("q_offset"), self.bytes("m_offset"))
        )
        total = b.mul(b.mul(f["z"], f["tiles_y"]), f["tiles_x"])
        self.rounds(*share(b, total, self.piece, f["pieces"]))
        count = b.sub(self.end_block, self.first_block)
        tile.repeat(b, count, [self.first_block, self.sums], self.block_out)

    def divided(self, x: ir.Value, field: str) -> tuple[ir.Value, ir.Value]:
        """Remainder and quotient."""
        return self.b.urem(x, self.f[field]), self.b.udiv(x, self.f[field])

    def bytes(self, field: str) -> ir.Value:
        return self.b.mul(self.f[field], i64(4))

    def rounds(self, first: ir.Value, end: ir.Value) -> None:
        """The tiles of the part, as many at once as there is room for, in equal rounds."""
        b = self.b
        total = b.sub(end, first)
        rounds = ceil_divide(b, total, self.f["tiles"])

        def one(r: ir.Value) -> Values:
            low, high = share(b, total, r, rounds)
            count = b.sub(high, low)
            tile.repeat(b, count, [b.add(first, low), self.v, self.q], self.transform)
            self.multiply(count, b.icmp_signed("!=", r, i64(0)))
            return [b.add(r, i64(1))]

        tile.repeat(b, rounds, [i64(0)], one)

    # -- into the transformed domain -----------------------------------------------------------

    def transform(self, number: ir.Value, v: ir.Value, q: ir.Value) -> Values:
        """V and Q of one tile."""
        b, f, m = self.b, self.f, i64(self.spec.m)
        tx, rest = self.divided(number, "tiles_x")
        ty, z = self.divided(rest, "tiles_y")
        y, x = b.mul(ty, m), b.mul(tx, m)
        top, left = b.sub(y, f["top"]), b.sub(x, f["left"])
        for matrix, pixels, at, (axis, first, count), there, step in (
            (self.b_t, self.image, (top, left), ("k", self.channel, self.channels), v, "v_point"),
            (self.a, self.gradient, (y, x), ("n", self.column, self.columns), q, "q_point"),
        ):
            s = pixels.strides
            place = [(self.group, s["g"]), (z, s["z"]), (at[0], s["y"]), (at[1], s["x"])]
            corner = element(b, pixels.base, [*place, (first, s[axis])])
            points = Points(there, self.bytes(step))
            self.transforms.to_points(matrix, pixels, corner, at, count, points, self.spec.m)
        return [
            b.add(number, i64(1)),
            offset(b, v, self.bytes("v_row")),
            offset(b, q, self.bytes("q_row")),
        ]

    # -- products, and back ----------------------------------------------------------------------

    def multiply(self, tiles: ir.Value, later: ir.Value) -> None:
        """M += V^T Q at every point, for each column block; M = V^T Q the first time."""
        b, spec = self.b, self.spec
        rows = ceil_divide(b, self.channels, spec.rows)
        sizes = [rows, tiles, self.bytes("v_row"), self.bytes("q_row"), later]
        count = b.sub(self.end_block, self.first_block)

        def point(v: ir.Value, q: ir.Value, sums: ir.Value) -> Values:
            def block(j: ir.Value, q: ir.Value, there: ir.Value) -> Values:
                function, _ = of_block(b, self.products, spec, j, self.blocks)
                b.call(function, [v, q, there, *sizes])
                return [
                    b.add(j, i64(1)),
                    offset(b, q, i64(4 * spec.width)),
                    offset(b, there, self.bytes("m_block")),
                ]

            tile.repeat(b, count, [self.first_block, q, sums], block)
            steps = zip((v, q, sums), ("v_point", "q_point", "m_point"), strict=True)
            return [offset(b, there, self.bytes(step)) for there, step in steps]

        tile.repeat(b, i64(spec.points), [self.v, self.q, self.sums], point)

    def block_out(self, j: ir.Value, there: ir.Value) -> Values:
        """The taps of a column block: channel after channel, vector after vector."""
        b, spec = self.b, self.spec
        _, vectors = of_block(b, self.products, spec, j, self.blocks)
        first = b.mul(j, i64(spec.width))

        def channel(k: ir.Value, there: ir.Value) -> Values:
            rest, k2 = b.udiv(k, self.f["k2"]), b.urem(k, self.f["k2"])
            at = {
                **{"s": self.piece, "g": self.group, "n": first},
                **{"k0": b.udiv(rest, self.f["k1"]), "k1": b.urem(rest, self.f["k1"]), "k2": k2},
            }
            starts = [
                element(b, base, [(i, s[axis]) for axis, i in at.items()], DTYPES[o.dtype].bytes)
                for (base, s), o in zip(self.epilogue, spec.operands, strict=True)
            ]
            tile.repeat(b, vectors, [first, there, *starts], self.vector_out)
            return [b.add(k, i64(1)), offset(b, there, i64(4 * spec.width))]

        tile.repeat(b, self.channels, [self.channel, there], channel)
        return [b.add(j, i64(1)), offset(b, there, self.bytes("m_block"))]

    def vector_out(self, column: ir.Value, there: ir.Value, *starts: ir.Value) -> Values:
        """G^T M G and its epilogue, for one vector of columns."""
        b, f, spec = self.b, self.f, self.spec
        step = self.bytes("m_point")
        across = b.mul(step, i64(self.n))

        def point(i: int, j: ir.Value) -> ir.Value:
            place = b.add(b.mul(across, i64(i)), b.mul(step, j))
            return self.transforms.load(offset(b, there, place))

        self.transforms.first_pass(self.g_t, point)
        mask = lane_mask(b, b.sub(f["n"], column), spec.lanes) if spec.masked else None

        def tap(j: ir.Value, *at: ir.Value) -> Values:
            acc = b.load(self.transforms.slot(self.taps, j))
            finish_vector(b, spec, acc, at, mask)
            return [b.add(j, i64(1)), *self.moved(at, "x")]

        def row(i: ir.Value, *at: ir.Value) -> Values:
            for j, x in enumerate(self.transforms.second_pass(self.g_t, i)):
                b.store(x, self.transforms.slot(self.taps, i64(j)))
            tile.repeat(b, i64(spec.r), [i64(0), *at], tap)
            return [b.add(i, i64(1)), *self.moved(at, "y")]

        tile.repeat(b, i64(spec.r), [i64(0), *starts], row)
        on = [
            offset(b, at, i64(spec.lanes * DTYPES[o.dtype].bytes * o.unit))
            for at, o in zip(starts, spec.operands, strict=True)
        ]
        return [b.add(column, i64(spec.lanes)), offset(b, there, i64(4 * spec.lanes)), *on]

    def moved(self, places: Sequence[ir.Value], axis: str) -> Values:
        return moved(self.b, self.spec, places, [s for _, s in self.epilogue], axis)


def emit_products(caller: ir.Function, spec: WinogradGradient, vectors: int) -> ir.Function:
    """products(v, q, m, channels / rows, tiles, strides of v and q by tile in bytes, add), for one
    point and a block of ``vectors``: M = V^T Q, or added to M.

    A function of its own: LLVM would hoist the transforms' constants out of the caller's loops into
    registers that the accumulators need.
    """
    kind = ir.FunctionType(ir.VoidType(), [*[pointer] * 3, *[i64] * 4, i1])
    function = ir.Function(caller.module, kind, f"{caller.name}_products{vectors}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = TextBuilder(function.append_basic_block("entry"))
    v, q, m, count, tiles, v_row, q_row, add = function.args
    shape = Shape(spec.rows, vectors, spec.lanes)
    one, zero = i64(1), i64(0)
    reduction = Reduction(
        [one, one, tiles],
        [zero, zero, v_row],
        [zero, zero, q_row],
        [i64(4 * row) for row in range(9)],
    )
    places = [
        4 * (i // vectors * spec.width + i % vectors * spec.lanes)
        for i in range(spec.rows * vectors)
    ]

    def rows(v: ir.Value, m: ir.Value) -> Values:
        there = [offset(b, m, i64(place)) for place in places]
        for at in there:
            tile.claim(b, at)
        sums = accumulate(b, shape, v, q, reduction, tile.zeros(shape))
        with b.if_else(add) as (later, first):
            with later:
                for x, at in zip(sums, there, strict=True):
                    b.store(b.fadd(b.load(at, typ=x.type, align=4), x), at, align=4)
            with first:
                for x, at in zip(sums, there, strict=True):
                    b.store(x, at, align=4)
        return [offset(b, v, i64(4 * spec.rows)), offset(b, m, i64(4 * spec.rows * spec.width))]

    tile.repeat(b, count, [v, m], rows)
    b.ret_void()
    return function
