"""Register tiles, parts and chunks: how a contraction is cut, by its sizes and the processor alone."""

from __future__ import annotations

from dataclasses import dataclass

L2 = 512 * 1024  # bytes that stay in a core's second-level cache beside what passes through it
CACHE = 384 * 1024  # bytes of A and B that a chunk of a long reduction may touch
STREAM = 16  # bytes of memory a core reads in a cycle
WORTH = 400_000  # multiply-adds that are worth a part of their own


@dataclass(frozen=True, slots=True)
class Target:
    """What the planner must know of a processor: float32 lanes of a vector, vector registers."""

    lanes: int = 16
    registers: int = 32


def tile_cycles(rows: int, vectors: int) -> float:
    """Cycles of one step of the reduction: two multiply-adds or two loads a cycle, latency four."""
    return max(rows * vectors / 2, (rows + vectors) / 2, 4.0 if rows * vectors < 8 else 0.0)


def is_streamed(rows: int, n: int, k: int, target: Target) -> bool:
    """A result far larger than what it is made of, as the weight gradient of a large layer: written
    row by row, because its memory traffic is all that counts."""
    return k <= 64 and n >= 8 * target.lanes and 4 * rows * n > 8 * L2


def choose_tile(
    m: int, row_count: int, n: int, k: int, target: Target, streamed: bool = False
) -> tuple[int, int]:
    """(rows, vectors) of the register tile with the least estimated time.

    ``row_count`` times m rows and n columns are to be computed over a reduction of depth k.
    """
    vectors = -(-n // target.lanes)

    def cost(rows: int, width: int) -> float:
        def column(v: int) -> float:
            full, tail = divmod(m, rows)
            once = [(full, rows), (1, tail)] if tail else [(full, rows)]
            panel = 4 * k * v * target.lanes
            again = panel / STREAM if panel > L2 else 0.0  # each row tile reads B from memory anew
            return sum(c * (k * tile_cycles(r, v) + 24 + 2 * r * v + again) for c, r in once)

        full, tail = divmod(vectors, width)
        return row_count * (full * column(width) + (column(tail) if tail else 0.0))

    shapes = [
        (r, v)
        for v in range(1, min(vectors, 8) + 1)
        for r in range(1, min(m, 28) + 1)
        if r * v + v + 1 <= target.registers
    ]
    if streamed:
        return max(shapes, key=lambda s: (s[1], s[0]))
    return min(shapes, key=lambda s: (round(cost(*s), 3), -s[0] * s[1], s))


def choose_parts(tiles: int, blocks: int, work: int, b_larger: bool) -> tuple[int, int]:
    """(row parts, column parts): by the work alone, so that results are the same for any number of
    threads."""
    wanted = max(1, min(64, work // WORTH))
    if b_larger:
        columns = min(blocks, wanted)
        return min(tiles, -(-wanted // columns)), columns
    rows = min(tiles, wanted)
    return rows, min(blocks, -(-wanted // rows))


def choose_chunk(m: int, s: int, k: int, n: int, depth: int) -> int:
    """How much of s (or of k, where s is 1) a chunk of a long reduction takes; 0: it is not cut.

    For contractions that read A across its rows, as the weight gradient reads images: there every
    tile would stream all of A and B anew.
    """
    step = 4 * (m + n)
    if depth * step <= 2 * CACHE:
        return 0
    if s > 1:
        return max(1, CACHE // (step * k))
    return max(d for d in range(1, k + 1) if k % d == 0 and (d == 1 or d * step <= CACHE))
