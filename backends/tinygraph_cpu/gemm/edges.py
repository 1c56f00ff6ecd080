"""The edges of A, beyond which a tile reads zeros: taps are skipped, or rows tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from tinygraph.plan.records.contraction import EDGE, Edge

from .arguments import minimum
from .tile import Reduction, i64, offset, pointer


@dataclass(frozen=True, slots=True)
class Rim:
    """An edge that the rows of a tile meet at different taps.

    Attributes:
        edge: of the record.
        first, size: the position of row 0 at tap 0, and the size of the axis.
        begin, count: the taps at which all rows are inside.
        zeros: where a row is read that is beyond.
    """

    edge: Edge
    first: ir.Value
    size: ir.Value
    begin: ir.Value
    count: ir.Value
    zeros: ir.Value

    def inside(self, b: ir.IRBuilder, tap: ir.Value) -> ir.Value:
        """Whether all rows are, at this tap."""
        return b.icmp_unsigned("<", b.sub(tap, self.begin), self.count)

    def choose(self, b: ir.IRBuilder, tap: ir.Value) -> Callable[[int, ir.Value], ir.Value]:
        """Gives a row's address at this tap, or that of zeros."""
        at = b.add(self.first, b.mul(tap, i64(self.edge.tap_step)))

        def row(number: int, address: ir.Value) -> ir.Value:
            position = b.add(at, i64(number * self.edge.row_step))
            return b.select(b.icmp_unsigned("<", position, self.size), address, self.zeros)

        return row


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of a kernel's record, with the words of its argument block."""

    edges: Sequence[Edge]
    words: Sequence[Mapping[str, ir.Value]]
    zeros: ir.Value

    @staticmethod
    def begin(
        b: ir.IRBuilder, edges: Sequence[Edge], load: Callable[[int], ir.Value], row: ir.VectorType
    ) -> Edges:
        """``load`` gives a word by its number among those of the edges; ``row`` is as wide as what
        a tile reads of a row. Emitted in a function's first block.
        """
        size = len(EDGE)
        words = [
            {name: load(number * size + i) for i, name in enumerate(EDGE)}
            for number in range(len(edges))
        ]
        zeros = b.alloca(row) if edges else ir.Constant(pointer, None)
        if edges:
            b.store(ir.Constant(row, None), zeros)
        return Edges(edges, words, zeros)

    def corner(self) -> list[tuple[ir.Value, ir.Value]]:
        """Where the first row is at the first tap: positions and strides."""
        return [(words["at"], words["stride"]) for words in self.words]

    def skip(
        self,
        b: ir.IRBuilder,
        at: Mapping[str, ir.Value],
        operands: tuple[ir.Value, ir.Value],
        reduction: Reduction,
    ) -> tuple[tuple[ir.Value, ir.Value], Reduction]:
        """The addresses of A and B at the first taps that are inside, and the reduction over all
        that are: those of the edges that all rows of a tile meet together.
        """
        counts, (first, second) = list(reduction.counts), operands
        for edge, words in zip(self.edges, self.words, strict=True):
            if edge.row == "m":
                continue
            loop = "rsk".index(edge.tap)
            position = words["at"]
            if edge.row:
                position = b.add(position, b.mul(at[edge.row], i64(edge.row_step)))
            begin, end = inside(b, edge, (position, position), words["size"], counts[loop])
            first = offset(b, first, b.mul(begin, reduction.a_strides[loop]))
            second = offset(b, second, b.mul(begin, reduction.b_strides[loop]))
            counts[loop] = b.sub(end, begin)
        return (first, second), replace(reduction, counts=counts)

    def rim(self, b: ir.IRBuilder, row: ir.Value, rows: int, reduction: Reduction) -> Rim | None:
        """The edge that ``rows`` rows from ``row`` on meet at different taps, if there is one."""
        for edge, words in zip(self.edges, self.words, strict=True):
            if edge.row == "m":
                first = b.add(words["at"], b.mul(row, i64(edge.row_step)))
                last = b.add(first, i64((rows - 1) * edge.row_step))
                count = reduction.counts["rsk".index(edge.tap)]
                begin, end = inside(b, edge, (first, last), words["size"], count)
                return Rim(edge, first, words["size"], begin, b.sub(end, begin), self.zeros)
        return None


def inside(
    b: ir.IRBuilder,
    edge: Edge,
    positions: tuple[ir.Value, ir.Value],
    size: ir.Value,
    count: ir.Value,
) -> tuple[ir.Value, ir.Value]:
    """The first tap, and the one after the last, of ``count`` at which all from the first to the
    last of these positions, which are those at tap 0, are inside; the same if there is none.
    """
    first, last = positions
    begin = minimum(b, _steps(b, b.sub(i64(0), first), edge.tap_step), count)
    end = minimum(b, _steps(b, b.sub(size, last), edge.tap_step), count)
    return begin, b.select(b.icmp_signed("<", end, begin), begin, end)


def _steps(b: ir.IRBuilder, distance: ir.Value, step: int) -> ir.Value:
    """How many steps it takes to go this far."""
    some = b.select(b.icmp_signed(">", distance, i64(0)), distance, i64(0))
    return b.udiv(b.add(some, i64(step - 1)), i64(step))


def unless_empty(
    b: ir.IRBuilder,
    counts: Sequence[ir.Value],
    otherwise: Sequence[ir.Value],
    values: Callable[[], Sequence[ir.Value]],
) -> list[ir.Value]:
    """What ``values`` emits if no loop is empty, else ``otherwise``."""
    some = i64(1)
    for count in counts:
        some = b.select(b.icmp_signed(">", count, i64(0)), some, i64(0))
    return either(b, b.icmp_signed("!=", some, i64(0)), values, lambda: otherwise)


def either(
    b: ir.IRBuilder,
    condition: ir.Value,
    then: Callable[[], Sequence[ir.Value]],
    otherwise: Callable[[], Sequence[ir.Value]],
) -> list[ir.Value]:
    """The values that one of two pieces of code gives."""
    arms: list[tuple[ir.Block, Sequence[ir.Value]]] = []
    with b.if_else(condition) as branches:
        for branch, emit in zip(branches, (then, otherwise), strict=True):
            with branch:
                values = emit()
                arms.append((b.block, values))
    phis = []
    for pair in zip(*(values for _, values in arms), strict=True):
        phi = b.phi(pair[0].type)
        for (block, _), value in zip(arms, pair, strict=True):
            phi.add_incoming(value, block)
        phis.append(phi)
    return phis
