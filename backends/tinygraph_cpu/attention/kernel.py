"""What the kernels of attention share: arguments, scratch memory, scores, masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

from llvmlite import ir

from tinygraph_scalar.arithmetic import Value
from tinygraph_scalar.scalar import emit_expression

from ..gemm import tile
from ..gemm.arguments import ArgumentBlock
from ..gemm.tile import f32, i1, i8, i32, i64, offset, pointer
from .blocks import BlockCopies, Matrix, at, counted
from .products import ProductFunctions
from .records import (
    BATCH_SIZES,
    BATCH_STRIDES,
    FIELDS,
    SCRATCH,
    STRIDES,
    Attention,
    place_names,
)

Values = list[ir.Value]


class AttentionEmitter:
    """A kernel at the builder's position; ``names`` are its operands."""

    def __init__(
        self, b: ir.IRBuilder, spec: Attention, function: ir.Function, names: Sequence[str]
    ) -> None:
        self.b, self.spec = b, spec
        self.part, self.tid, args = function.args
        arguments = ArgumentBlock(b, args)
        self.f = arguments.fields((*FIELDS, *place_names(spec), *SCRATCH))
        self.operands = {name: arguments.operand(STRIDES) for name in names}
        self.scratch = at(
            b, b.inttoptr(self.f["scratch"], pointer), (self.tid, self.f["scratch_stride"])
        )
        self.blocks = BlockCopies(b, spec.lanes)
        self.products = ProductFunctions(b, function, spec)
        self.step = 4 * spec.width  # bytes of a row of S^T
        self.scale = tile.splat(b, self._float("scale"), spec.lanes)
        self.filled = tile.splat(b, self._float("fill"), spec.lanes)
        self.batch = [b.alloca(i64) for _ in BATCH_SIZES]

    def _float(self, field: str) -> ir.Value:
        return self.b.bitcast(self.b.trunc(self.f[field], i32), f32)

    # -- batch, operands, scratch ------------------------------------------------------------------

    def batch_size(self) -> ir.Value:
        return reduce(self.b.mul, (self.f[n] for n in BATCH_SIZES))

    def enter(self, flat: ir.Value) -> None:
        """Goes to an index of the batch."""
        b = self.b
        for name, place in reversed([*zip(BATCH_SIZES, self.batch, strict=True)]):
            b.store(b.urem(flat, self.f[name]), place)
            flat = b.udiv(flat, self.f[name])

    def matrix(self, name: str, size: int = 4) -> Matrix:
        """An operand at the present index of the batch, of elements of ``size`` bytes."""
        b, (base, strides) = self.b, self.operands[name]
        for axis, place in zip(BATCH_STRIDES, self.batch, strict=True):
            base = at(b, base, (b.load(place, typ=i64), b.mul(strides[axis], i64(size))))
        row, column = (b.mul(strides[x], i64(size)) for x in ("row", "column"))
        return Matrix(base, row, column, name in self.spec.unit)

    def place(self, name: str) -> ir.Value:
        """Where a value is in the thread's scratch memory."""
        return at(self.b, self.scratch, (self.f[f"at_{name}"], 4))

    def stats(self, number: int) -> ir.Value:
        return offset(self.b, self.place("stats"), i64(number * self.step))

    def vectors(self, elements: ir.Value) -> ir.Value:
        """The vectors that hold so many elements."""
        lanes = self.spec.lanes
        return self.b.udiv(self.b.add(elements, i64(lanes - 1)), i64(lanes))

    # -- vectors -----------------------------------------------------------------------------------

    def splat(self, value: float) -> ir.Constant:
        return ir.Constant(self.blocks.vector, [value] * self.spec.lanes)

    def load_row(self, there: ir.Value, v: int) -> ir.Value:
        place = offset(self.b, there, i64(4 * self.spec.lanes * v))
        return self.b.load(place, typ=self.blocks.vector, align=4)

    def store_row(self, there: ir.Value, v: int, x: ir.Value) -> None:
        self.b.store(x, offset(self.b, there, i64(4 * self.spec.lanes * v)), align=4)

    def exp(self, x: ir.Value) -> ir.Value:
        names = {"x": Value(x, "float32")}
        return emit_expression(self.b, "exp(x)", names, "float32", self.spec.lanes).ir

    def fill(self, there: ir.Value, rows: ir.Value, value: float) -> None:
        """Rows of the width of a block."""
        with counted(self.b, rows) as i:
            row = at(self.b, there, (i, self.step))
            for v in range(self.spec.vectors):
                self.store_row(row, v, self.splat(value))

    # -- scores ------------------------------------------------------------------------------------

    def scores(self, count: ir.Value, key: ir.Value, some: ir.Value) -> None:
        """S^T = K Q^T of ``count`` queries and ``some`` keys from ``key`` on."""
        k = self.matrix("k").moved(self.b, key)
        self.products.narrow(
            self.vectors(count), k.base, self.place("qt"), self.place("st"), some, self.f["d"],
            k.row, k.column, i64(self.step), i64(self.step), i1(1),
        )  # fmt: skip

    @contextmanager
    def unless_hidden(
        self, row: ir.Value, count: ir.Value, key: ir.Value, some: ir.Value, never: ir.Value | None
    ) -> Iterator[None]:
        """What follows is left out where a mask hides all of a block, unless ``never``; the mask's
        block is in ``bias`` then.
        """
        if not self.spec.mask:
            yield
            return
        b = self.b
        seen = self.turn_mask(row, count, key, some)
        if self.spec.mask == "bool":
            infinite = b.fcmp_ordered("==", self._float("fill"), ir.Constant(f32, float("-inf")))
            seen = b.or_(seen, b.not_(infinite))
        seen = seen if never is None else b.or_(seen, never)
        with b.if_then(seen):
            yield

    def turn_mask(self, row: ir.Value, count: ir.Value, key: ir.Value, some: ir.Value) -> ir.Value:
        """bias[key][query]: what is added to scores; for a boolean mask 0, or what takes their
        place. Returns whether something may be seen.
        """
        b, boolean = self.b, self.spec.mask == "bool"
        size = 1 if boolean else 4
        mask = self.matrix("mask", size)
        corner = at(b, mask.base, (row, mask.row), (key, mask.column))
        with b.goto_entry_block():
            seen = b.alloca(i1)
        b.store(i1(0), seen)
        fill, low = self._float("fill"), ir.Constant(f32, float("-inf"))

        def element(there: ir.Value) -> ir.Value:
            if boolean:
                visible = b.icmp_unsigned("!=", b.load(there, typ=i8), i8(0))
                x = b.select(visible, ir.Constant(f32, 0.0), fill)
            else:
                x = b.load(there, typ=f32)
                visible = b.fcmp_unordered("!=", x, low)
            b.store(b.or_(b.load(seen, typ=i1), visible), seen)
            return x

        alike = b.icmp_signed("==", mask.row, i64(0))
        with b.if_else(alike) as (same, differ):
            with same, counted(b, some) as j:
                x = tile.splat(b, element(at(b, corner, (j, mask.column))), self.spec.lanes)
                there = at(b, self.place("bias"), (j, self.step))
                for v in range(self.spec.vectors):
                    self.store_row(there, v, x)
            with differ, counted(b, count) as i, counted(b, some) as j:
                x = element(at(b, corner, (i, mask.row), (j, mask.column)))
                b.store(x, at(b, self.place("bias"), (j, self.step), (i, 4)))
        return b.load(seen, typ=i1)

    def adjust(self, row: ir.Value, key: ir.Value, some: ir.Value) -> None:
        """Masks the block of scores from query ``row`` and key ``key`` on."""
        b, spec = self.b, self.spec
        if spec.mask:
            self._each_score(some, self._biased)
        if spec.causal:
            last = b.add(key, some)
            with b.if_then(b.icmp_signed(">", last, b.add(row, i64(1)))):
                self._each_score(some, lambda x, i, v: self._past(x, row, b.add(key, i), v))

    def _each_score(
        self, some: ir.Value, change: Callable[[ir.Value, ir.Value, int], ir.Value]
    ) -> None:
        """Changes each vector of the scores: change(x, key, number of the vector)."""
        b = self.b
        with counted(b, some) as i:
            there = at(b, self.place("st"), (i, self.step))
            for v in range(self.spec.vectors):
                self.store_row(there, v, change(self.load_row(there, v), i, v))

    def _biased(self, x: ir.Value, i: ir.Value, v: int) -> ir.Value:
        b = self.b
        bias = self.load_row(at(b, self.place("bias"), (i, self.step)), v)
        if self.spec.mask == "bool":
            return b.select(b.fcmp_ordered("==", bias, self.splat(0.0)), x, bias)
        return b.fadd(x, bias)

    def _past(self, x: ir.Value, row: ir.Value, key: ir.Value, v: int) -> ir.Value:
        """Scores of queries from ``row`` on with one key: -inf where it comes later."""
        b, lanes = self.b, self.spec.lanes
        own = ir.Constant(ir.VectorType(i32, lanes), [v * lanes + t for t in range(lanes)])
        ahead = tile.splat(b, b.trunc(b.sub(key, row), i32), lanes)
        return b.select(b.icmp_signed("<=", ahead, own), x, self.splat(float("-inf")))
