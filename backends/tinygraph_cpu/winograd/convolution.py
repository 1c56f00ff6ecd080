"""Winograd convolutions as machine code: `void name(i64 part, i64 tid, i64* args)`, emitted whole.

See records.py for what a part does and for its argument block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.contraction import AHEAD
from tinygraph.plan.winograd.toom_cook import transforms
from tinygraph_scalar.scalar import calls_function

from ..gemm import tile
from ..gemm.arguments import ArgumentBlock, ceil_divide, define_kernel, lane_mask, minimum, share
from ..gemm.tile import PartPrefetch, i64, offset, pointer
from .products import emit_products, of_block
from .records import (
    EPILOGUE_STRIDES,
    SCRATCH,
    TILE_FIELDS,
    TILE_STRIDES,
    WinogradTile,
)
from .transforms import Pixels, Points, Transforms, element, finish_vector, moved

Values = list[ir.Value]


def emit_winograd(module: ir.Module, name: str, spec: WinogradTile) -> ir.Function:
    """Adds the function `name` to `module`."""
    return define_kernel(module, name, _ConvolutionEmitter, spec)


class _ConvolutionEmitter:
    def __init__(self, b: ir.IRBuilder, spec: WinogradTile, function: ir.Function) -> None:
        self.b, self.spec = b, spec
        self.part, self.tid, args = function.args
        arguments = ArgumentBlock(b, args)
        self.f = arguments.fields(TILE_FIELDS + SCRATCH + AHEAD)
        image = arguments.operand(TILE_STRIDES[0])
        self.image = Pixels(*image, self.f["image_height"], self.f["image_width"])
        self.u, self.u_s = arguments.operand(TILE_STRIDES[1])
        self.epilogue = [arguments.operand(EPILOGUE_STRIDES) for _ in spec.operands]
        self.n = spec.m + spec.r - 1
        self.a_t, _, self.b_t = transforms(spec.m, spec.r)
        self.products = {
            v: emit_products(function, spec, v) for v in (spec.vectors, spec.vector_tail) if v
        }
        self.transforms = Transforms(b, self.n, spec.lanes)
        self.pixels = b.alloca(ir.ArrayType(self.transforms.vector, spec.m))

    # -- the division of work ------------------------------------------------------------------

    def emit(self) -> None:
        b, f, spec = self.b, self.f, self.spec
        column_part, rest = (
            b.urem(self.part, f["column_parts"]),
            b.udiv(self.part, f["column_parts"]),
        )
        row_part, self.group = b.urem(rest, f["row_parts"]), b.udiv(rest, f["row_parts"])
        first, end = share(b, b.mul(f["z"], f["tiles_y"]), row_part, f["row_parts"])
        self.blocks = ceil_divide(b, f["n"], spec.width)
        first_block, end_block = share(b, self.blocks, column_part, f["column_parts"])
        self.lines = b.sub(end, first)
        self.start = [b.udiv(first, f["tiles_y"]), b.urem(first, f["tiles_y"])]
        scratch = offset(b, b.inttoptr(f["scratch"], pointer), b.mul(self.tid, f["scratch_stride"]))
        self.v, self.m = scratch, element(b, scratch, [(f["m_offset"], i64(1))])
        self.v_row, self.v_point, self.m_point = (
            b.mul(f[x], i64(4)) for x in ("v_row", "v_point", "m_point")
        )
        blocks = b.sub(end_block, first_block)
        self.tiles = ceil_divide(b, b.mul(self.lines, f["tiles_x"]), spec.rows)
        steps = b.mul(b.mul(self.tiles, blocks), b.mul(f["k"], i64(spec.points)))
        self.ahead = PartPrefetch.begin(b, f, self.part, steps)
        some = b.and_(b.icmp_signed(">", self.lines, i64(0)), b.icmp_signed(">", blocks, i64(0)))
        with b.if_then(some):
            self.each_tile(self.v, self.v_row, self.transform_in)
            tile.repeat(b, blocks, [first_block], self.column_block)

    def each_tile(
        self, start: ir.Value, step: ir.Value, body: Callable[[Values, ir.Value], None]
    ) -> None:
        """body([image, tile row, tile column], there) for every tile of the part; `there` moves
        by `step`.
        """
        b, f = self.b, self.f

        def line(z: ir.Value, y: ir.Value, there: ir.Value) -> Values:
            def one(x: ir.Value, there: ir.Value) -> Values:
                body([z, y, x], there)
                return [b.add(x, i64(1)), offset(b, there, step)]

            after = tile.repeat(b, f["tiles_x"], [i64(0), there], one)[1]
            more = b.add(y, i64(1))
            full = b.icmp_signed("==", more, f["tiles_y"])
            return [b.add(z, b.zext(full, i64)), b.select(full, i64(0), more), after]

        tile.repeat(b, self.lines, [*self.start, start], line)

    # -- into the transformed domain -----------------------------------------------------------

    def transform_in(self, at: Values, there: ir.Value) -> None:
        """V[...][tile] = B^T window B, one vector of channels after the other."""
        b, f = self.b, self.f
        z, ty, tx = at
        y, x = (
            b.sub(b.mul(i, i64(self.spec.m)), f[edge]) for i, edge in ((ty, "top"), (tx, "left"))
        )
        s = self.image.strides
        corner = element(
            b,
            self.image.base,
            [(self.group, s["g"]), (z, s["z"]), (y, s["y"]), (x, s["x"])],
        )
        points, m = Points(there, self.v_point), self.spec.m
        self.transforms.to_points(self.b_t, self.image, corner, (y, x), f["k"], points, m)

    # -- products, and back ----------------------------------------------------------------------

    def column_block(self, j: ir.Value) -> Values:
        b, spec = self.b, self.spec
        function, vectors = of_block(b, self.products, spec, j, self.blocks)
        panel = element(b, self.u, [(self.group, self.u_s["g"]), (j, self.u_s["j"])])
        sizes = [self.tiles, self.f["k"], self.v_row, self.v_point, self.m_point]
        b.call(function, [self.v, panel, self.m, *sizes, self.ahead.place, self.ahead.step])
        step = i64(4 * spec.width)
        self.each_tile(self.m, step, lambda at, there: self.transform_out(at, there, j, vectors))
        return [b.add(j, i64(1))]

    def transform_out(self, at: Values, there: ir.Value, j: ir.Value, vectors: ir.Value) -> None:
        """The output tile A^T M A and its epilogue, one vector of columns after the other."""
        b, f, spec = self.b, self.f, self.spec
        z, y, x = at[0], b.mul(at[1], i64(spec.m)), b.mul(at[2], i64(spec.m))
        height, width = (
            minimum(b, b.sub(f[size], i), i64(spec.m)) for size, i in (("height", y), ("width", x))
        )
        corners = [
            element(
                b,
                base,
                [(self.group, s["g"]), (z, s["z"]), (y, s["y"]), (x, s["x"])],
                DTYPES[operand.dtype].bytes,
            )
            for (base, s), operand in zip(self.epilogue, spec.operands, strict=True)
        ]

        def vector(column: ir.Value, there: ir.Value) -> Values:
            across = b.mul(self.m_point, i64(self.n))

            def pixel(i: int, j: ir.Value) -> ir.Value:
                return self.transforms.load(
                    offset(b, there, b.add(b.mul(across, i64(i)), b.mul(self.m_point, j)))
                )

            starts = [
                offset(b, corner, b.mul(column, i64(DTYPES[o.dtype].bytes * o.unit)))
                for corner, o in zip(corners, spec.operands, strict=True)
            ]
            self.claim_outputs(starts)
            self.transforms.first_pass(self.a_t, pixel)
            mask = lane_mask(b, b.sub(f["n"], column), spec.lanes) if spec.masked else None
            tile.repeat(
                b, height, [i64(0), *starts], lambda i, *rows: self.row_out(i, rows, width, mask)
            )
            return [b.add(column, i64(spec.lanes)), offset(b, there, i64(4 * spec.lanes))]

        tile.repeat(b, vectors, [b.mul(j, i64(spec.width)), there], vector)

    def claim_outputs(self, starts: Sequence[ir.Value]) -> None:
        """Fetches the pixels of the next tile, which are not in the cache as a rule: a tenth of
        the time.
        """
        b, m = self.b, self.spec.m
        for number, _ in self.spec.body.stores:
            strides, size = self.epilogue[number][1], DTYPES[self.spec.operands[number].dtype].bytes
            for y in range(m):
                for x in range(m, 2 * m):
                    place = b.add(b.mul(strides["y"], i64(y)), b.mul(strides["x"], i64(x)))
                    tile.claim(b, offset(b, starts[number], b.mul(place, i64(size))))

    def row_out(
        self, i: ir.Value, rows: Sequence[ir.Value], width: ir.Value, mask: ir.Value | None
    ) -> Values:
        """One row of an output tile: those of its pixels that the output has, through the
        epilogue.
        """
        b, spec = self.b, self.spec
        pixels = self.transforms.second_pass(self.a_t, i)

        def finish(acc: ir.Value, there: Sequence[ir.Value]) -> Sequence[ir.Value]:
            finish_vector(b, spec, acc, there, mask)
            return self.moved(there, "x")

        def some() -> None:
            for place, y in enumerate(pixels):
                b.store(y, self.transforms.slot(self.pixels, i64(place)))
            tile.repeat(
                b,
                width,
                [i64(0), *rows],
                lambda j, *there: [
                    b.add(j, i64(1)),
                    *finish(b.load(self.transforms.slot(self.pixels, j)), there),
                ],
            )

        if any(calls_function(s.text()) for s in spec.body.statements):
            some()  # long bodies are emitted once
        else:
            with b.if_else(b.icmp_signed("==", width, i64(spec.m))) as (all_of_them, otherwise):
                with all_of_them:
                    there = rows
                    for y in pixels:
                        there = finish(y, there)
                with otherwise:
                    some()
        return [b.add(i, i64(1)), *self.moved(rows, "y")]

    def moved(self, places: Sequence[ir.Value], axis: str) -> Values:
        return moved(self.b, self.spec, places, [s for _, s in self.epilogue], axis)
