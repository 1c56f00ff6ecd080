"""Loops and blocks of matrices in a kernel of attention: what is copied, and turned, in 16s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from tinygraph_scalar.arithmetic import declare

from ..gemm import tile
from ..gemm.arguments import lane_mask
from ..gemm.tile import f32, i32, i64, offset, pointer


@contextmanager
def counted(b: ir.IRBuilder, end: ir.Value) -> Iterator[ir.Value]:
    """A loop over 0 <= i < end."""
    entry, head = b.block, b.append_basic_block("head")
    body, done = b.append_basic_block("body"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(i64)
    i.add_incoming(i64(0), entry)
    b.cbranch(b.icmp_signed("<", i, end), body, done)
    b.position_at_end(body)
    yield i
    i.add_incoming(b.add(i, i64(1)), b.block)
    b.branch(head)
    b.position_at_end(done)


def at(b: ir.IRBuilder, base: ir.Value, *terms: tuple[ir.Value, ir.Value | int]) -> ir.Value:
    """The address base + sum of index * bytes."""
    for index, step in terms:
        base = offset(b, base, b.mul(index, i64(step) if isinstance(step, int) else step))
    return base


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of float32 in memory: bytes from row to row and from column to column; ``unit``: its
    columns are known to be side by side.
    """

    base: ir.Value
    row: ir.Value
    column: ir.Value
    unit: bool

    def moved(self, b: ir.IRBuilder, row: ir.Value, column: ir.Value | None = None) -> Matrix:
        there = at(b, self.base, (row, self.row))
        there = there if column is None else at(b, there, (column, self.column))
        return Matrix(there, self.row, self.column, self.unit)


class BlockCopies:
    """Emits copies of blocks of ``lanes`` x ``lanes`` elements."""

    def __init__(self, b: ir.IRBuilder, lanes: int) -> None:
        self.b, self.lanes = b, lanes
        self.vector = ir.VectorType(f32, lanes)
        self.mask = ir.VectorType(ir.IntType(1), lanes)

    # -- a vector along a row --------------------------------------------------------------------

    def load(self, m: Matrix, mask: ir.Value) -> ir.Value:
        """The first elements of a row, zeros where the mask is not set."""
        b, none = self.b, ir.Constant(self.vector, None)
        if m.unit:
            f = self._masked("load", "p0", self.vector, [pointer, i32, self.mask, self.vector])
            return b.call(f, [m.base, i32(4), mask, none])
        there = self._addresses(m)
        f = self._masked("gather", f"v{self.lanes}p0", self.vector,
                         [there.type, i32, self.mask, self.vector])  # fmt: skip
        return b.call(f, [there, i32(4), mask, none])

    def store(self, m: Matrix, mask: ir.Value, x: ir.Value) -> None:
        b, none = self.b, ir.VoidType()
        if m.unit:
            f = self._masked("store", "p0", none, [self.vector, pointer, i32, self.mask])
            b.call(f, [x, m.base, i32(4), mask])
            return
        there = self._addresses(m)
        f = self._masked("scatter", f"v{self.lanes}p0", none,
                         [self.vector, there.type, i32, self.mask])  # fmt: skip
        b.call(f, [x, there, i32(4), mask])

    def _masked(
        self, what: str, where: str, result: ir.Type, args: Sequence[ir.Type]
    ) -> ir.Function:
        return declare(
            self.b.module, f"llvm.masked.{what}.v{self.lanes}f32.{where}", result, [*args]
        )

    def _addresses(self, m: Matrix) -> ir.Value:
        b, kind = self.b, ir.VectorType(i64, self.lanes)
        steps = ir.Constant(kind, list(range(self.lanes)))
        far = b.mul(tile.splat(b, m.column, self.lanes), steps)
        first = tile.splat(b, b.ptrtoint(m.base, i64), self.lanes)
        return b.inttoptr(b.add(first, far), ir.VectorType(pointer, self.lanes))

    def turned(self, rows: list[ir.Value]) -> list[ir.Value]:
        """The transpose of a block: pairs of rows exchange halves, quarters, ..."""
        b, lanes, step = self.b, self.lanes, 1
        while step < lanes:
            for i in (i for i in range(lanes) if not i & step):
                x, y = rows[i], rows[i + step]
                low = [lanes + t - step if t & step else t for t in range(lanes)]
                high = [lanes + t if t & step else t + step for t in range(lanes)]
                kind = ir.VectorType(i32, lanes)
                rows[i] = b.shuffle_vector(x, y, ir.Constant(kind, low))
                rows[i + step] = b.shuffle_vector(x, y, ir.Constant(kind, high))
            step *= 2
        return rows

    # -- whole matrices --------------------------------------------------------------------------

    def each_block(self, rows: ir.Value, columns: ir.Value) -> Iterator[tuple[ir.Value, ...]]:
        """Loops over blocks: (row, column, a mask of rows, a mask of columns)."""
        b, lanes = self.b, self.lanes
        size = i64(lanes)
        with counted(b, _blocks(b, rows, lanes)) as i, counted(b, _blocks(b, columns, lanes)) as j:
            row, column = b.mul(i, size), b.mul(j, size)
            yield (
                row,
                column,
                lane_mask(b, b.sub(rows, row), lanes),
                lane_mask(b, b.sub(columns, column), lanes),
            )

    def gather_turned(
        self, m: Matrix, rows: ir.Value, columns: ir.Value, target: ir.Value, step: int,
        factor: ir.Value | None = None,
    ) -> None:  # fmt: skip
        """target[column][row] = m[row][column] * factor, zeros up to whole blocks; its rows are
        ``step`` bytes apart.
        """
        b, lanes = self.b, self.lanes
        for row, column, alive, mask in self.each_block(rows, columns):
            block = [
                self.load(m.moved(b, b.add(row, i64(r)), column), self._in(alive, mask, r))
                for r in range(lanes)
            ]
            there = at(b, target, (column, step), (row, 4))
            for r, x in enumerate(self.turned(block)):
                x = x if factor is None else b.fmul(x, factor)
                b.store(x, offset(b, there, i64(r * step)), align=4)

    def scatter_turned(
        self, source: ir.Value, step: int, m: Matrix, rows: ir.Value, columns: ir.Value,
        factors: ir.Value,
    ) -> None:  # fmt: skip
        """m[row][column] = source[column][row] * factors[row], for rows and columns of m."""
        b, lanes = self.b, self.lanes
        for row, column, alive, mask in self.each_block(rows, columns):
            factor = b.load(at(b, factors, (row, 4)), typ=self.vector, align=4)
            here = at(b, source, (column, step), (row, 4))
            block = [
                b.fmul(b.load(offset(b, here, i64(r * step)), typ=self.vector, align=4), factor)
                for r in range(lanes)
            ]
            for r, x in enumerate(self.turned(block)):
                self.store(m.moved(b, b.add(row, i64(r)), column), self._in(alive, mask, r), x)

    def copy(
        self, source: Matrix, target: Matrix, rows: ir.Value, columns: ir.Value,
        factor: ir.Value | None = None, whole: bool = False,
    ) -> None:  # fmt: skip
        """target[row][column] = source[row][column] * factor; ``whole``: zeros up to a vector."""
        b, lanes = self.b, self.lanes
        every = ir.Constant(self.mask, [1] * lanes)
        with counted(b, rows) as row, counted(b, _blocks(b, columns, lanes)) as j:
            column = b.mul(j, i64(lanes))
            mask = lane_mask(b, b.sub(columns, column), lanes)
            x = self.load(source.moved(b, row, column), mask)
            x = x if factor is None else b.fmul(x, factor)
            self.store(target.moved(b, row, column), every if whole else mask, x)

    def _in(self, alive: ir.Value, mask: ir.Value, r: int) -> ir.Value:
        """The mask of a block's row, which may be beyond the last."""
        b = self.b
        exists = b.extract_element(alive, i32(r))
        return b.and_(mask, tile.splat(b, exists, self.lanes))


def _blocks(b: ir.IRBuilder, size: ir.Value, lanes: int) -> ir.Value:
    return b.udiv(b.add(size, i64(lanes - 1)), i64(lanes))
