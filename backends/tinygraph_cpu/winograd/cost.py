"""The cost model of Winograd convolutions: how one is cut, and whether it pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from tinygraph.plan.winograd.choice import tiles_of
from tinygraph.plan.winograd.convolution import Convolution

from ..costs.caches import NOMINAL
from ..costs.dots import Dots
from ..costs.parts import TEAMS, WORTH, busy, portions
from ..costs.steps import tile_cycles
from ..costs.tiles import FETCH, Core


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
    cycles: float = 0.0


# Fitted to 400 measured ways of cutting the layers of GoogLeNet, then to profiles of the whole
# network, where weights are fetched ahead (ahead.py) and images come from other cores' caches.
CACHE = 600 * 1024  # bytes that a part's data should fit in: most of L2
BUSY = 0.93  # the share of the peak that an implicit product reaches
NEAR, FAR = 8.5, 24.0  # bytes a cycle and core of weights, again and for the first time
COPIED = 4.0  # cycles to put an element of a strided convolution's image into its block
TURNED = 1.0  # to put its channels last, more than the copy with edges that the direct form makes
PART = 3_500  # cycles to start a part
LARGE = (8, 16)  # threads for which parts should suffice, if it costs small teams next to nothing
NOTICED = 1.08  # of estimated cycles: two threads take the same time, measured
MOST = 512  # tiles of a part: scratch memory is bounded
ROWS = (4, 6, 7, 8, 9, 13, 14)  # of register tiles: few, so that layers share kernels


def direct_cycles(c: Convolution, core: Core) -> float:
    """Cycles of the implicit product on one core: 93 % of the peak, or the weights' way from
    memory; and those of its last part.
    """
    height, width = (x.size for x in c.outputs)
    vectors = -(-c.column.size // core.lanes)
    depth = prod(c.kernel) * c.channel.size // c.stride**2
    steps = c.group.size * c.batch.size * height * width * depth * vectors
    weights = 4 * c.group.size * depth * c.column.size
    cycles = steps / 2 / BUSY
    if c.column.size < core.lanes:  # the reduction may be across the lanes
        reduction = (*c.kernel, c.channel.size // c.stride**2)
        count = c.group.size * c.batch.size * height
        dots = Dots(count, width, c.column.size, reduction, core.lanes, core.registers)
        cycles = min(cycles, dots.cycles(*dots.tile()) / BUSY)
    return max(cycles, weights / FAR) + WORTH / core.lanes / 2


def choose(c: Convolution, core: Core, wanted: int | None = None) -> Choice:
    """The cheapest way, by output tile ``wanted`` or any up to LARGEST."""

    def rank(o: Choice) -> tuple[float, ...]:
        return o.cycles, o.m, o.lines, o.column_parts, -o.rows, -o.vectors

    best: Choice | None = None
    options = [option for m in tiles_of(c.r, wanted) for option in options_of(c, m, core)]
    for option in sorted(options, key=rank):  # waiting is added to those only that may be best
        if best is not None and option.cycles > best.cycles:
            break
        waited = replace(option, cycles=option.cycles * waiting(c, option, core, TEAMS))
        best = waited if best is None else min(best, waited, key=rank)
    assert best is not None
    return shared_out(c, best, core)


def shared_out(c: Convolution, way: Choice, core: Core) -> Choice:
    """The same transforms in parts for larger teams too, where small ones hardly notice; with the
    cycles of the way that suits those best, so that nothing else is decided otherwise.
    """
    most = NOTICED * way.cycles
    options = [o for o in options_of(c, way.m, core) if o.cycles <= most]  # before any waiting
    waited = [(o.cycles * waiting(c, o, core, TEAMS), o) for o in options]
    near = [(cycles, o) for cycles, o in waited if cycles <= most]
    rank = lambda x: (round(waiting(c, x[1], core, LARGE), 2), x[0])  # noqa: E731
    return replace(min(near, key=rank)[1], cycles=way.cycles)


def options_of(c: Convolution, m: int, core: Core) -> list[Choice]:
    """Ways to cut it by output tile m."""
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    lines = c.batch.size * tiles_y
    columns = -(-c.column.size // core.lanes)
    found = []
    for count in sorted({-(-lines // part) for part in range(1, lines + 1)}):
        for parts in (1, 2, 3, 4, 6, 8):
            if count * tiles_x <= MOST and parts <= columns:
                tile = product_tile(count * tiles_x, columns, parts, c.channel.size, core)
                way = Choice(m, *tile, count, parts)
                found.append(replace(way, cycles=cycles(c, way, core)))
    return found


def product_tile(
    tiles: int, vectors: int, column_parts: int, k: int, core: Core
) -> tuple[int, int]:
    """(rows, vectors) of the register tile; tails of rows are computed whole."""
    widest = min(-(-vectors // column_parts), 6)
    shapes = [
        (r, min(widest, (core.registers - 1) // (r + 1))) for r in ROWS if r + 2 <= core.registers
    ]

    def cost(shape: tuple[int, int]) -> float:
        rows, width = shape
        full, tail = divmod(vectors, width)
        repeats = -(-tiles // rows)
        columns = full * product_cycles(rows, width, k, core.lanes) + (
            product_cycles(rows, tail, k, core.lanes) if tail else 0
        )
        return repeats * columns

    return min(shapes, key=lambda s: (cost(s), s))


def product_cycles(rows: int, vectors: int, k: int, lanes: int) -> float:
    """Cycles of one tile at one point, whose weights are in the first cache or come from the
    second.
    """
    bytes = 4 * vectors * lanes
    fetch = bytes / FETCH if k * bytes > NOMINAL.first / 2 else 0.0
    return k * max(tile_cycles(rows, vectors), fetch) + 15 + 2 * rows * vectors


def cycles(c: Convolution, way: Choice, core: Core) -> float:
    """Estimated cycles of all parts on one core."""
    m, rows, vectors, lines = way.m, way.rows, way.vectors, way.lines
    n, k, lanes = m + c.r - 1, c.channel.size, core.lanes
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    row_parts, tiles = -(-c.batch.size * tiles_y // lines), lines * tiles_x
    padded = -(-tiles // rows) * rows
    columns = -(-c.column.size // lanes)  # vectors of them
    full, tail = divmod(columns, vectors)
    every = full * product_cycles(rows, vectors, k, lanes)
    every += product_cycles(rows, tail, k, lanes) if tail else 0
    weights = 4 * n * n * k * columns * lanes  # bytes
    data = 4 * n * n * padded * (k + vectors * lanes)
    crowded = 1.0 + 0.34 * min(1.5, max(0.0, data / CACHE - 1.0))
    read = crowded * tiles * -(-k // lanes) * input_cycles(n, m)
    written = crowded * tiles * columns * output_cycles(n, m)
    products = max(n * n * padded / rows * every, weights / NEAR)
    total = row_parts * (way.column_parts * (PART + read) + products + written) + weights / FAR
    each = COPIED if c.stride > 1 else TURNED
    copied = each * prod(c.copies[0][1].shape) if c.copies else 0.0
    return copied + c.group.size * total


def waiting(c: Convolution, o: Choice, core: Core, teams: Sequence[int]) -> float:
    """How much longer all threads take than their parts, until the last is done; on an average of
    teams.
    """
    n, k = o.m + c.r - 1, c.channel.size
    tiles_y, tiles_x = (-(-x.size // o.m) for x in c.outputs)
    lines, columns = c.batch.size * tiles_y, -(-c.column.size // core.lanes)
    rows = portions(lines, -(-lines // o.lines)) * c.group.size
    blocks = portions(-(-columns // o.vectors), o.column_parts)
    read = tiles_x * -(-k // core.lanes) * input_cycles(n, o.m)
    products = n * n * product_cycles(o.rows, o.vectors, k, core.lanes)
    written = tiles_x * o.vectors * output_cycles(n, o.m)
    times = [
        PART + r * read + b * (-(-r * tiles_x // o.rows) * products + r * written)
        for r in rows
        for b in blocks
    ]
    return busy(times, teams) / len(teams) / sum(times)


def input_cycles(n: int, m: int) -> float:
    """Cycles of the transform of one vector of an n x n window, of which n * m pixels are new."""
    return 4.0 * n * n + 9.0 * n * m


def output_cycles(n: int, m: int) -> float:
    """Cycles of the transform of one vector to an m x m tile, and its epilogue."""
    return 4.0 * n * n + 6.0 * m * m
