"""Winograd convolutions: which anchors are one, with which tile, and why.

No operator is known here by name. An anchor qualifies if one operand is read through two windows,
step * out + tap or out - tap, and the other operand has a tap's weight: a convolution, or the
gradient to the input of one of stride one, which is one with the filter turned round. If the step
is not one, the convolution over blocks of pixels stands for it (space_to_depth.py). Where the
results are taps, and pixels are summed up, it is the gradient to the weights, of any stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ...graph.ir import Node, same_nodes
from ..contraction.axis import Axis, join_all
from ..indexing.index import Leaf
from ..indexing.phases import Unsuitable
from ..indexing.windows import Window, plain, windows_of
from ..records.work import Access, Location
from .space_to_depth import Copy, image_in_blocks, weights_in_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """An anchor that reads an image through two windows of stride one: sizes, and each role's
    strides in both operands and in the epilogue.

    Axes carry their stride in the image as ``a``, in the other operand as ``b``. The windows' axes
    are rows first.

    Attributes:
        outputs: of the convolution.
        kernel, stride: of the original.
        copies: to be made first, if the stride was not one: of what, and how.
    """

    image: Access
    windows: tuple[Window, Window]
    outputs: tuple[Axis, Axis]
    taps: tuple[Axis, Axis]
    group: Axis
    batch: Axis
    column: Axis
    kernel: tuple[int, int]
    stride: int = 1
    copies: tuple[tuple[Node, Copy], ...] = ()

    @property
    def r(self) -> int:
        return self.taps[0].size


@same_nodes
@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Windowed):
    """An anchor as a convolution; the node ``source`` is its weights."""

    weights: Access
    source: Node
    channel: Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient(Windowed):
    """An anchor as the gradient to the weights of a convolution, whose outputs are summed over.

    Attributes:
        gradient: of the output.
        channels: at most three, outermost first, which are one in the image.
    """

    gradient: Access
    channels: tuple[Axis, ...]

    @property
    def depth(self) -> int:
        return prod(x.size for x in self.channels)


@same_nodes
@dataclass(frozen=True, slots=True)
class WindowProduct:
    """An anchor's loops, one operand of which is read through windows.

    Attributes:
        axes: sizes; the first ``outputs`` are those of the result.
        windows: rows first.
        image, other: the operand with the windows, without them, and the other one.
        source: the node of the other operand.
        operands: of the epilogue; it writes those with the numbers ``writes``.
    """

    axes: tuple[int, ...]
    outputs: int
    windows: Sequence[Window]
    image: Access
    other: Access
    source: Node
    operands: Sequence[Access]
    writes: Sequence[int]


def recognize(
    axes: tuple[int, ...],
    outputs: int,
    leaves: Sequence[tuple[Location, Leaf]],
    sources: Sequence[Node],
    operands: Sequence[Access],
    writes: Sequence[int],
) -> Convolution | Gradient:
    """The Winograd form of an anchor's loops; ``leaves`` say where its two inputs are read.

    Raises:
        Unsuitable: it has none, or is not laid out for it.
    """
    for number in (0, 1):
        windows, image = windows_of(*leaves[number], axes)
        if len(windows) != 2:
            continue
        windows.sort(key=lambda w: -w.stride)
        other, source = plain(*leaves[1 - number], axes), sources[1 - number]
        p = WindowProduct(axes, outputs, windows, image, other, source, operands, writes)
        if all(w.step == 1 and not w.flip for w in windows):
            turned = [replace(w, out=w.tap, tap=w.out) for w in windows]
            if sums_pixels(axes, outputs, turned[0], image):
                return arrange_gradient(replace(p, windows=turned))
        if any(w.out >= outputs or w.tap < outputs for w in windows):
            if not sums_pixels(axes, outputs, windows[0], image):
                raise Unsuitable("its windows have gaps")
            return strided_gradient(p, sources[number])
        apart = channels_apart(p) and not any(w.flip for w in windows)
        if apart or any(w.step > 1 for w in windows):
            return over_blocks(p, sources[number])
        return arrange_roles(p)
    raise Unsuitable("it has no two axes of overlapping windows without dilation")


def channels_apart(p: WindowProduct) -> bool:
    """True if an image's channels are not next to each other."""
    channels = [i for i in input_channels(p) if p.axes[i] > 1]
    return bool(channels) and all(p.image.strides[i] != 1 for i in channels)


def input_channels(p: WindowProduct) -> list[int]:
    """The axes of the reduction that are no taps."""
    return [i for i in range(p.outputs, len(p.axes)) if all(i != w.tap for w in p.windows)]


def over_blocks(p: WindowProduct, image: Node) -> Convolution:
    """The convolution over blocks; ``image`` is the node that is copied. Blocks of one pixel put
    its channels last.
    """
    step = p.windows[0].step
    found = image_in_blocks(p.axes, p.windows, p.image, input_channels(p))
    copies: tuple[tuple[Node, Copy], ...] = ((image, found.image),)
    other = replace(p.other, strides=(*p.other.strides, 0, 0))
    if step > 1:
        weights = weights_in_blocks(p.axes, p.windows, p.other, found)
        other, copies = weights.target, (*copies, (p.source, weights))
    blocks = replace(
        p,
        axes=found.axes,
        windows=found.windows,
        image=found.image.target,
        other=other,
        operands=[replace(o, strides=(*o.strides, 0, 0)) for o in p.operands],
    )
    height, width = (p.axes[w.tap] for w in p.windows)
    return replace(arrange_roles(blocks), kernel=(height, width), stride=step, copies=copies)


def sums_pixels(axes: tuple[int, ...], outputs: int, window: Window, image: Access) -> bool:
    """True if the results are taps and the window's outputs are summed up: then the image's
    channels, which are contiguous, are not. Where nothing is, there are more pixels than taps.
    """
    if window.out < outputs or window.tap >= outputs:
        return False
    channels = [i for i, n in enumerate(axes) if n > 1 and image.strides[i] == 1]
    if channels:
        return all(i < outputs for i in channels)
    return axes[window.out] > axes[window.tap]


def strided_gradient(p: WindowProduct, image: Node) -> Gradient:
    """The gradient to the weights of the convolution over blocks. Operands may have two strides
    more, for a block's rows and columns.
    """
    taps, rank = [w.tap for w in p.windows], len(p.axes)
    channels = [
        i
        for i in range(p.outputs)
        if i not in taps and p.image.strides[i] and not p.other.strides[i]
    ]
    found = image_in_blocks(p.axes, p.windows, p.image, channels)
    given, *wider = (
        replace(o, strides=(*o.strides, 0, 0)[: rank + 2]) for o in (p.other, *p.operands)
    )
    blocks = replace(
        p,
        axes=found.axes,
        windows=found.windows,
        image=found.image.target,
        other=given,
        operands=wider,
    )
    return replace(
        arrange_gradient(blocks, phases=(rank, rank + 1)),
        kernel=(p.axes[taps[0]], p.axes[taps[1]]),
        stride=p.windows[0].step,
        copies=((image, found.image),),
    )


def arrange_gradient(p: WindowProduct, phases: Sequence[int] = ()) -> Gradient:
    """``phases`` are axes after the reduction that are channels."""
    pixels, taps, rest = by_windows(axes_of(p), p.windows)
    results = [x for i, x in rest if i < p.outputs or i in phases]
    summed = [x for i, x in rest if i >= p.outputs and i not in phases]
    one = Axis(1, 0, 0, (0,) * len(p.operands))
    column = single([x for x in results if not x.a], one, "output channels")
    check_columns(column, p.writes)
    channels = join_all(sorted((x for x in results if not x.b), key=lambda x: -x.a)) or [one]
    if len(channels) > 3:
        raise Unsuitable("too many axes do not join")
    inner = [prod(x.size for x in channels[i + 1 :]) for i in range(len(channels))]
    if any(x.a != step for x, step in zip(channels, inner, strict=True) if x.size > 1) or (
        column.size > 1 and column.b != 1
    ):
        raise Unsuitable("its channels are not contiguous")
    return Gradient(
        image=p.image,
        gradient=p.other,
        windows=(p.windows[0], p.windows[1]),
        outputs=pixels,
        taps=taps,
        group=single([x for x in results if x.a and x.b], one, "groups"),
        batch=single(summed, one, "batch axes"),
        column=column,
        channels=tuple(channels),
        kernel=(taps[0].size, taps[1].size),
    )


def arrange_roles(p: WindowProduct) -> Convolution:
    outs, taps, rest = by_windows(axes_of(p), p.windows)
    results = [x for i, x in rest if i < p.outputs]
    one = Axis(1, 0, 0, (0,) * len(p.operands))
    column = single([x for x in results if x.b and not x.a], one, "output channels")
    check_columns(column, p.writes)
    channel = single([x for i, x in rest if i >= p.outputs], one, "input channels")
    if channel.size > 1 and channel.a != 1:
        raise Unsuitable("its input channels are not contiguous")
    return Convolution(
        image=p.image,
        weights=p.other,
        source=p.source,
        windows=(p.windows[0], p.windows[1]),
        outputs=outs,
        taps=taps,
        group=single([x for x in results if x.a and x.b], one, "groups"),
        batch=single([x for x in results if not x.b], one, "batch axes"),
        column=column,
        channel=channel,
        kernel=(taps[0].size, taps[1].size),
    )


def axes_of(p: WindowProduct) -> list[Axis]:
    return [
        Axis(size, p.image.strides[i], p.other.strides[i], tuple(o.strides[i] for o in p.operands))
        for i, size in enumerate(p.axes)
    ]


def by_windows(
    every: list[Axis], windows: Sequence[Window]
) -> tuple[tuple[Axis, Axis], tuple[Axis, Axis], list[tuple[int, Axis]]]:
    """The windows' outputs and taps, with the windows' strides, and all other axes with their
    numbers.
    """
    (down, across), own = windows, {i for w in windows for i in (w.out, w.tap)}
    outs = replace(every[down.out], a=down.stride), replace(every[across.out], a=across.stride)
    taps = replace(every[down.tap], a=down.stride), replace(every[across.tap], a=across.stride)
    if taps[0].size != taps[1].size:
        raise Unsuitable("its filter is not square")
    return outs, taps, [(i, x) for i, x in enumerate(every) if i not in own and x.size > 1]


def check_columns(column: Axis, writes: Sequence[int]) -> None:
    if column.size > 1 and (
        any(s not in (0, 1) for s in column.ops) or any(column.ops[w] != 1 for w in writes)
    ):
        raise Unsuitable("its output channels are not contiguous")


def single(axes: list[Axis], one: Axis, what: str) -> Axis:
    """The axes as one."""
    joined = join_all(sorted(axes, key=lambda x: (-abs(x.a), -abs(x.b)))) or [one]
    if len(joined) > 1:
        raise Unsuitable(f"its {what} do not join")
    return joined[0]
