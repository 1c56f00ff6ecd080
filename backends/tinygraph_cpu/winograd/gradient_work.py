"""A gradient to weights by Winograd's transforms as work: record, argument block, parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygraph.plan.contraction.axis import Axis
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.contraction import TileOperand
from tinygraph.plan.records.work import Access, Buffer, Emitted
from tinygraph.plan.winograd.convolution import Gradient

from .gradient_cost import TILES, GradientChoice, tiles_in
from .records import GRADIENT_FIELDS, TWINS, WinogradGradient


def gradient_work(
    c: Gradient,
    choice: GradientChoice,
    body: Body,
    operands: Sequence[Access],
    piece: int,
    lanes: int,
    scratch: Buffer,
) -> tuple[Emitted, int]:
    """The gradient with its argument block, and its parts.

    ``piece`` is the distance between the results of two pieces; ``scratch`` grows to what a thread
    needs.
    """
    n = c.column.size
    units = [c.column.ops[i] == 1 if n > 1 else True for i in range(len(operands))]
    record = WinogradGradient(
        choice.m,
        c.r,
        choice.rows,
        choice.vectors,
        -(-n // lanes) % choice.vectors,
        n % lanes != 0,
        body,
        tuple(TileOperand(unit, o.dtype) for unit, o in zip(units, operands, strict=True)),
        lanes,
    )
    fields = gradient_fields(c, choice, record)
    needed = 4 * (fields["m_offset"] + record.points * fields["m_point"])
    scratch.bytes = max(scratch.bytes, -(-needed // 64) * 64)
    rows, columns = c.windows
    pixels, roles = (c.batch, *c.outputs), (c.group, *three(c.channels), *c.taps, c.column)
    views = (
        replace(c.image, strides=(c.group.a, c.batch.a, rows.stride, columns.stride, 1)),
        replace(c.gradient, strides=(c.group.b, *(x.b for x in pixels), 1)),
        *(replace(o, strides=(piece, *(x.ops[i] for x in roles))) for i, o in enumerate(operands)),
    )
    boxes = (
        (c.group.size, c.batch.size, rows.size, columns.size, c.depth),
        (c.group.size, *(x.size for x in pixels), n),
        *((choice.pieces, *(x.size for x in roles)) for _ in operands),
    )
    outputs = frozenset(2 + o for o, _ in body.stores)
    block = {name: fields[name] for name in GRADIENT_FIELDS}
    parts = c.group.size * choice.pieces * choice.channel_parts * choice.column_parts
    work = Emitted(record, "winograd_gradient", TWINS, block, views, boxes, outputs, scratch)
    return work, parts


def gradient_fields(
    c: Gradient, choice: GradientChoice, record: WinogradGradient
) -> dict[str, int]:
    """Sizes and strides of the argument block."""
    n, lanes = c.column.size, record.lanes
    blocks, vectors = -(-n // record.width), -(-c.depth // lanes)
    v_row = -(-vectors // choice.channel_parts) * lanes
    q_row = -(-blocks // choice.column_parts) * record.width
    tiles = min(TILES, -(-tiles_in(c, record.m) // choice.pieces))
    # a line more for each point, so that points do not fall on few sets of the cache
    v_point, q_point = (tiles * row + lanes for row in (v_row, q_row))
    q_offset = record.points * v_point
    top, left = (-w.origin for w in c.windows)
    # pixels that no output needs stay out, as in the convolution
    needed = [x.size + c.r - 1 - edge for x, edge in zip(c.outputs, (top, left), strict=True)]
    height, width = (min(w.size, end) for w, end in zip(c.windows, needed, strict=True))
    tiles_y, tiles_x = (-(-x.size // record.m) for x in c.outputs)
    return {
        **{"column_parts": choice.column_parts, "channel_parts": choice.channel_parts},
        **{"pieces": choice.pieces, "tiles": tiles, "z": c.batch.size},
        **{"tiles_y": tiles_y, "tiles_x": tiles_x, "n": n, "k": c.depth},
        **{f"k{i}": axis.size for i, axis in enumerate(three(c.channels)) if i},
        **{"height": c.outputs[0].size, "width": c.outputs[1].size},
        **{"image_height": height, "image_width": width, "top": top, "left": left},
        **{"v_row": v_row, "v_point": v_point},
        **{"q_offset": q_offset, "q_row": q_row, "q_point": q_point},
        "m_offset": q_offset + record.points * q_point,
        "m_block": v_row * record.width,
        "m_point": v_row * q_row + lanes,
    }


def three(axes: Sequence[Axis]) -> list[Axis]:
    """The axes after others of size 1."""
    return [replace(axes[0], size=1)] * (3 - len(axes)) + [*axes]
