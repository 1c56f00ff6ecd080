"""How long each part of a launch takes, by the cost models that cut it: for forecasts.

In cycles of a core that has its data in time: a forecast is of how evenly parts fill the threads,
not of memory that they wait for together.
"""

from __future__ import annotations

from tinygraph.plan.records.cost import node_cost, traffic
from tinygraph.plan.records.plan import Launch
from tinygraph.plan.records.work import Emitted, Nest, Tile

from .costs.parts import portions
from .costs.tiles import Core, step_cycles
from .winograd.cost import PART, input_cycles, output_cycles, product_cycles
from .winograd.records import WinogradTile

CLAIM = 1_000  # cycles to claim a part, to see that it may begin, and to begin it
BUSY = 0.93  # the share of the peak that a tile reaches
BYTES = 8  # that a core reads or writes in a cycle where launches only pass over values
SERIAL = 2  # operations in a cycle and lane that are no multiply-adds


def part_cycles(launch: Launch, core: Core) -> list[float]:
    """Estimated cycles of each part, in their order."""
    work = launch.work
    if isinstance(work, Tile):
        return tile_parts(work, core)
    if isinstance(work, Emitted) and isinstance(work.record, WinogradTile):
        return winograd_parts(work, work.record)
    cycles = traffic(launch) / BYTES + sum(map(node_cost, launch.nodes)) / (SERIAL * core.lanes)
    if isinstance(work, Nest) and work.axes and launch.parts <= work.axes[0]:
        shares = portions(work.axes[0], launch.parts)
    else:
        shares = [1] * launch.parts
    return [CLAIM + cycles * share / max(sum(shares), 1) for share in shares]


def tile_parts(work: Tile, core: Core) -> list[float]:
    """Part p has share p // column_parts of the row tiles, share p % column_parts of the blocks of
    columns.
    """
    s, c = work.sizes, work.contraction
    depth = s["r"] * s["s"] * -(-s["k"] // c.step) * c.group
    width = 1 if c.lanes_along == "reduction" else c.width
    tiles = work.row_tiles
    blocks = -(-s["n"] // width)
    once = depth * step_cycles(c, min(c.rows, s["m"])) / BUSY + 24 + 2 * c.rows * c.vectors
    return [
        CLAIM + rows * columns * once
        for rows in portions(tiles, s["row_parts"])
        for columns in portions(blocks, s["column_parts"])
    ]


def winograd_parts(work: Emitted, record: WinogradTile) -> list[float]:
    """As ``winograd.cost.cycles``, part by part."""
    f, lanes, n = work.fields, record.lanes, record.m + record.r - 1
    groups = work.boxes[0][0]
    columns = -(-f["n"] // lanes)
    read = -(-f["k"] // lanes) * input_cycles(n, record.m)
    once = record.points * product_cycles(record.rows, record.vectors, f["k"], lanes)
    written = record.vectors * output_cycles(n, record.m)
    found = [
        CLAIM + PART + tiles * read + share * (-(-tiles // record.rows) * once + tiles * written)
        for tiles in (f["tiles_x"] * y for y in portions(f["z"] * f["tiles_y"], f["row_parts"]))
        for share in portions(-(-columns // record.vectors), f["column_parts"])
    ]
    return found * groups
