"""Cycles of tiles in matrix registers, measured on a Sapphire Rapids at 3 GHz.

Products of 16 rows with 16 columns and 16 words take 16 cycles if operands are in the first cache,
at most a few less with fewer rows, and as long with fewer words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tinygraph.plan.records.contraction import SQUARE

SUMS = 4  # registers for sums
ROW_BYTES = 4 * SQUARE  # of a register
START, ROW = 9.5, 0.5  # cycles of an instruction's products: these, and some for each row
FETCH = 30  # bytes that the first cache gets from the second in a cycle
WRITE = 12  # cycles of the epilogue for each vector of sums
BEGIN = 60  # cycles in which a tile begins and ends
CONFIGURE = 300  # cycles that it takes to configure registers for other rows, and back
LINES = 4  # cache lines that a step fetches for later launches
FIRST = 40 * 1024  # bytes of the first cache: processors that have such registers have 48 KB


def blocks_of(rows: int) -> tuple[int, int]:
    """(blocks of a tile's rows, rows of each)."""
    blocks = -(-rows // SQUARE)
    return blocks, -(-rows // blocks)


def tail_blocks(tail: int, high: int) -> tuple[int, int]:
    """The same of the rows that remain: in blocks of ``high`` rows as before, if they suffice."""
    return (-(-tail // high), high) if tail >= high else (1, tail)


def product_cycles(blocks: int, high: int, vectors: int) -> float:
    """Cycles of one step of a tile's reduction."""
    return blocks * vectors * (START + ROW * high)


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """A contraction's sizes: ``count`` times m rows, n columns, ``steps`` of 16 words, of which
    ``fresh`` read what no other row of A has; ``lines`` and ``pitch`` as in ``Product``.
    """

    count: int
    m: int
    n: int
    steps: int
    fresh: int
    lines: int = 1
    pitch: int = 0

    def shapes(self) -> Iterator[tuple[int, int, int]]:
        """All tiles (rows, vectors, lines)."""
        for vectors in range(1, min(SUMS, -(-self.n // SQUARE)) + 1):
            most = SQUARE * (SUMS // vectors)
            for rows in range(1, min(self.m, most) + 1):
                yield rows, vectors, 1
            for lines in range(2, self.lines + 1 if self.pitch else 0):
                if self.lines % lines == 0 and self.height(self.m, lines) <= most:
                    yield self.m, vectors, lines

    def height(self, rows: int, lines: int) -> int:
        return (lines - 1) * self.pitch + rows

    def cycles(self, rows: int, width: int, lines: int) -> float:
        """Of all of it, in tiles of ``rows`` x ``width`` vectors."""
        full, tail = divmod(-(-self.n // SQUARE), width)
        if lines > 1:
            blocks = blocks_of(self.height(rows, lines))
            column = partial(self.tile, lines * rows, *blocks)
        else:
            column = partial(self.column, rows)
        total = column(width) * full + (column(tail) if tail else 0.0)
        return self.count // lines * total

    def column(self, rows: int, vectors: int) -> float:
        """Of m rows with a block of columns."""
        full, tail = divmod(self.m, rows)
        blocks = blocks_of(rows)
        total = full * self.tile(rows, *blocks, vectors)
        if tail:
            rest = tail_blocks(tail, blocks[1])
            total += self.tile(tail, *rest, vectors) + CONFIGURE * (rest[1] != blocks[1])
        return total

    def tile(self, rows: int, blocks: int, high: int, vectors: int) -> float:
        products = self.steps * product_cycles(blocks, high, vectors)
        fetch = self.fetched(blocks * high, vectors) / FETCH
        return max(products, fetch) + BEGIN + WRITE * rows * vectors

    def fetched(self, height: int, vectors: int) -> int:
        """Bytes that a tile needs in the first cache, unless all that it multiplies is there: the
        rows of A, and the columns of B if they do not stay from tile to tile.
        """
        in_a = self.fresh * height * ROW_BYTES
        in_b = self.steps * vectors * SQUARE * ROW_BYTES
        if in_a + in_b <= FIRST:
            return 0
        return in_a + (in_b if max(in_a, in_b) > FIRST else 0)
