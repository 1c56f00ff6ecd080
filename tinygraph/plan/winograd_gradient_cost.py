"""The cost model of gradients to weights by Winograd's transforms: how one is cut, and whether it
pays.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from .contract import Unsuitable
from .tiling import WORTH, Target, shares, tile_cycles
from .winograd import Gradient
from .winograd_cost import product_cycles, tiles_of


@dataclass(frozen=True, slots=True)
class GradientChoice:
    """How a gradient is cut: output tiles of m x m, the register tile, parts, pieces of the sum
    over tiles, and how many tiles a part takes at once.
    """

    m: int
    rows: int
    vectors: int
    column_parts: int
    channel_parts: int
    pieces: int
    tiles: int
    cycles: float


CACHE = 800 * 1024  # bytes that a part's data may take: most of L2
PART = 3_500  # cycles to start a part
INPUT, GRADIENT = 5.0, 5.0  # cycles a point to transform a vector of a window, of a tile
ADDED = 3.0  # cycles to add an accumulator to its sum
PIECES = (1, 2, 3, 4, 6, 8)
TILES = (16, 24, 32, 48, 64, 96, 128)


def direct_cycles(c: Gradient, target: Target) -> float:
    """Of the direct form on one core, 90 % of the peak; and of its last part."""
    pixels = c.batch.size * prod(x.size for x in c.outputs)
    vectors = -(-c.column.size // target.lanes)
    steps = c.group.size * pixels * c.r**2 * c.channel.size * vectors
    return steps / 2 / 0.9 + WORTH / target.lanes / 2


def choose(c: Gradient, target: Target, wanted: int | None = None) -> GradientChoice:
    """The cheapest way, by output tile ``wanted`` or any that is chosen unasked.

    Raises:
        Unsuitable: there is no such way.
    """
    options = [option for m in tiles_of(c.r, wanted) for option in options_of(c, m, target)]
    if not options:
        raise Unsuitable("no tile's data fit in the cache")
    return min(options, key=lambda o: (o.cycles, o.m, o.pieces, o.column_parts, o.channel_parts))


def register_tile(vectors: int, target: Target) -> tuple[int, int]:
    """(rows, vectors) of the products: rows divide a vector's channels, few columns are wasted."""
    rows = min(8, target.lanes) if target.registers >= 32 else 4
    widest = min(vectors, (target.registers - 1) // (rows + 1), 3)

    def cost(width: int) -> float:
        full, tail = divmod(vectors, width)
        return full * product_cycles(rows, width, TILES[0]) + (
            product_cycles(rows, tail, TILES[0]) if tail else 0.0
        )

    return rows, min(range(1, widest + 1), key=lambda v: (cost(v), -v))


def options_of(c: Gradient, m: int, target: Target) -> list[GradientChoice]:
    """Ways to cut it by output tile m."""
    columns, channels = (-(-x.size // target.lanes) for x in (c.column, c.channel))
    rows, vectors = register_tile(columns, target)
    blocks, count = -(-columns // vectors), tiles_in(c, m)
    ways = [
        (column_parts, channel_parts, pieces, tiles)
        for column_parts in shares(blocks)
        for channel_parts in shares(channels)
        for pieces in PIECES
        if pieces <= count
        for tiles in sorted({min(tiles, -(-count // pieces)) for tiles in TILES})
        if data(
            m + c.r - 1,
            tiles,
            -(-channels // channel_parts) * target.lanes,
            -(-blocks // column_parts) * vectors * target.lanes,
        )
        <= CACHE
    ]
    return [
        GradientChoice(m, rows, vectors, *way, cycles(c, m, rows, vectors, *way, target))
        for way in ways
    ]


def tiles_in(c: Gradient, m: int) -> int:
    """Tiles of m x m pixels in all images."""
    return c.batch.size * prod(-(-x.size // m) for x in c.outputs)


def data(n: int, tiles: int, channels: int, columns: int) -> int:
    """Bytes of V, Q and M."""
    return 4 * n * n * (tiles * (channels + columns) + channels * columns)


def cycles(
    c: Gradient,
    m: int,
    rows: int,
    vectors: int,
    column_parts: int,
    channel_parts: int,
    pieces: int,
    tiles: int,
    target: Target,
) -> float:
    """Estimated cycles of all parts on one core, and half of those of one part, for which another
    core waits in the end.
    """
    n, count = m + c.r - 1, tiles_in(c, m)
    columns, channels = (-(-x.size // target.lanes) for x in (c.column, c.channel))
    full, tail = divmod(columns, vectors)
    widths = [vectors] * full + [tail] * (tail > 0)
    step = sum(tile_cycles(rows, v) for v in widths)
    added = sum(ADDED * rows * v + 15 for v in widths)
    rounds = pieces * ceil(ceil(count / pieces) / tiles)
    products = n * n * -(-c.channel.size // rows) * (count * step + rounds * added)
    read = count * n * n * (INPUT * channels * column_parts + GRADIENT * columns * channel_parts)
    written = pieces * c.channel.size * columns * (5.0 * n * n + 10.0 * c.r**2)
    parts = column_parts * channel_parts * pieces
    total = parts * PART + products + read + written
    return c.group.size * total + total / (2 * parts)
