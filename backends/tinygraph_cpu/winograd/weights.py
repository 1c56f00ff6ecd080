"""The transform of a Winograd convolution's weights, U = G w G^T, as machine code.

See records.py. It is done in double: a weight is read by every pixel, so its
rounding would be seen by all of them, and this is a small part of the work.
"""

from __future__ import annotations

from llvmlite import ir

from tinygraph.plan.winograd.toom_cook import transforms
from tinygraph_scalar.arithmetic import declare

from ..gemm import tile
from ..gemm.arguments import ArgumentBlock, define_kernel, lane_mask, share
from ..gemm.tile import i32, i64, offset, pointer
from .linear import multiply
from .records import WEIGHT_FIELDS, WEIGHT_STRIDES, WinogradWeights

Values = list[ir.Value]


def emit_weights(module: ir.Module, name: str, spec: WinogradWeights) -> ir.Function:
    """Adds the function `name` to `module`."""
    return define_kernel(module, name, _WeightsEmitter, spec)


class _WeightsEmitter:
    def __init__(self, b: ir.IRBuilder, spec: WinogradWeights, function: ir.Function) -> None:
        self.b, self.spec = b, spec
        self.part, _, args = function.args
        arguments = ArgumentBlock(b, args)
        self.f = arguments.fields(WEIGHT_FIELDS)
        self.w, self.w_s = arguments.operand(WEIGHT_STRIDES[0])
        self.u, self.u_s = arguments.operand(WEIGHT_STRIDES[1])
        self.vector = ir.VectorType(ir.FloatType(), spec.lanes)
        self.double = ir.VectorType(ir.DoubleType(), spec.lanes)

    def emit(self) -> None:
        """Row (group, block, channel) after row of the part."""
        b, f = self.b, self.f
        first, end = share(b, b.mul(b.mul(f["groups"], f["blocks"]), f["k"]), self.part, f["parts"])
        start = [
            b.udiv(first, b.mul(f["blocks"], f["k"])),
            b.urem(b.udiv(first, f["k"]), f["blocks"]),
            b.urem(first, f["k"]),
        ]

        def row(g: ir.Value, j: ir.Value, k: ir.Value) -> Values:
            tile.repeat(b, f["vectors"], [i64(0)], lambda v: self.vector_of(g, j, k, v))
            more_k = b.add(k, i64(1))
            full_k = b.icmp_signed("==", more_k, f["k"])
            more_j = b.add(j, b.zext(full_k, i64))
            full_j = b.icmp_signed("==", more_j, f["blocks"])
            after = b.select(full_j, i64(0), more_j), b.select(full_k, i64(0), more_k)
            return [b.add(g, b.zext(full_j, i64)), *after]

        with b.if_then(b.icmp_signed(">", end, first)):
            tile.repeat(b, b.sub(end, first), start, row)

    def address(self, base: ir.Value, strides: dict[str, ir.Value], **at: ir.Value) -> ir.Value:
        b, total = self.b, i64(0)
        for axis, index in at.items():
            total = b.add(total, b.mul(index, strides[axis]))
        return offset(b, base, b.mul(total, i64(4)))

    def vector_of(self, g: ir.Value, j: ir.Value, k: ir.Value, v: ir.Value) -> Values:
        """A vector of columns: its taps in, its points out."""
        b, spec = self.b, self.spec
        column = b.mul(b.add(b.mul(j, self.f["vectors"]), v), i64(spec.lanes))
        mask = lane_mask(b, b.sub(self.f["n"], column), spec.lanes)
        corner = self.address(self.w, self.w_s, g=g, n=column, k=k)
        _, matrix, _ = transforms(spec.m, spec.r)
        taps = range(spec.r)
        read = [
            [self.load(self.address(corner, self.w_s, i=i64(i), j=i64(t)), mask) for t in taps]
            for i in taps
        ]
        half = [multiply(b, matrix, [read[i][t] for i in taps]) for t in taps]
        target = self.address(self.u, self.u_s, g=g, j=j, k=k, n=b.mul(v, i64(spec.lanes)))
        step = b.mul(self.u_s["p"], i64(4))
        for i in range(len(matrix)):
            for x in multiply(b, matrix, [half[t][i] for t in taps]):
                b.store(b.fptrunc(x, self.vector), target, align=4)
                target = offset(b, target, step)
        return [b.add(v, i64(1))]

    def load(self, there: ir.Value, mask: ir.Value) -> ir.Value:
        b, lanes, zeros = self.b, self.spec.lanes, ir.Constant(self.vector, None)
        if self.spec.unit:
            x = tile.masked_load(b, there, self.vector, "float32", mask)
        else:
            addresses = self.lane_addresses(there)
            name = f"llvm.masked.gather.v{lanes}f32.v{lanes}p0"
            gather = declare(
                b.module, name, self.vector, [addresses.type, i32, mask.type, self.vector]
            )
            x = b.call(gather, [addresses, i32(4), mask, zeros])
        return b.fpext(x, self.double)

    def lane_addresses(self, there: ir.Value) -> ir.Value:
        """The address of each lane's column."""
        b, lanes = self.b, self.spec.lanes
        kind = ir.VectorType(i64, lanes)
        steps = b.mul(
            tile.splat(b, b.mul(self.w_s["n"], i64(4)), lanes),
            ir.Constant(kind, list(range(lanes))),
        )
        return b.inttoptr(
            b.add(tile.splat(b, b.ptrtoint(there, i64), lanes), steps),
            ir.VectorType(pointer, lanes),
        )
