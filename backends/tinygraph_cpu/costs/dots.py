"""Cycles of tiles whose reduction is across the lanes: rows x columns sums of products of vectors.

A step loads a vector of each row and of each column, and multiplies all with all; in the end the
lanes of each sum are added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .steps import tile_cycles

ROWS = 8  # of a tile with one column: two multiply-adds a cycle, latency four
COLUMNS = 8  # of a tile at most
BEGIN = 80  # cycles in which a tile begins and ends
FETCHED = 2  # lines that a step fetches
LOOP = 4  # cycles in which a row of the reduction begins and ends
SUM, ROW = 1.0, 2.0  # cycles to add up a sum's lanes; of the epilogue for each row


@dataclass(frozen=True, slots=True)
class Dots:
    """A contraction's sizes: ``count`` times m rows, n columns, over a reduction of (r, s, k)."""

    count: int
    m: int
    n: int
    reduction: tuple[int, int, int]
    lanes: int
    registers: int

    def tile(self) -> tuple[int, int]:
        """(rows, columns) of the tile with the least estimated time."""
        return min(self.shapes(), key=lambda t: (round(self.cycles(*t)), -t[0] * t[1], t))

    def shapes(self) -> Iterator[tuple[int, int]]:
        """All tiles that fit the registers."""
        for columns in range(1, min(self.n, self.lanes, COLUMNS) + 1):
            most = ROWS if columns == 1 else (self.registers - 1) // columns - 1
            for rows in range(1, min(self.m, most) + 1):
                yield rows, columns

    def cycles(self, rows: int, columns: int) -> float:
        """Of all of it, in tiles of these rows and columns."""
        full, tail = divmod(self.n, columns)
        each = self.column(rows, columns) * full + (self.column(rows, tail) if tail else 0.0)
        return self.count * each

    def column(self, rows: int, columns: int) -> float:
        """Of m rows with a block of columns."""
        full, tail = divmod(self.m, rows)
        return full * self.once(rows, columns) + (self.once(tail, columns) if tail else 0.0)

    def once(self, rows: int, columns: int) -> float:
        """Of one tile. Rows that do not begin at vectors cross lines of the cache."""
        r, s, k = self.reduction
        loads = rows * (2 if k % self.lanes else 1) + columns + FETCHED
        step = max(tile_cycles(rows, columns), loads / 2)
        steps = -(-k // self.lanes) * step + LOOP
        return r * s * steps + BEGIN + SUM * rows * columns + ROW * rows
