"""The cost model of gradients to weights by Winograd's transforms: how one is cut, and whether it
pays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod

from tinygraph.plan.indexing.phases import Unsuitable
from tinygraph.plan.winograd.choice import tiles_of
from tinygraph.plan.winograd.convolution import Gradient

from ..costs.parts import WORTH, shares
from ..costs.steps import tile_cycles
from ..costs.tiles import Core
from .cost import COPIED


@dataclass(frozen=True, slots=True)
class GradientChoice:
    """How a gradient is cut: output tiles of m x m, the register tile, parts, and pieces of the
    sum over tiles.
    """

    m: int
    rows: int
    vectors: int
    column_parts: int
    channel_parts: int
    pieces: int
    cycles: float = 0.0


# Fitted to 250 measured ways of cutting the layers of GoogLeNet.
CACHE = 900 * 1024  # bytes of V, Q and M that a part may take: most of L2
TILES = 16  # at once: more of them would make the sums cheaper, and the transforms dearer
PIECES = (1, 2, 3, 4, 6, 8)
PART = 3_500  # cycles to start a part
INPUT, GRADIENT = 6.0, 4.5  # cycles a point to transform a vector of a window, of a gradient
FETCH = 4.0  # cycles a pixel to get a vector of either
ADDED = 0.5  # cycles to add an accumulator to its sum

# The largest m + r - 1, whatever is asked for. Rms errors against float64, relative to PyTorch's
# float32 (images of 14 x 14 without negative values): 3x3 filters 0.8 for tiles of 2, 2.4 for 4,
# 6.2 for 5, 9.1 for 6; 5x5 filters 2.8 for 2, 6.9 for 3, 9.5 for 4. Of the direct form's error,
# which grows with the image: 0.6 for 3x3 filters, tiles of 4 and images of 56 x 56.
MOST_POINTS = 7


def direct_cycles(c: Gradient, core: Core) -> float:
    """Cycles of the direct form on one core, 90 % of the peak; and of its last part."""
    pixels = c.batch.size * prod(x.size for x in c.outputs)
    vectors = -(-c.column.size // core.lanes)
    steps = c.group.size * pixels * prod(c.kernel) * c.depth // c.stride**2 * vectors
    return steps / 2 / 0.9 + WORTH / core.lanes / 2


def choose(c: Gradient, core: Core, wanted: int | None = None) -> GradientChoice:
    """The cheapest way, by output tile ``wanted`` or any.

    Raises:
        Unsuitable: there is no such way, or it is not accurate.
    """
    if wanted is not None and wanted + c.r - 1 > MOST_POINTS:
        raise Unsuitable(f"sums of tiles of {wanted} would have more than 8 times its error")
    sizes = tiles_of(c.r, wanted, MOST_POINTS - c.r + 1)
    options = [option for m in sizes for option in options_of(c, m, core)]
    if not options:
        raise Unsuitable("no tile's data fit in the cache")
    return min(options, key=lambda o: (o.cycles, o.m, o.pieces, o.column_parts, o.channel_parts))


def register_tile(vectors: int, depth: int, core: Core) -> tuple[int, int]:
    """(rows, vectors) of the products: rows divide a vector's channels, or are enough for all with
    few wasted, and accumulators are enough for the latency of multiply-adds.
    """
    if core.registers < 32:
        rows, most = 4, 3
    else:
        rows, most = (6, 4) if 8 < depth <= 12 else (8, 2)
    return rows, min(vectors, most)


def options_of(c: Gradient, m: int, core: Core) -> list[GradientChoice]:
    """Ways to cut it by output tile m."""
    columns, channels = (-(-size // core.lanes) for size in (c.column.size, c.depth))
    rows, vectors = register_tile(columns, c.depth, core)
    blocks, count = -(-columns // vectors), tiles_in(c, m)
    found = []
    for column_parts, channel_parts in product(shares(blocks), shares(channels)):
        k = -(-channels // channel_parts) * core.lanes
        n = -(-blocks // column_parts) * vectors * core.lanes
        if 4 * (m + c.r - 1) ** 2 * (TILES * (k + n) + k * n) > CACHE:
            continue
        for pieces in PIECES:
            if pieces == 1 or pieces * TILES <= count:
                way = rows, vectors, column_parts, channel_parts, pieces
                choice = GradientChoice(m, *way)
                found.append(replace(choice, cycles=cycles(c, choice, core)))
    return found


def tiles_in(c: Gradient, m: int) -> int:
    """Tiles of m x m pixels in all images."""
    return c.batch.size * prod(-(-x.size // m) for x in c.outputs)


def cycles(c: Gradient, way: GradientChoice, core: Core) -> float:
    """Estimated cycles of all parts on one core, and half of those of one part, for which another
    core waits in the end.
    """
    m, rows, vectors, pieces = way.m, way.rows, way.vectors, way.pieces
    n, count = m + c.r - 1, tiles_in(c, m)
    columns, channels = (-(-size // core.lanes) for size in (c.column.size, c.depth))
    full, tail = divmod(columns, vectors)
    widths = [vectors] * full + [tail] * (tail > 0)
    step = sum(tile_cycles(rows, v) for v in widths)
    added = sum(ADDED * rows * v + 15 for v in widths)
    rounds = pieces * ceil(count / pieces / TILES)
    products = n * n * -(-c.depth // rows) * (count * step + rounds * added)
    windows = channels * way.column_parts * (INPUT * n * n + FETCH * m * m)
    gradients = columns * way.channel_parts * (GRADIENT * n * n + FETCH * m * m)
    written = pieces * c.depth * columns * (4.0 * n * n + 8.0 * c.r**2)
    parts = way.column_parts * way.channel_parts * pieces
    total = parts * PART + products + count * (windows + gradients) + written
    copied = COPIED * prod(c.copies[0][1].shape) if c.copies else 0.0
    return copied + c.group.size * total + total / (2 * parts)
