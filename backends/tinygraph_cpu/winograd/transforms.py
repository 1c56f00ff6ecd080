"""The transforms of Winograd convolutions: small constant matrices on both sides of square tiles.

A transform goes over a tile in two passes, columns then rows, with the intermediate vectors on the
stack: as one straight line, they would be spilled anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.winograd.toom_cook import Matrix

from ..gemm import tile
from ..gemm.arguments import ceil_divide, lane_mask
from ..gemm.epilogue import Epilogue, OperandAtTile
from ..gemm.tile import Shape, i1, i64, offset
from .linear import multiply
from .records import Products

Values = list[ir.Value]


def element(
    b: ir.IRBuilder,
    base: ir.Value,
    terms: Sequence[tuple[ir.Value, ir.Value]],
    size: int = 4,
) -> ir.Value:
    """The address base + size * (sum of index * stride)."""
    total = i64(0)
    for index, stride in terms:
        total = b.add(total, b.mul(index, stride))
    return offset(b, base, b.mul(total, i64(size)))


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels of an image, or of several: its strides in elements, zeros outside of its size."""

    base: ir.Value
    strides: Mapping[str, ir.Value]
    height: ir.Value
    width: ir.Value


@dataclass(frozen=True, slots=True)
class Points:
    """Where a tile's points go: the first, and the bytes from one to the next."""

    base: ir.Value
    step: ir.Value


class Transforms:
    """Emits transforms of tiles of at most n x n vectors."""

    def __init__(self, b: ir.IRBuilder, n: int, lanes: int) -> None:
        self.b, self.lanes = b, lanes
        self.vector = ir.VectorType(ir.FloatType(), lanes)
        self.stack = b.alloca(ir.ArrayType(self.vector, n * n))

    def load(self, there: ir.Value) -> ir.Value:
        return self.b.load(there, typ=self.vector, align=4)

    def slot(self, stack: ir.Value, index: ir.Value) -> ir.Value:
        return self.b.gep(stack, [i64(0), index])

    def first_pass(self, matrix: Matrix, pixel: Callable[[int, ir.Value], ir.Value]) -> None:
        """stack[i][j] = (matrix @ column j)[i], where pixel(row, j) gives the column's elements."""
        b, size = self.b, len(matrix[0])

        def column(j: ir.Value) -> Values:
            for i, y in enumerate(multiply(b, matrix, [pixel(row, j) for row in range(size)])):
                b.store(y, self.slot(self.stack, b.add(j, i64(i * size))))
            return [b.add(j, i64(1))]

        tile.repeat(b, i64(size), [i64(0)], column)

    def second_pass(self, matrix: Matrix, row: ir.Value) -> Values:
        """matrix @ row of the stack."""
        b, size = self.b, len(matrix[0])
        first = b.mul(row, i64(size))
        return multiply(
            b, matrix, [b.load(self.slot(self.stack, b.add(first, i64(j)))) for j in range(size)]
        )

    def to_points(
        self,
        matrix: Matrix,
        image: Pixels,
        corner: ir.Value,
        at: tuple[ir.Value, ir.Value],
        channels: ir.Value,
        points: Points,
        ahead: int,
    ) -> None:
        """matrix @ tile @ matrix^T of the tile whose first pixel, at row and column ``at``, is at
        ``corner``; one vector of channels after the other.

        ``ahead`` columns after the tile are fetched meanwhile: what is new in the next one. It
        saves images that are not in the caches a third of this pass.
        """
        b, size, lanes = self.b, len(matrix[0]), self.lanes
        y, x = at
        inside = i1(1)
        for i, end in ((y, image.height), (x, image.width)):
            inside = b.and_(inside, b.icmp_signed(">=", i, i64(0)))
            inside = b.and_(inside, b.icmp_signed("<=", b.add(i, i64(size)), end))
        rows = [b.icmp_unsigned("<", b.add(y, i64(i)), image.height) for i in range(size)]

        def vector(left: ir.Value, source: ir.Value, target: ir.Value) -> Values:
            self.fetch(image, source, size, ahead)
            whole = b.and_(inside, b.icmp_signed(">=", left, i64(lanes)))
            with b.if_else(whole) as (then, otherwise):
                with then:
                    self.window(matrix, image, source, lambda there, i, j: self.load(there))
                with otherwise:
                    masks = [self.where(row, lane_mask(b, left, lanes)) for row in rows]

                    def pixel(there: ir.Value, i: int, j: ir.Value) -> ir.Value:
                        column = b.icmp_unsigned("<", b.add(x, j), image.width)
                        return tile.masked_load(
                            self.b, there, self.vector, "float32", self.where(column, masks[i])
                        )

                    self.window(matrix, image, source, pixel)
            self.store_points(matrix, Points(target, points.step))
            return [
                b.sub(left, i64(lanes)),
                *(offset(b, there, i64(4 * lanes)) for there in (source, target)),
            ]

        count = ceil_divide(b, channels, lanes)
        tile.repeat(b, count, [channels, corner, points.base], vector)

    def fetch(self, image: Pixels, source: ir.Value, size: int, ahead: int) -> None:
        """Asks for the columns after a tile."""
        b, s = self.b, image.strides
        down, right = b.mul(s["y"], i64(4)), b.mul(s["x"], i64(4))
        for j in range(size, size + ahead):
            for i in range(size):
                place = b.add(b.mul(down, i64(i)), b.mul(right, i64(j)))
                tile.prefetch(b, offset(b, source, place), locality=2)

    def window(
        self,
        matrix: Matrix,
        image: Pixels,
        source: ir.Value,
        read: Callable[[ir.Value, int, ir.Value], ir.Value],
    ) -> None:
        """The first pass over the pixels at ``source``."""
        b, s = self.b, image.strides
        down, right = b.mul(s["y"], i64(4)), b.mul(s["x"], i64(4))

        def pixel(i: int, j: ir.Value) -> ir.Value:
            return read(offset(b, source, b.add(b.mul(down, i64(i)), b.mul(right, j))), i, j)

        self.first_pass(matrix, pixel)

    def store_points(self, matrix: Matrix, points: Points) -> None:
        """The second pass, row after row."""
        b = self.b

        def row(i: ir.Value, target: ir.Value) -> Values:
            for y in self.second_pass(matrix, i):
                b.store(y, target, align=4)
                tile.claim(b, offset(b, target, i64(4 * self.lanes)))  # of the next vector
                target = offset(b, target, points.step)
            return [b.add(i, i64(1)), target]

        tile.repeat(b, i64(len(matrix)), [i64(0), points.base], row)

    def where(self, condition: ir.Value, mask: ir.Value) -> ir.Value:
        return self.b.select(condition, mask, ir.Constant(mask.type, [0] * self.lanes))


def finish_vector(
    b: ir.IRBuilder,
    spec: Products,
    acc: ir.Value,
    places: Sequence[ir.Value],
    mask: ir.Value | None,
) -> None:
    """The epilogue of one vector, whose operands are at ``places``."""
    each, still = zip(places, spec.operands, strict=True), i64(0)
    operands = [OperandAtTile(at, still, still, operand) for at, operand in each]
    shape = Shape(1, 1, spec.lanes, mask is not None)
    Epilogue(b, spec.body, shape, operands, mask).emit([acc])


def moved(
    b: ir.IRBuilder,
    spec: Products,
    places: Sequence[ir.Value],
    strides: Sequence[Mapping[str, ir.Value]],
    axis: str,
) -> list[ir.Value]:
    """The operands' addresses one step further along an axis."""
    return [
        offset(b, at, b.mul(s[axis], i64(DTYPES[o.dtype].bytes)))
        for at, s, o in zip(places, strides, spec.operands, strict=True)
    ]
