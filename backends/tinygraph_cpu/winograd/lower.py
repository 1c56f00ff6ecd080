"""From an anchor to the launches of a Winograd convolution, if that is the better way; the
remark says why or why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from tinygraph.graph.ir import Node
from tinygraph.plan.indexing.index import read
from tinygraph.plan.indexing.phases import Unsuitable, operand_indices
from tinygraph.plan.lower.anchored import Anchored
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.lowered import Launches
from tinygraph.plan.records.plan import Launch
from tinygraph.plan.records.work import Access, Buffer
from tinygraph.plan.winograd.choice import place, tile_of, way_of
from tinygraph.plan.winograd.convolution import Convolution, Gradient, recognize
from tinygraph.plan.winograd.space_to_depth import Copy

from ..costs.tiles import Core
from . import cost as winograd_cost
from . import gradient_cost as winograd_gradient_cost
from .cost import Choice
from .gradient_cost import GradientChoice
from .gradient_work import gradient_work
from .work import tile_record, tile_work, weights_elements, weights_work


def winograd_launches(core: Core, work: Anchored) -> Launches | None:
    """None: the implicit product is better, or wanted, or the only way. Nothing is left in memory
    then.
    """
    anchor, s = work.anchor, work.s
    way = way_of(work.nodes, s.conv)
    floats = all(x.dtype == "float32" for x in (anchor, *anchor.inputs))
    if len(anchor.shape) < 4 or not floats or way == "implicit":
        return None
    writes = [o for o, _ in work.body.stores]
    try:
        found = recognized(work, work.nest.operands, writes)
        model = winograd_gradient_cost if isinstance(found, Gradient) else winograd_cost
        choice = model.choose(found, core, tile_of(way))
    except Unsuitable as reason:
        if way is not None:
            s.remarks.append(f"{place(anchor)}: implicit, because {reason}")
        return None
    direct = model.direct_cycles(found, core)
    if way is None and choice.cycles > 0.92 * direct:
        gain = f"{method(found, choice)} is estimated at {choice.cycles / direct:.2f}"
        s.remarks.append(f"{place(anchor)}: implicit, {form(found)}; {gain} of its time")
        return None
    s.remarks.append(f"{place(anchor)}: {explained(found, choice)}")
    if isinstance(found, Gradient):
        gradient_launches(work, found, choice)
    else:
        convolution_launches(work, found, choice)
    return work.made


def recognized(
    work: Anchored, operands: Sequence[Access], writes: Sequence[int]
) -> Convolution | Gradient:
    anchor, axes, leaves = work.anchor, work.group.axes, []
    for number, x in enumerate(anchor.inputs):
        leaf = read(x, operand_indices(anchor, number), axes, 0.0, work.s.fusion.held)
        if leaf is None or leaf.outside != 0.0:
            raise Unsuitable("an operand's views do not compose")
        leaves.append((work.s.layout.of(leaf.root), leaf))
    return recognize(axes, len(anchor.shape), leaves, anchor.inputs, operands, writes)


def convolution_launches(work: Anchored, c: Convolution, choice: Choice) -> None:
    """The weights' transform, unless there is one already, and the convolution."""
    s, copies, operands = work.s, work.copies, work.nest.operands
    scratch = s.memory.scratch()
    fixed = c.source in s.fixed
    if c.copies:
        c = in_blocks(work, c)
    record = tile_record(c, choice, work.body, operands, s.target.lanes)
    key = (copies.holder(fixed), "winograd", c.weights, record.m, c.r, record.width)
    known = s.memory.copies
    if key not in known:
        u = copies.buffer(c.source, "winograd", weights_elements(c, record), "float32", fixed)
        known[key] = Access(u, 0, (), "float32")
        transform, parts = weights_work(c, record, u)
        work.made.add(Launch("winograd_weights", transform, (c.source,), parts), fixed)
    made, parts = tile_work(c, choice, record, operands, known[key].buffer, scratch)
    work.made.add(Launch(f"{work.name}_winograd{choice.m}", made, work.nodes, parts))


def gradient_launches(work: Anchored, c: Gradient, choice: GradientChoice) -> None:
    """The gradient; where tiles are cut into pieces, their sums, and a nest that adds them up."""
    anchor, operands, piece = work.anchor, work.nest.operands, 0
    name, nodes, body, after = work.name, work.nodes, work.body, list[Launch]()
    if choice.pieces > 1 or c.copies:
        sums, each = tap_sums(work, c, choice.pieces)
        after = [work.added_up(sums, choice.pieces)]
        name, nodes, piece = anchor.op.name, (anchor,), sums.strides[-1]
        found = recognized(work, (each,), (0,))
        assert isinstance(found, Gradient)
        c, body, operands = found, Body(stores=((0, "acc"),)), (each,)
    for x, copy in c.copies:
        c = replace(c, image=replace(c.image, buffer=blocks_of(work, x, copy)))
    lanes, scratch = work.s.target.lanes, work.s.memory.scratch()
    made, parts = gradient_work(c, choice, body, operands, piece, lanes, scratch)
    work.made.run += [Launch(f"{name}_winograd{choice.m}", made, nodes, parts), *after]


def tap_sums(work: Anchored, c: Gradient, pieces: int) -> tuple[Access, Access]:
    """Memory for the sums of pieces: as ``Anchored.piece_sums`` gives it, and over the anchor's
    axes, then a block's rows and columns. There are all taps of all blocks.
    """
    taps = {w.tap: c.stride * axis.size for w, axis in zip(c.windows, c.taps, strict=True)}
    shape = tuple(taps.get(i, n) for i, n in enumerate(work.anchor.shape))
    sums = work.piece_sums(shape, pieces)
    own = [c.stride * x if i in taps else x for i, x in enumerate(sums.strides[:-1])]
    reduction = [0] * (len(work.group.axes) - len(shape))
    phases = [sums.strides[w.tap] for w in c.windows] if c.copies else []
    return sums, replace(sums, strides=(*own, *reduction, *phases))


def in_blocks(work: Anchored, c: Convolution) -> Convolution:
    """The convolution of its image, and weights if they are in blocks, as they have been copied."""
    image, *weights = (blocks_of(work, x, copy) for x, copy in c.copies)
    c = replace(c, image=replace(c.image, buffer=image))
    return replace(c, weights=replace(c.weights, buffer=weights[0])) if weights else c


def blocks_of(work: Anchored, x: Node, copy: Copy) -> Buffer:
    """Where a copy is, which is made unless it exists."""
    memory, fixed, nest = work.s.memory, x in work.s.fixed, copy.nest()
    source, target = nest.operands
    key = (work.copies.holder(fixed), "blocks", nest.axes, source, target.strides)
    if key not in memory.copies:
        target.buffer.home = "prepared" if fixed else "arena"
        memory.buffers.append(target.buffer)
        memory.copies[key] = target
        name = "space_to_depth" if prod(copy.shape[-2:]) > 1 else "channels_last"
        work.copies.copy(name, nest, x, fixed)
    return memory.copies[key].buffer


# -------------------------------------------------------- what the user says and hears


def explained(c: Convolution | Gradient, choice: Choice | GradientChoice) -> str:
    n, direct = choice.m + c.r - 1, prod(c.kernel) / c.stride**2
    fewer = direct * choice.m**2 / n**2
    return f"{method(c, choice)}, {form(c)}, {fewer:.1f} times fewer multiplications"


def method(c: Convolution | Gradient, choice: Choice | GradientChoice) -> str:
    blocks = f"space to depth by {c.stride}" if c.stride > 1 else "channels were put last"
    return f"winograd({choice.m})" + (f" after {blocks}" if c.copies else "")


def form(c: Convolution | Gradient) -> str:
    height, width = c.kernel
    return f"{height}x{width} stride {c.stride}"
