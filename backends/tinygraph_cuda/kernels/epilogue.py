"""The epilogue of a contraction: its statements for every element of a thread's register tile.

Importing this module imports numba-cuda.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.arithmetic import Value

from ..compile.intrinsics import NAMES, Builder, emitter_at
from ..compile.toolchain import types
from .tile import (
    Typed,
    define_literal,
    element,
    emitted,
    i32,
    i64,
    integer,
    line_offset,
    literals,
    load_parts,
    parts,
    store_parts,
)


@dataclass(frozen=True, slots=True)
class EpilogueOperand:
    """A tensor that the epilogue touches: its address at the block's batch, strides of its rows,
    the kernel's type of its elements."""

    data: ir.Value
    strides: list[ir.Value]
    dtype: str


def finish(
    acc: Any, row: Any, rows: Any, column: Any, columns: Any, lines: Any, operands: Any, body: Any,
    m: Any, tall: Any, high: Any, n: Any, wide: Any, broad: Any, width: Any,
) -> Typed:  # fmt: skip
    """finish(acc, row, rows, column, columns, (y, m), operands, BODY, M, TALL, HIGH, N, WIDE,
    BROAD, WIDTH): the statements of BODY for each accumulator ``acc`` that is within ``rows`` and
    ``columns``. A thread has M rows, from ``row`` on, in groups of TALL neighbours that are HIGH
    apart, and N columns likewise.

    BODY reads and writes operand 0 as ``p0[...]``: by ``[row]`` where its rows are evenly spaced,
    by ``[z, y, m]`` where they are not, followed by ``n`` where its columns are contiguous, with
    ``n_wide`` where WIDTH of them make one access. An operand is a tuple: pointer, first element,
    strides of rows. Of WIDTH neighbouring columns all or none are there.
    """
    count, group, gap, columns_of, column_group, column_gap, together = literals(
        m, tall, high, n, wide, broad, width
    )
    statements = ast.parse(body.literal_value).body
    kinds = [NAMES[kind[0].dtype] for kind in operands]

    @emitted
    def lower(context: Any, b: Builder, result: Any, args: list[ir.Value]) -> ir.Value:
        first_row, row_count, first_column, column_count = (integer(b, x) for x in args[1:5])
        sizes = [integer(b, x) for x in parts(b, args[5], len(lines))]
        tensors = {}
        for i, (kind, dtype) in enumerate(zip(operands, kinds, strict=True)):
            data, at, *strides = parts(b, b.extract_value(args[6], i), len(kind))
            steps = [integer(b, s) for s in strides]
            tensors[f"p{i}"] = EpilogueOperand(element(b, data, integer(b, at)), steps, dtype)
        for i in range(count):
            at = i // group * gap + i % group
            this_row = b.add(first_row, i32(at))
            with b.if_then(b.icmp_unsigned("<", this_row, row_count)):
                places = {name: row_of(b, x, this_row, sizes) for name, x in tensors.items()}
                for j in range(0, columns_of, together):
                    at = j // column_group * column_gap + j % column_group
                    this_column = b.add(first_column, i32(at))
                    with b.if_then(b.icmp_unsigned("<", this_column, column_count)):
                        sums = [
                            b.extract_value(args[0], i * columns_of + j + lane)
                            for lane in range(together)
                        ]
                        Neighbours(b, tensors, places, this_column, sums).run(statements)
        return context.get_dummy_value()

    places = (acc, row, rows, column, columns, lines, operands, body)
    return types.void(*places, m, tall, high, n, wide, broad, width), lower


def row_of(b: ir.IRBuilder, x: EpilogueOperand, row: ir.Value, sizes: list[ir.Value]) -> ir.Value:
    if not x.strides:
        return i32(0)
    return line_offset(b, row, sizes, x.strides) if len(x.strides) > 1 else b.mul(row, x.strides[0])


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Neighbouring columns of one row: the body is emitted for each of their sums."""

    b: ir.IRBuilder
    tensors: dict[str, EpilogueOperand]
    places: dict[str, ir.Value]
    column: ir.Value
    sums: list[ir.Value]

    def run(self, statements: list[ast.stmt]) -> None:
        emitter = emitter_at(self.b)
        lanes: list[dict[str, Any]] = [{"acc": Value(x, "float32")} for x in self.sums]
        for statement in statements:
            match statement:
                case ast.AnnAssign(ast.Name(name), ast.Name(dtype), ast.Subscript() as read):
                    for names, value in zip(lanes, self.load(read), strict=True):
                        names[name] = emitter.arithmetic.convert(value, dtype)
                case ast.AnnAssign(ast.Name(name), ast.Name(dtype), ast.expr() as value):
                    for names in lanes:
                        names[name] = emitter.value(value, names, dtype)
                case ast.Assign([ast.Subscript(ast.Name(name)) as target], value):
                    dtype = self.tensors[name].dtype
                    self.store(target, [
                        emitter.value(value, names, dtype).ir for names in lanes
                    ])  # fmt: skip

    def place(self, access: ast.Subscript) -> tuple[EpilogueOperand, ir.Value, str]:
        """The operand, an address, and how columns are stored: 'n_wide', 'n', else they do not
        matter.
        """
        assert isinstance(access.value, ast.Name)
        index = access.slice.elts[-1] if isinstance(access.slice, ast.Tuple) else access.slice
        assert isinstance(index, ast.Name)
        operand, at = self.tensors[access.value.id], self.places[access.value.id]
        if index.id in ("n", "n_wide"):
            at = self.b.add(at, self.column)
        return operand, element(self.b, operand.data, at), index.id

    def load(self, access: ast.Subscript) -> list[Value]:
        b, count = self.b, len(self.sums)
        operand, at, columns = self.place(access)
        if columns == "n_wide":
            found = load_parts(b, at, count, count * DTYPES[operand.dtype].bytes)
        elif columns == "n":
            found = [b.load(b.gep(at, [i64(i)])) for i in range(count)]
        else:
            found = [b.load(at)] * count
        return [Value(x, operand.dtype) for x in found]

    def store(self, access: ast.Subscript, values: list[ir.Value]) -> None:
        operand, at, columns = self.place(access)
        if columns == "n_wide":
            store_parts(self.b, at, values, len(values) * DTYPES[operand.dtype].bytes)
            return
        for i, value in enumerate(values):
            self.b.store(value, self.b.gep(at, [i64(i)]))


SCOPE = {"finish": define_literal("finish", 15, 8, finish)}
