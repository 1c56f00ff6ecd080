"""From an anchor to the launches of a Winograd convolution, if that is the better way; the
remark says why or why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ...graph.ir import Node
from ..fusion.group import Group
from ..indexing.index import read
from ..indexing.phases import Unsuitable, operand_indices
from ..records.body import Body
from ..records.plan import Access, Buffer, Launch, Nest
from ..winograd import cost as winograd_cost
from ..winograd import gradient_cost as winograd_gradient_cost
from ..winograd.choice import place, tile_of, way_of
from ..winograd.convolution import Convolution, Gradient, recognize
from ..winograd.cost import Choice
from ..winograd.gradient_cost import GradientChoice
from ..winograd.gradient_work import gradient_work
from ..winograd.space_to_depth import Copy
from ..winograd.work import tile_record, tile_work, weights_elements, weights_work

if TYPE_CHECKING:
    from .contraction import Anchors


def winograd_launches(
    s: Anchors, group: Group, nest: Nest, body: Body, name: str
) -> list[Launch] | None:
    """None: the implicit product is better, or wanted, or the only way. Nothing is left behind
    then.
    """
    anchor = group.anchor
    assert anchor is not None
    way = way_of(group.index, s.conv)
    if len(anchor.shape) < 4 or way == "implicit" or not s.target.winograd:
        return None
    writes = [o for o, _ in body.stores]
    try:
        found = recognized(s, group, nest.operands, writes)
        model = winograd_gradient_cost if isinstance(found, Gradient) else winograd_cost
        choice = model.choose(found, s.target, tile_of(way))
    except Unsuitable as reason:
        if way is not None:
            s.remarks.append(f"{place(anchor)}: implicit, because {reason}")
        return None
    direct = model.direct_cycles(found, s.target)
    if way is None and choice.cycles > 0.92 * direct:
        gain = f"{method(found, choice)} is estimated at {choice.cycles / direct:.2f}"
        s.remarks.append(f"{place(anchor)}: implicit, {form(found)}; {gain} of its time")
        return None
    s.remarks.append(f"{place(anchor)}: {explained(found, choice)}")
    if isinstance(found, Gradient):
        return gradient_launches(s, group, nest, body, name, found, choice)
    return launches(s, group, nest, body, name, found, choice)


def recognized(
    s: Anchors, group: Group, operands: Sequence[Access], writes: Sequence[int]
) -> Convolution | Gradient:
    anchor = group.anchor
    assert anchor is not None
    leaves = []
    for number, x in enumerate(anchor.inputs):
        leaf = read(x, operand_indices(anchor, number), group.axes, 0.0, s.fusion.held)
        if leaf is None or leaf.outside != 0.0:
            raise Unsuitable("an operand's views do not compose")
        leaves.append((s.of(leaf.root), leaf))
    return recognize(group.axes, len(anchor.shape), leaves, anchor.inputs, operands, writes)


def launches(
    s: Anchors, group: Group, nest: Nest, body: Body, name: str, c: Convolution, choice: Choice
) -> list[Launch]:
    """The weights' transform, unless there is one already, and the convolution."""
    scratch = scratch_of(s)
    result: list[Launch] = []
    fixed = c.source in s.fixed
    if c.copies:
        c = in_blocks(s, c, result)
    record = tile_record(c, choice, body, nest.operands, s.target.lanes)
    key = (s.holder(fixed), "winograd", c.weights, record.m, c.r, record.width)
    if key not in s.packed:
        u = s.copy_of(c.source, "winograd", weights_elements(c, record), "float32", fixed)
        s.packed[key] = Access(u, 0, (), "float32")
        transform, parts = weights_work(c, record, u)
        (s.prepare if fixed else result).append(
            Launch("winograd_weights", transform, (c.source,), parts)
        )
    work, parts = tile_work(c, choice, record, nest.operands, s.packed[key].buffer, scratch)
    return [*result, Launch(f"{name}_winograd{choice.m}", work, tuple(group.index), parts)]


def gradient_launches(
    s: Anchors, group: Group, nest: Nest, body: Body, name: str, c: Gradient, choice: GradientChoice
) -> list[Launch]:
    """The gradient; where tiles are cut into pieces, their sums, and a nest that adds them up."""
    anchor, operands, piece = group.anchor, nest.operands, 0
    assert anchor is not None
    nodes, before, after = tuple(group.index), list[Launch](), list[Launch]()
    if choice.pieces > 1 or c.copies:
        sums, each = tap_sums(s, group, nest, c, choice.pieces)
        after = [s.added_up(group, nest, sums, choice.pieces)]
        name, nodes, piece = anchor.op.name, (anchor,), sums.strides[-1]
        found = recognized(s, group, (each,), (0,))
        assert isinstance(found, Gradient)
        c, body, operands = found, Body(stores=((0, "acc"),)), (each,)
    for x, copy in c.copies:
        c = replace(c, image=replace(c.image, buffer=blocks_of(s, x, copy, before)))
    lanes, scratch = s.target.lanes, scratch_of(s)
    work, parts = gradient_work(c, choice, body, operands, piece, lanes, scratch)
    return [*before, Launch(f"{name}_winograd{choice.m}", work, nodes, parts), *after]


def tap_sums(
    s: Anchors, group: Group, nest: Nest, c: Gradient, pieces: int
) -> tuple[Access, Access]:
    """Memory for the sums of pieces: as ``Anchors.piece_sums`` gives it, and over the anchor's
    axes, then a block's rows and columns. There are all taps of all blocks.
    """
    taps = {w.tap: c.stride * axis.size for w, axis in zip(c.windows, c.taps, strict=True)}
    assert group.anchor is not None
    shape = tuple(taps.get(i, n) for i, n in enumerate(group.anchor.shape))
    sums = s.piece_sums(nest, shape, pieces)
    own = [c.stride * x if i in taps else x for i, x in enumerate(sums.strides[:-1])]
    reduction = [0] * (len(group.axes) - len(shape))
    phases = [sums.strides[w.tap] for w in c.windows] if c.copies else []
    return sums, replace(sums, strides=(*own, *reduction, *phases))


def scratch_of(s: Anchors) -> Buffer:
    """Every thread's scratch memory."""
    found = next((b for b in s.buffers if b.home == "scratch"), None)
    return found or s.buffer("scratch", 0, "uint8", "scratch")


def in_blocks(s: Anchors, c: Convolution, result: list[Launch]) -> Convolution:
    """The convolution of its image and weights as they have been copied; a copy that exists already
    serves again.
    """
    image, weights = (blocks_of(s, x, copy, result) for x, copy in c.copies)
    return replace(
        c,
        image=replace(c.image, buffer=image),
        weights=replace(c.weights, buffer=weights),
    )


def blocks_of(s: Anchors, x: Node, copy: Copy, result: list[Launch]) -> Buffer:
    """Where a copy is, which is made unless it exists."""
    fixed, nest = x in s.fixed, copy.nest()
    source, target = nest.operands
    key = (s.holder(fixed), "blocks", nest.axes, source, target.strides)
    if key not in s.packed:
        target.buffer.home = "prepared" if fixed else "arena"
        s.buffers.append(target.buffer)
        s.packed[key] = target
        launch = s.launch("space_to_depth", nest, (x,))
        (s.prepare if fixed else result).append(launch)
    return s.packed[key].buffer


# -------------------------------------------------------- what the user says and hears


def explained(c: Convolution | Gradient, choice: Choice | GradientChoice) -> str:
    n, direct = choice.m + c.r - 1, prod(c.kernel) / c.stride**2
    fewer = direct * choice.m**2 / n**2
    return f"{method(c, choice)}, {form(c)}, {fewer:.1f} times fewer multiplications"


def method(c: Convolution | Gradient, choice: Choice | GradientChoice) -> str:
    blocks = f" after space to depth by {c.stride}" if c.stride > 1 else ""
    return f"winograd({choice.m}){blocks}"


def form(c: Convolution | Gradient) -> str:
    height, width = c.kernel
    return f"{height}x{width} stride {c.stride}"
