"""A Winograd convolution as work: records, argument blocks, parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygraph.plan.records.body import Body
from tinygraph.plan.records.contraction import TileOperand
from tinygraph.plan.records.work import Access, Buffer, Emitted
from tinygraph.plan.winograd.convolution import Convolution

from .cost import Choice
from .records import TILE_FIELDS, TWINS, WEIGHT_FIELDS, WinogradTile, WinogradWeights


def tile_record(
    c: Convolution, choice: Choice, body: Body, operands: Sequence[Access], lanes: int
) -> WinogradTile:
    """The kernel of a convolution."""
    n = c.column.size
    tail = -(-n // lanes) % choice.vectors
    units = [c.column.ops[i] == 1 if n > 1 else True for i in range(len(operands))]
    specs = tuple(TileOperand(unit, o.dtype) for unit, o in zip(units, operands, strict=True))
    return WinogradTile(
        choice.m, c.r, choice.rows, choice.vectors, tail, n % lanes != 0, body, specs, lanes
    )


def tile_work(
    c: Convolution,
    choice: Choice,
    record: WinogradTile,
    operands: Sequence[Access],
    u: Buffer,
    scratch: Buffer,
) -> tuple[Emitted, int]:
    """The convolution with its argument block, and its parts.

    ``scratch`` grows to what a thread needs.
    """
    k, n, (rows, columns) = c.channel.size, c.column.size, c.windows
    fields = tile_fields(c, choice, record)
    needed = 4 * (fields["m_offset"] + record.points * fields["m_point"])
    scratch.bytes = max(scratch.bytes, -(-needed // 64) * 64)
    blocks, panel = -(-n // record.width), record.points * k * record.width
    roles = (c.group, c.batch, *c.outputs, c.column)
    views = (
        replace(c.image, strides=(c.group.a, c.batch.a, rows.stride, columns.stride, 1)),
        Access(u, 0, (panel * blocks, panel, 1), "float32"),
        *(replace(o, strides=tuple(x.ops[i] for x in roles)) for i, o in enumerate(operands)),
    )
    boxes = (
        (c.group.size, c.batch.size, rows.size, columns.size, k),
        (c.group.size, blocks, panel),
        *(tuple(x.size for x in roles) for _ in operands),
    )
    outputs = frozenset(2 + o for o, _ in record.body.stores)
    block = {name: fields[name] for name in TILE_FIELDS}
    work = Emitted(record, "winograd_tile", TWINS, block, views, boxes, outputs, scratch, fetches=1)
    return work, c.group.size * fields["row_parts"] * choice.column_parts


def tile_fields(c: Convolution, choice: Choice, record: WinogradTile) -> dict[str, int]:
    """Sizes and strides of the argument block."""
    m, lanes, k = record.m, record.lanes, c.channel.size
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    row_parts = -(-c.batch.size * tiles_y // choice.lines)
    tiles = -(-c.batch.size * tiles_y // row_parts) * tiles_x
    padded = -(-tiles // record.rows) * record.rows
    v_row = -(-k // lanes) * lanes + lanes  # a vector more, so that rows do not fall on few sets
    v_point = padded * v_row + lanes
    top, left = ((c.r - 1 if w.flip else 0) - w.origin for w in c.windows)
    # pixels that no output needs stay out: a NaN there would spread over the tile
    needed = [x.size + c.r - 1 - edge for x, edge in zip(c.outputs, (top, left), strict=True)]
    height, width = (min(w.size, end) for w, end in zip(c.windows, needed, strict=True))
    return {
        **{"row_parts": row_parts, "column_parts": choice.column_parts},
        **{"z": c.batch.size, "tiles_y": tiles_y, "tiles_x": tiles_x},
        **{"height": c.outputs[0].size, "width": c.outputs[1].size, "n": c.column.size, "k": k},
        **{"image_height": height, "image_width": width, "top": top, "left": left},
        **{"v_row": v_row, "v_point": v_point, "m_offset": record.points * v_point},
        "m_point": padded * record.width + lanes,
    }


def weights_work(c: Convolution, record: WinogradTile, u: Buffer) -> tuple[Emitted, int]:
    """The transform of the weights into ``u``, and its parts."""
    offset, steps = c.weights.offset, []
    for window, tap in zip(c.windows, c.taps, strict=True):
        offset += tap.b * (c.r - 1) if window.flip else 0
        steps.append(-tap.b if window.flip else tap.b)
    g, n, k, width = c.group.size, c.column.size, c.channel.size, record.width
    blocks, panel = -(-n // width), record.points * k * width
    w = replace(c.weights, offset=offset, strides=(c.group.b, c.column.b, c.channel.b, *steps))
    target = Access(u, 0, (panel * blocks, panel, k * width, width, 1), "float32")
    boxes = ((g, n, k, c.r, c.r), (g, blocks, record.points, k, width))
    parts = max(1, min(16, g * blocks * k * width // 4096))
    fields = dict(zip(WEIGHT_FIELDS, (parts, g, blocks, n, k, record.vectors), strict=True))
    unit = c.column.b == 1 or n == 1
    kernel = WinogradWeights(record.m, c.r, unit, record.lanes)
    views = (w, target)
    work = Emitted(kernel, "winograd_weights", TWINS, fields, views, boxes, frozenset({1}))
    return work, parts


def weights_elements(c: Convolution, record: WinogradTile) -> int:
    """Number of elements of the transformed weights."""
    blocks = -(-c.column.size // record.width)
    return c.group.size * blocks * record.points * c.channel.size * record.width
