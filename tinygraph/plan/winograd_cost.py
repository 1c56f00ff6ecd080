"""The cost model of Winograd convolutions: how one is cut, and whether it pays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from .contract import Unsuitable
from .tiling import Target, tile_cycles
from .toom_cook import POINTS
from .winograd import Convolution


@dataclass(frozen=True, slots=True)
class Choice:
    """How a convolution is cut: output tiles of m x m, a part has ``lines`` tile rows and 1 /
    column_parts of the columns.
    """

    m: int
    rows: int
    vectors: int
    lines: int
    column_parts: int
    cycles: float


CACHE = (
    768 * 1024
)  # bytes of a part's transformed tiles and of a block of weights and products: within L2
STREAM = 8.0  # bytes a cycle from memory or the shared cache, for each core
PART = 3_000  # cycles that a part should at least take
ROWS = (4, 6, 8, 9, 14)  # of register tiles: few, so that layers share kernels

# The largest output tile that is chosen unasked. Rms errors against float64, relative to PyTorch's
# float32 (images without negative values, 16 to 160 channels): 3x3 filters 0.9 to 1.2 for tiles of
# 2, 2.6 to 3.2 for 4, 6 to 9 for 5, 10 to 13 for 6; 5x5 filters 2.3 for 2, 7.6 for 4.
LARGEST = 4


def direct_cycles(c: Convolution, target: Target) -> float:
    """Cycles of the implicit product on one core: 95 % of the multiply-adds' peak, or the
    weights' way from memory.
    """
    height, width = (x.size for x in c.outputs)
    vectors = -(-c.column.size // target.lanes)
    steps = c.group.size * c.batch.size * height * width * c.r**2 * c.channel.size * vectors
    weights = 4 * c.group.size * c.r**2 * c.channel.size * c.column.size
    return max(steps / 2 / 0.93, weights / STREAM)


def choose(c: Convolution, target: Target, wanted: int | None = None) -> Choice:
    """The cheapest way, by output tile ``wanted`` or any up to LARGEST."""
    tiles = [n - c.r + 1 for n in POINTS if n - c.r + 1 >= 2]
    if wanted is None:
        tiles = [m for m in tiles if m <= LARGEST]
    else:
        if wanted not in tiles:
            raise Unsuitable(
                f"there are no points for output tiles of {wanted} and filters of {c.r}"
            )
        tiles = [wanted]
    if not tiles:
        raise Unsuitable(f"there are no points for filters of {c.r}")
    options = [option for m in tiles for option in options_of(c, m, target)]
    return min(options, key=lambda o: (o.cycles, o.m, o.lines, o.column_parts, -o.rows, -o.vectors))


def options_of(c: Convolution, m: int, target: Target) -> list[Choice]:
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    lines = c.batch.size * tiles_y
    blocks = -(-c.column.size // target.lanes)
    counts = sorted({-(-lines // part) for part in range(1, lines + 1)})
    found = []
    for count, parts in product(counts, (1, 2, 3, 4, 6, 8)):
        if count * tiles_x > 400 or parts > blocks:
            continue
        tile = product_tile(count * tiles_x, blocks, parts, c.channel.size, target)
        found.append(Choice(m, *tile, count, parts, cycles(c, m, *tile, count, parts, target)))
    return found


def product_tile(
    tiles: int, vectors: int, column_parts: int, k: int, target: Target
) -> tuple[int, int]:
    """(rows, vectors) of the register tile for the products of ``tiles`` rows; tails of rows are
    computed whole.
    """
    widest = min(-(-vectors // column_parts), 6)
    shapes = [
        (r, min(widest, (target.registers - 1) // (r + 1)))
        for r in ROWS
        if r + 2 <= target.registers
    ]

    def cost(shape: tuple[int, int]) -> float:
        rows, width = shape
        full, tail = divmod(vectors, width)
        repeats = -(-tiles // rows)
        columns = full * product_cycles(rows, width, k) + (
            product_cycles(rows, tail, k) if tail else 0
        )
        return repeats * columns

    return min(shapes, key=lambda s: (cost(s), s))


def product_cycles(rows: int, vectors: int, k: int) -> float:
    return k * tile_cycles(rows, vectors) + 20 + rows * vectors


def cycles(
    c: Convolution, m: int, rows: int, vectors: int, lines: int, column_parts: int, target: Target
) -> float:
    """Estimated cycles of all parts on one core, and once more those of one part: what another
    core waits for.
    """
    n = m + c.r - 1
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    row_parts = -(-c.batch.size * tiles_y // lines)
    tiles, k, blocks = (
        lines * tiles_x,
        c.channel.size,
        -(-c.column.size // (vectors * target.lanes)),
    )
    share = -(-blocks // column_parts) * vectors  # vectors of columns in the largest part
    padded = -(-tiles // rows) * rows
    into = tiles * -(-k // target.lanes) * transform_cycles(n, n)
    weights = 4 * n * n * k * target.lanes
    v, block = 4 * n * n * padded * k, vectors * (weights + 4 * n * n * padded * target.lanes)
    slow = 1.0 + 0.25 * max(0.0, (v + min(block, CACHE // 2)) / CACHE - 1.0)
    products = slow * n * n * -(-tiles // rows) * share / vectors * product_cycles(rows, vectors, k)
    streamed = share * weights / STREAM
    out = tiles * share * (transform_cycles(n, m) + 3 * m * m)
    part = PART / 10 + into + max(products, streamed) + out
    return c.group.size * part * row_parts * column_parts + part


def transform_cycles(n: int, m: int) -> float:
    """Of one vector of an n x n window to m x m: two passes of loads, multiply-adds and stores."""
    return 0.9 * (n * (n + m) + m * (n + m)) + 0.25 * (n * n * m + n * m * m)
