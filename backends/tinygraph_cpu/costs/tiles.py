"""How a contraction is cut on a processor: register tiles, parts, chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.contraction import SQUARE, Contraction, word_of
from tinygraph.plan.records.target import EVERY, Cut, Product

from .caches import LINE, NOMINAL, Caches
from .dots import Dots
from .matrix import WRITE, MatrixProduct, blocks_of, product_cycles
from .parts import choose_parts
from .steps import tile_cycles

STREAM = 16  # bytes of memory a core reads in a cycle
TAIL = 1.25  # slowdown of a partial tile for the remaining rows
FETCH = 24  # bytes that the first cache gets from the second in a cycle
SHALLOW = 64  # a reduction so short is neither cut nor worth the order of a long one
FEW_PARTS = 8  # of a reduction in chunks
PIECE = 5  # what an element of a piece's result costs, in elements of operands that are streamed
HIGH = 5  # rows of a window from which on they are read from the first cache
GROUPED = 3  # registers of a row whose channels are copied to lanes: sums, the row, the copy
WINDOWS = 14  # rows of a tile with the batch across its lanes: accumulators for all registers
DOT = 4  # what a multiply-add of few columns costs if the reduction is across the lanes: it waits
WIDE = 4  # columns to a row from which on those products are shared out by columns
APART = 4  # what one costs where each column has rows of A of its own: it waits for its operands
FEW_ROWS = 7  # of A: below this many, time is bound by streaming B once

# These decide the order of sums, so they are the same on every machine, whatever its caches are.
CHUNK = 384 * 1024  # bytes of A and B that a chunk of a long reduction may touch
SKINNY = 8 * NOMINAL.second  # bytes of a B that a few rows of A read once, in chunks


@dataclass(frozen=True, slots=True)
class Core:
    """The processor as tiles see it: float32 lanes of a vector, vector registers, caches, and
    whether it has matrix registers. ``chunk`` is CHUNK except in tests of chunks. ``plain`` asks
    for code that is compiled quickly: tiles of one vector, of which the last have no code of their
    own.
    """

    lanes: int
    registers: int
    caches: Caches = NOMINAL
    chunk: int = CHUNK
    matrix: bool = False
    plain: bool = False

    def cut(self, p: Product) -> Cut:
        """The cut of a contraction."""
        way = self.fastest(p)
        return replace(way, tails=False) if self.plain else way

    def fastest(self, p: Product) -> Cut:
        m, n, depth, count = p.rows, p.columns, p.depth, p.batch * p.outer
        if p.lanes_along == "batch":
            return self.cut_batch(p)
        if p.lanes_along == "reduction":
            return self.cut_dots(p)
        if (way := self.cut_matrix(p)) is not None:
            return way
        r, s, k = p.reduction
        shallow = depth <= SHALLOW
        # where A is read across its rows, as the weight gradient reads images, every tile would
        # stream all of A and B anew, unless a chunk of both stays in cache meanwhile
        chunked = p.across and not p.packed and not shallow and depth * 4 * (m + n) > 2 * self.chunk
        skinny = not p.packed and count == r == s == 1 and m <= 28 and 4 * n * k > SKINNY
        # chunks follow from the tile, so it must not follow from this machine's caches
        core = replace(self, caches=NOMINAL) if chunked else self
        tile = core.choose_tile(m, count, n, depth, wide=skinny, cached=chunked)
        tiles, blocks = count * -(-m // tile[0]), -(-n // (tile[1] * self.lanes))
        if skinny:  # B is large and stored row by row: it is read so, a few rows at a time
            return Cut(*tile, 1, min(blocks, 8), 1, divisor(k, 64))
        if not chunked:
            # where all of B stays in cache, or the result is far larger than its operands, A and
            # the result are passed over once, row after row
            near = shallow or 4 * n * depth <= self.caches.second
            work = max(count * m, FEW_ROWS) * n * depth
            # Rows of A are where the thread that computed them left them: columns are shared out
            # only where the weights are larger than A and the result together.
            heavy = n * depth > count * m * (n + depth)
            far = 4 * n * depth > 2 * self.caches.second
            again = 8 * self.lanes / (STREAM * count * m) if far else 0.0
            parts = choose_parts(tiles, blocks, work, heavy, again)
            share = -(-count * m // parts[0]), -(-n // parts[1])
            return Cut(*tile, *parts, row_group=1 if near else self.row_group(tile, share, depth))
        pieces, row_parts, column_parts = chunk_parts(
            (tiles, blocks), (m, n), depth, count * m * n, p.longest
        )
        width = tile[1] * self.lanes
        chunk = self.choose_chunk((m, n), (row_parts, column_parts), (s, k), width)
        chunk, inner = (1, chunk) if s == 1 else (chunk, 0)
        return Cut(*tile, row_parts, column_parts, chunk, inner, pieces=pieces)

    def cut_matrix(self, p: Product) -> Cut | None:
        """The cut for matrix registers; None where there are none, or vectors are faster."""
        if not (self.matrix and p.packed and word_of(p.factors) > 1):
            return None
        (r, s, k), count = p.reduction, p.batch * p.outer
        steps = r * s * -(-k // SQUARE)
        fresh = -(-p.fresh // SQUARE)
        whole = MatrixProduct(count, p.rows, p.columns, steps, fresh, p.lines, p.pitch)
        best = min(whole.shapes(), key=lambda t: (round(whole.cycles(*t)), -prod(t), t))
        cycles, sizes = whole.cycles(*best), (p.rows, count, p.columns, p.depth)
        tile, lines = best[:2], best[2]
        vectors = self.choose_tile(*sizes)
        if cycles >= self.cycles(*vectors, *sizes) + WRITE * count * p.rows * -(-p.columns // 16):
            return None
        tiles = count // lines * -(-p.rows // tile[0])
        blocks = -(-p.columns // (tile[1] * SQUARE))
        in_b = 4 * p.columns * p.depth
        near = in_b <= self.caches.second or p.depth <= SHALLOW
        heavy = p.columns * p.depth > count * p.rows * (p.columns + p.depth)
        floats = DTYPES[p.factors[0]].is_float  # sums of integers have no memory between pieces
        if floats and (pieces := matrix_pieces(p, tile, tiles * blocks)) > 1:
            return Cut(*tile, 1, 1, pieces=pieces, matrix=True, lines=lines)
        again = in_b / STREAM / cycles if in_b > self.caches.second else 0.0
        parts = choose_parts(tiles, blocks, round(2 * self.lanes * cycles), heavy, again)
        group = 1 if near else EVERY
        return Cut(*tile, *parts, row_group=group, matrix=True, lines=lines)

    def cut_batch(self, p: Product) -> Cut:
        """The cut of a product with the batch across its lanes, such as a depthwise convolution.

        Rows of a picture are gone through as they are stored, with all channels. Where windows are
        high, so that each row is read many times, it stays in the first cache for one vector of
        channels: all rows of a part are computed for that, then for the next.
        """
        m, n, count, work = p.rows, p.columns, p.batch * p.outer, APART * p.columns * p.depth
        tile, group = self.choose_tile(m, count, n, p.depth), 1
        if p.group > 1:
            most = (self.registers - 2) // GROUPED
            tile = -(-m // -(-m // most)), 1
        elif not self.plain and m > FEW_ROWS and HIGH <= p.reduction[1] <= 2 * HIGH:
            tile, group = (-(-m // -(-m // WINDOWS)), 1), EVERY
        tiles, blocks = count * -(-m // tile[0]), -(-n // (tile[1] * self.lanes))
        wide = n > WIDE * count * m
        parts = choose_parts(tiles, blocks, max(count * m, FEW_ROWS) * work, wide)
        return Cut(*tile, *parts, row_group=group)

    def cut_dots(self, p: Product) -> Cut:
        """The cut of a product whose reduction is across its lanes."""
        n, count = p.columns, p.batch * p.outer
        rows, columns = self.dots(p).tile()
        tiles, blocks = count * -(-p.rows // rows), -(-n // columns)
        work = count * p.rows * (p.depth * max(DOT, n) + DOT * self.lanes * n)
        parts = choose_parts(tiles, blocks, work, False)
        return Cut(rows, columns, *parts, row_group=EVERY if blocks == 1 else 1)

    def dots(self, p: Product) -> Dots:
        sizes = p.batch * p.outer, p.rows, p.columns, p.reduction
        return Dots(*sizes, self.lanes, self.registers)

    def across(self, columns: Product, reduction: Product) -> bool:
        """True if a product is faster with its reduction across the lanes than with its columns, by
        the same caches everywhere: the order of its sums follows.
        """
        p, dots, core = columns, self.dots(reduction), replace(self, caches=NOMINAL)
        if p.columns >= self.lanes:
            return False
        sizes = p.rows, p.batch * p.outer, p.columns, p.depth
        return dots.cycles(*dots.tile()) < core.cycles(*core.choose_tile(*sizes), *sizes)

    def row_group(self, tile: tuple[int, int], share: tuple[int, int], depth: int) -> int:
        """How many row tiles of a part meet one block of columns after another together.

        If all do, the part's rows of A come from beyond the second cache for each block of columns;
        if as many do as stay there, its columns of B for each group of rows. ``share`` is how many
        rows and columns a part has.
        """
        (rows, columns), width = share, tile[1] * self.lanes
        group = self.caches.second // (4 * depth * tile[0])
        if not group or group * tile[0] >= rows:
            return EVERY
        together = columns + -(-columns // width) * rows
        grouped = rows + -(-rows // (group * tile[0])) * columns
        return group if grouped < together else EVERY

    def choose_tile(
        self,
        m: int,
        row_count: int,
        n: int,
        k: int,
        *,
        wide: bool = False,
        cached: bool = False,
    ) -> tuple[int, int]:
        """(rows, vectors) of the register tile with the least estimated time.

        ``row_count`` times m rows and n columns are computed over a reduction of depth k.
        ``wide`` asks for as many columns as there are registers for; ``cached`` promises that what
        a tile reads of B is in cache.
        """
        if self.plain:
            return min(m, self.registers - 2), 1  # one register for B's vector, one for A's number
        vectors = -(-n // self.lanes)
        shapes = [
            (r, v)
            for v in range(1, min(vectors, 8) + 1)
            for r in range(1, min(m, 28) + 1)
            if r * v + v + 1 <= self.registers
        ]
        if wide:
            return max(shapes, key=lambda s: (s[1], s[0]))

        cost = partial(self.cycles, m=m, row_count=row_count, n=n, k=k, cached=cached)
        return min(shapes, key=lambda s: (round(cost(*s), 3), -s[0] * s[1], s))

    def cycles(
        self, rows: int, width: int, m: int, row_count: int, n: int, k: int, cached: bool = False
    ) -> float:
        """Of a contraction in tiles of ``rows`` x ``width`` vectors."""
        column = partial(self.column_cycles, rows, m, row_count, k, n, cached)
        full, tail = divmod(-(-n // self.lanes), width)
        return row_count * (full * column(width) + (column(tail) if tail else 0.0))

    def column_cycles(
        self, rows: int, m: int, row_count: int, k: int, n: int, cached: bool, vectors: int
    ) -> float:
        """Cycles of all of m rows, in tiles of ``rows``, with one block of columns."""
        full, tail = divmod(m, rows)
        last = TAIL if full < 4 else 1  # counts where there are few tiles
        once = [(full, rows), (last, tail)] if tail else [(full, rows)]
        panel = 4 * k * vectors * self.lanes
        # each row tile reads B from memory again,
        again = panel / STREAM if panel > self.caches.second and not cached else 0.0
        # or from the next cache, unless another tile has just read it, or all of B is near
        near = 4 * k * n <= self.caches.first or (
            panel <= self.caches.first and (row_count > 1 or m > rows)
        )
        fetch = 0.0 if near else 4 * vectors * self.lanes / FETCH
        return sum(
            c * (k * max(tile_cycles(r, vectors), fetch) + 24 + 2 * r * vectors + again)
            for c, r in once
        )

    def choose_chunk(
        self, sides: tuple[int, int], parts: tuple[int, int], inner: tuple[int, int], width: int
    ) -> int:
        """How much of s (or of k, where s is 1) a chunk of a long reduction takes.

        So much that all of A's m and B's n = ``sides`` stay in the second cache; but at least what
        a part of them allows, as long as a tile's share, of ``width`` columns, stays in the first.
        """
        (m, n), (rows, columns), (s, k) = sides, parts, inner
        small = min(
            self.chunk // (4 * (m // rows + n // columns)), NOMINAL.first // (4 * width + 2 * LINE)
        )
        depth = max(1, self.chunk // (4 * (m + n)), small)
        return max(1, depth // k) if s > 1 else divisor(k, depth)


def step_cycles(spec: Contraction, rows: int) -> float:
    """Cycles of one step of a tile with so many rows, by the registers that it is in."""
    if spec.matrix:
        return product_cycles(*blocks_of(rows + spec.height - spec.rows), spec.vectors)
    return tile_cycles(rows, spec.vectors)


def matrix_pieces(p: Product, tile: tuple[int, int], tiles: int) -> int:
    """Into how many pieces a long sum in matrix registers is cut, as many as it takes for both
    operands of a piece to stay in the second cache while all tiles pass. They multiply so fast that
    each would else wait for memory.
    """
    operands = 4 * p.depth * (p.rows + p.columns)
    counts = [d for d in range(1, p.longest + 1) if p.longest % d == 0]
    pieces = next((d for d in counts if operands <= d * NOMINAL.second), counts[-1])
    streamed = 4 * p.depth * tiles * (tile[0] + tile[1] * SQUARE)
    sums = 4 * p.batch * p.outer * p.rows * p.columns
    return pieces if streamed > 2 * operands + 2 * PIECE * pieces * sums else 1


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
