"""The epilogue of a contraction: its Body over the accumulators while they are hot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.contraction import TileOperand
from tinygraph_scalar.arithmetic import Value, declare, scalar_type, suffix
from tinygraph_scalar.scalar import calls_function, emit_expression

from . import tile
from .tile import PrefetchRows, Reduction, Shape, i8, i32, i64, offset, pointer

LINE = 64  # bytes of a cache line
SHORT = 96  # steps: a reduction this short leaves no time to ask for a line at each


def read_by_row(body: Body, operands: Sequence[TileOperand]) -> list[int]:
    """Numbers of the operands of which the body reads every row. What it only writes is not
    fetched: these requests would hold up the reduction's loads.
    """
    return [n for n in dict.fromkeys(number for _, number in body.loads) if operands[n].rows]


@dataclass(frozen=True, slots=True)
class OperandAtTile:
    """A tensor at the tile: its address, the strides of its rows and of its lines in bytes."""

    base: ir.Value
    row: ir.Value
    line: ir.Value
    spec: TileOperand


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Emits `body` for one tile; `mask` tells which lanes of a row's last vector exist; `lines` and
    `pitch` as in Contraction.

    ``skip``, in plain code, is the number of its first rows that the tile before has stored.
    """

    b: ir.IRBuilder
    body: Body
    shape: Shape
    operands: list[OperandAtTile]
    mask: ir.Value | None
    accumulator: str = "float32"
    skip: ir.Value | None = None
    lines: int = 1
    pitch: int = 0

    def by_row(self) -> list[OperandAtTile]:
        if self.skip is not None:
            return []
        return [self.operands[n] for n in read_by_row(self.body, [x.spec for x in self.operands])]

    def block(self, reduction: Reduction) -> PrefetchRows | None:
        """The rows to fetch during a reduction; all of it before, if that is short."""
        b, shape, read = self.b, self.shape, self.by_row()
        if not read:
            return None
        short = b.icmp_signed("<", reduction.steps(b), i64(SHORT))
        self.fetch(short)
        size = shape.rows, 4 * shape.vectors * shape.lanes
        starts, rows = [x.base for x in read], [x.row for x in read]
        return PrefetchRows.begin(b, starts, rows, size, reduction.counts, short)

    def fetch(self, due: ir.Value) -> None:
        """Asks for all that is read at once, if that is `due`."""
        b, lanes, read = self.b, self.shape.lanes, self.by_row()
        if not read:
            return
        with b.if_then(due):
            for x in read:
                element = DTYPES[x.spec.dtype].bytes
                width = self.shape.vectors * lanes * element if x.spec.unit else 1
                for line, m in product(range(self.lines), range(self.shape.rows)):
                    row = offset(b, x.base, b.mul(x.row, i64(m)))
                    row = offset(b, row, b.mul(x.line, i64(line))) if line else row
                    for at in range(0, width, LINE):
                        tile.prefetch(b, offset(b, row, i64(at)), locality=2)

    def emit(self, sums: list[ir.Value]) -> None:
        if self.skip is not None or any(calls_function(s.text()) for s in self.body.statements):
            with self.b.goto_entry_block():
                stack = self.b.alloca(ir.ArrayType(self.shape.vector, len(sums)))
            for i, x in enumerate(sums):
                self.b.store(x, self.b.gep(stack, [i64(0), i64(i)]))
            self.loop(stack)
            return
        b, vectors = self.b, self.shape.vectors
        for m in range(self.shape.rows):
            rows = [offset(b, x.base, b.mul(x.row, i64(m))) for x in self.operands]
            self._row(rows, sums[m * vectors : (m + 1) * vectors])

    def loop(self, stack: ir.Value) -> None:
        """The body for one row, in a loop over rows whose accumulators are on the stack: long ones,
        those of large tiles, and those of plain code.

        Emitted for every row, an erf would be 50 KB of code that takes 0.7 s to compile.
        """
        b, vectors, vector = self.b, self.shape.vectors, self.shape.vector

        def row(first: ir.Value, *rows: ir.Value) -> list[ir.Value]:
            places = [
                b.gep(stack, [b.add(first, i64(v))], source_etype=vector) for v in range(vectors)
            ]
            self._row(list(rows), [b.load(place, typ=vector) for place in places])
            after = [offset(b, at, x.row) for at, x in zip(rows, self.operands, strict=True)]
            return [b.add(first, i64(vectors)), *after]

        def line(first: ir.Value, *starts: ir.Value) -> list[ir.Value]:
            tile.repeat(b, i64(self.shape.rows), [first, *starts], row)
            after = [offset(b, at, x.line) for at, x in zip(starts, self.operands, strict=True)]
            return [b.add(first, i64(self.pitch * vectors)), *after]

        bases = [x.base for x in self.operands]
        if self.lines > 1:
            tile.repeat(b, i64(self.lines), [i64(0), *bases], line)
            return
        skip = i64(0) if self.skip is None else self.skip
        if self.skip is not None:
            bases = [offset(b, x.base, b.mul(x.row, skip)) for x in self.operands]
        count = b.sub(i64(self.shape.rows), skip)
        tile.repeat(b, count, [b.mul(skip, i64(vectors)), *bases], row)

    def _row(self, rows: list[ir.Value], sums: list[ir.Value]) -> None:
        """The body over one row: its addresses in the operands, its accumulators."""
        for v, acc in enumerate(sums):
            mask = self.mask if v == self.shape.vectors - 1 else None
            names = {"acc": Value(acc, self.accumulator)}
            for name, number in self.body.loads:
                names[name] = self._load(self.operands[number], rows[number], v, mask)
            for s in self.body.statements:
                names[s.name] = emit_expression(self.b, s.text(), names, s.dtype, self.shape.lanes)
            for number, name in self.body.stores:
                self._store(self.operands[number], rows[number], v, mask, names[name])

    def _load(self, operand: OperandAtTile, row: ir.Value, v: int, mask: ir.Value | None) -> Value:
        b, lanes, dtype = self.b, self.shape.lanes, operand.spec.dtype
        scalar, size = scalar_type(dtype, memory=True), DTYPES[dtype].bytes
        if operand.spec.unit:
            kind, at = ir.VectorType(scalar, lanes), offset(b, row, i64(v * lanes * size))
            if mask is None:
                x = b.load(at, typ=kind, align=size)
            else:
                x = tile.masked_load(b, at, kind, dtype, mask)
        else:
            x = tile.splat(b, b.load(row, typ=scalar, align=size), lanes)
        if dtype == "bool":
            x = b.icmp_unsigned("!=", x, ir.Constant(x.type, None))
        return Value(x, dtype)

    def _store(
        self, operand: OperandAtTile, row: ir.Value, v: int, mask: ir.Value | None, value: Value
    ) -> None:
        b, lanes, dtype = self.b, self.shape.lanes, operand.spec.dtype
        if value.dtype != dtype:
            raise TypeError(f"a store of {value.dtype} into an operand of {dtype}")
        size = DTYPES[dtype].bytes
        x = b.zext(value.ir, ir.VectorType(i8, lanes)) if dtype == "bool" else value.ir
        at = offset(b, row, i64(v * lanes * size))
        if mask is None:
            b.store(x, at, align=size)
        else:
            name = f"llvm.masked.store.v{lanes}{suffix(dtype)}.p0"
            store = declare(b.module, name, ir.VoidType(), [x.type, pointer, i32, mask.type])
            b.call(store, [x, at, i32(size), mask])
