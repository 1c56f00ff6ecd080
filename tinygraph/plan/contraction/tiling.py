"""How a contraction is cut: register tiles, parts, chunks; by sizes and processor alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import product
from math import prod

L2 = 512 * 1024  # bytes that stay in a core's second-level cache beside what passes through it
CACHE = 384 * 1024  # bytes of A and B that a chunk of a long reduction may touch
STREAM = 16  # bytes of memory a core reads in a cycle
TAIL = 1.25  # how much longer a tile takes that is there for the last rows only
LINE = 64  # bytes of a cache line; A's rows of a tile lie in one or two
L1, FETCH = 32 * 1024, 24  # bytes of the first cache, and bytes that it gets from L2 in a cycle
SHALLOW = 64  # a reduction so short is neither cut nor worth the order of a long one
FEW_PARTS = 8  # of a reduction in chunks
EVERY = 1 << 30  # more row tiles than there are
PIECE = 5  # what an element of a piece's result costs, in elements of operands that are streamed
FEW_ROWS = 7  # of A: fewer wait for B, which they read once
WORTH = 400_000  # multiply-adds that are worth a part of their own
PART = 5_000  # multiply-adds in the time that it takes to claim a part and to begin it
TEAMS = (2, 4)  # threads among which parts should come out even


@dataclass(frozen=True, slots=True)
class Cut:
    """How one contraction is cut.

    Attributes:
        rows, vectors: the register tile.
        row_parts, column_parts: pieces that may run concurrently.
        chunk: how much of s is reduced at a time; 0: all of the reduction.
        inner: into what k is cut first, the rest of it becoming s; 0: k stays as it is.
        row_group: row tiles that meet one block of columns after another together.
        splits: into how many the reduction is cut that are computed at once, and added up after.
        pieces: of the reduction, which are contractions by themselves; what else stands here is
            for each of them.
    """

    rows: int
    vectors: int
    row_parts: int
    column_parts: int
    chunk: int = 0
    inner: int = 0
    row_group: int = EVERY
    splits: int = 1
    pieces: int = 1


@dataclass(frozen=True, slots=True)
class Target:
    """What the planner must know of a processor: float32 lanes of a vector, vector registers,
    whether its backend has the kernels of Winograd convolutions, and how many devices it has (None:
    as many as are named).

    Attributes:
        packs: whether contractions want B in blocks of contiguous columns; otherwise they read it
            with any strides, one column a block, and nothing is copied.
    """

    lanes: int = 16
    registers: int = 32
    winograd: bool = True
    devices: int | None = 1
    packs: bool = True

    def cut(
        self,
        rows: tuple[int, int, int],
        n: int,
        reduction: tuple[int, int, int],
        packed: bool,
        across: bool,
        longest: int = 1,
    ) -> Cut:
        """The cut of a contraction of rows[0] * rows[1] times m = ``rows[2]`` rows and n columns.

        Args:
            rows: sizes of the batch, of the outer rows together, and of m.
            reduction: sizes of r, s and k.
            packed: whether B lies in blocks of the tile's width.
            across: whether rows of A are contiguous, so that the reduction strides over A.
            longest: size of the axis along which the reduction may be cut into pieces.
        """
        count, m, (r, s, k) = rows[0] * rows[1], rows[2], reduction
        depth = r * s * k
        shallow = depth <= SHALLOW
        # where A is read across its rows, as the weight gradient reads images, every tile would
        # stream all of A and B anew, unless a chunk of both stays in cache meanwhile
        chunked = across and not packed and not shallow and depth * 4 * (m + n) > 2 * CACHE
        skinny = not packed and count == r == s == 1 and m <= 28 and 4 * n * k > 8 * L2
        tile = choose_tile(m, count, n, depth, self, wide=skinny, cached=chunked)
        tiles, blocks = count * -(-m // tile[0]), -(-n // (tile[1] * self.lanes))
        if skinny:  # B is large and lies row by row: it is read so, a few rows at a time
            return Cut(*tile, 1, min(blocks, 8), 1, divisor(k, 64))
        if not chunked:
            # where all of B stays in cache, or the result is far larger than its operands, A and
            # the result are passed over once, row after row
            work = max(count * m, FEW_ROWS) * n * depth
            parts = choose_parts(tiles, blocks, work, n * 2 > count * m)
            return Cut(*tile, *parts, row_group=1 if shallow or 4 * n * depth <= L2 else EVERY)
        pieces, row_parts, column_parts = chunk_parts(
            (tiles, blocks), (m, n), depth, count * m * n, longest
        )
        width = tile[1] * self.lanes
        chunk = choose_chunk((m, n), (row_parts, column_parts), (s, k), width)
        chunk, inner = (1, chunk) if s == 1 else (chunk, 0)
        return Cut(*tile, row_parts, column_parts, chunk, inner, pieces=pieces)


def tile_cycles(rows: int, vectors: int) -> float:
    """Cycles of one step of the reduction: two multiply-adds or two loads a cycle, latency four."""
    return max(rows * vectors / 2, (rows + vectors) / 2, 4.5 if rows * vectors < 10 else 0.0)


def chunk_parts(
    most: tuple[int, int], sides: tuple[int, int], depth: int, result: int, longest: int
) -> tuple[int, int, int]:
    """(pieces of the reduction, row parts, column parts): few, and with the least to stream.

    Every share of the columns streams all of A's m = ``sides[0]`` rows, every share of the rows
    all of B's n = ``sides[1]`` columns; several pieces store their results, which another launch
    adds up.
    """
    m, n = sides
    ways = [
        (pieces, rows, columns)
        for pieces in range(1, min(longest, FEW_PARTS) + 1)
        for rows in range(1, min(most[0], FEW_PARTS) + 1)
        for columns in range(1, min(most[1], FEW_PARTS) + 1)
        if longest % pieces == 0 and pieces * rows * columns <= 2 * FEW_PARTS
    ]
    enough = min(FEW_PARTS, max(map(prod, ways)))

    def streamed(way: tuple[int, int, int]) -> int:
        pieces, rows, columns = way
        return depth * (columns * m + rows * n) + (PIECE * pieces * result if pieces > 1 else 0)

    return min((way for way in ways if prod(way) >= enough), key=lambda way: (streamed(way), way))


def divisor(size: int, most: int) -> int:
    """The largest divisor of size that is at most ``most``."""
    return max(d for d in range(1, min(size, most) + 1) if size % d == 0)


def choose_tile(
    m: int,
    row_count: int,
    n: int,
    k: int,
    target: Target,
    wide: bool = False,
    cached: bool = False,
) -> tuple[int, int]:
    """(rows, vectors) of the register tile with the least estimated time.

    ``row_count`` times m rows and n columns are to be computed over a reduction of depth k.
    ``wide`` asks for as many columns as there are registers for; ``cached`` promises that what a
    tile reads of B is in cache.
    """
    vectors = -(-n // target.lanes)

    def cost(rows: int, width: int) -> float:
        def column(v: int) -> float:
            full, tail = divmod(m, rows)
            last = TAIL if full < 4 else 1  # counts where there are few tiles
            once = [(full, rows), (last, tail)] if tail else [(full, rows)]
            panel = 4 * k * v * target.lanes
            # each row tile reads B from memory anew,
            again = panel / STREAM if panel > L2 and not cached else 0.0
            # or from the next cache, unless another tile has just read it, or all of B is near
            near = 4 * k * n <= L1 or (panel <= L1 and (row_count > 1 or m > rows))
            fetch = 0.0 if near else 4 * v * target.lanes / FETCH
            return sum(
                c * (k * max(tile_cycles(r, v), fetch) + 24 + 2 * r * v + again) for c, r in once
            )

        full, tail = divmod(vectors, width)
        return row_count * (full * column(width) + (column(tail) if tail else 0.0))

    shapes = [
        (r, v)
        for v in range(1, min(vectors, 8) + 1)
        for r in range(1, min(m, 28) + 1)
        if r * v + v + 1 <= target.registers
    ]
    if wide:
        return max(shapes, key=lambda s: (s[1], s[0]))
    return min(shapes, key=lambda s: (round(cost(*s), 3), -s[0] * s[1], s))


def choose_parts(tiles: int, blocks: int, work: int, b_larger: bool) -> tuple[int, int]:
    """(row parts, column parts) of so many row tiles and column blocks, which keep threads equally
    busy, and cut the larger operand rather than the other: by the work alone, so that a plan is the
    same for any number of threads."""
    most = max(1, min(64, work // WORTH))
    ways = [(r, c) for r in shares(tiles) for c in shares(blocks) if r * c <= most]
    least = min(most // 4, max(map(prod, ways)))  # and enough of them where a thread is held up
    start = PART * tiles * blocks / work

    def rank(way: tuple[int, int]) -> tuple[float, int, float]:
        rows, columns = (portions(n, parts) for n, parts in zip((tiles, blocks), way, strict=True))
        time = busy([start + r * c for r, c in product(rows, columns)]) / (tiles * blocks)
        return round(time, 1), way[0] if b_larger else way[1], time

    return min((way for way in ways if prod(way) >= least), key=rank)


def portions(n: int, parts: int) -> list[int]:
    """n things as equally as they go, in the order of the parts."""
    return [-(-n * (i + 1) // parts) - -(-n * i // parts) for i in range(parts)]


def busy(times: Sequence[float]) -> float:
    """Time of all threads until the last is ready, for small teams together, if parts that take so
    long are begun in order.
    """
    total = 0.0
    for team in TEAMS:
        until = [0.0] * team
        for time in times:
            heapreplace(until, until[0] + time)
        total += team * max(until)
    return total


def shares(n: int) -> list[int]:
    """Into how many parts n is cut with profit: fewer for the same largest part are no worse."""
    return sorted({-(-n // -(-n // parts)) for parts in range(1, min(n, 64) + 1)})


def choose_chunk(
    sides: tuple[int, int], parts: tuple[int, int], inner: tuple[int, int], width: int
) -> int:
    """How much of s (or of k, where s is 1) a chunk of a long reduction takes.

    So much that all of A's m and B's n = ``sides`` stay in the second cache; but at least what a
    part of them allows, as long as a tile's share, of ``width`` columns, stays in the first.
    """
    (m, n), (rows, columns), (s, k) = sides, parts, inner
    small = min(CACHE // (4 * (m // rows + n // columns)), L1 // (4 * width + 2 * LINE))
    depth = max(1, CACHE // (4 * (m + n)), small)
    return max(1, depth // k) if s > 1 else divisor(k, depth)
