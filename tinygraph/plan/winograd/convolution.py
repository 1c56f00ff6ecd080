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

from ...graph.ir import Node
from ..contraction.axes import Axis, join_all
from ..indexing.index import Leaf
from ..indexing.phases import Unsuitable
from ..indexing.windows import Window, plain, windows_of
from ..records.plan import Access, Location
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
        image, base = windows_of(*leaves[number], axes)
        if len(image) != 2:
            continue
        image.sort(key=lambda w: -w.stride)
        other, source = plain(*leaves[1 - number], axes), sources[1 - number]
        if all(w.step == 1 and not w.flip for w in image):
            turned = [replace(w, out=w.tap, tap=w.out) for w in image]
            if sums_pixels(axes, outputs, turned[0], base):
                return arrange_gradient(axes, outputs, turned, base, other, operands, writes)
        if any(w.out >= outputs or w.tap < outputs for w in image):
            if not sums_pixels(axes, outputs, image[0], base):
                raise Unsuitable("its windows have gaps")
            return strided_gradient(
                axes, outputs, image, base, other, sources[number], operands, writes
            )
        if all(w.step == 1 for w in image):
            return arrange_roles(axes, outputs, image, base, other, source, operands, writes)
        channels = [i for i in range(outputs, len(axes)) if all(i != w.tap for w in image)]
        found = image_in_blocks(axes, image, base, channels)
        weights = weights_in_blocks(axes, image, other, found)
        wider = [replace(o, strides=(*o.strides, 0, 0)) for o in operands]
        targets = found.image.target, weights.target
        over_blocks = arrange_roles(
            found.axes, outputs, found.windows, *targets, source, wider, writes
        )
        height, width = (axes[w.tap] for w in image)
        return replace(
            over_blocks,
            kernel=(height, width),
            stride=image[0].step,
            copies=((sources[number], found.image), (source, weights)),
        )
    raise Unsuitable("it has no two axes of overlapping windows without dilation")


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


def strided_gradient(
    axes: tuple[int, ...],
    outputs: int,
    windows: list[Window],
    image: Access,
    gradient: Access,
    source: Node,
    operands: Sequence[Access],
    writes: Sequence[int],
) -> Gradient:
    """The gradient to the weights of the convolution over blocks. Operands may have two strides
    more, for a block's rows and columns.
    """
    taps, rank = [w.tap for w in windows], len(axes)
    channels = [
        i for i in range(outputs) if i not in taps and image.strides[i] and not gradient.strides[i]
    ]
    found = image_in_blocks(axes, windows, image, channels)
    given, *wider = (
        replace(o, strides=(*o.strides, 0, 0)[: rank + 2]) for o in (gradient, *operands)
    )
    both, phases = (found.image.target, given), (rank, rank + 1)
    over_blocks = arrange_gradient(found.axes, outputs, found.windows, *both, wider, writes, phases)
    return replace(
        over_blocks,
        kernel=(axes[taps[0]], axes[taps[1]]),
        stride=windows[0].step,
        copies=((source, found.image),),
    )


def arrange_gradient(
    axes: tuple[int, ...],
    outputs: int,
    windows: list[Window],
    image: Access,
    gradient: Access,
    operands: Sequence[Access],
    writes: Sequence[int],
    phases: Sequence[int] = (),
) -> Gradient:
    """``phases`` are axes after the reduction that are channels."""
    pixels, taps, rest = by_windows(axes_of(axes, image, gradient, operands), windows)
    results = [x for i, x in rest if i < outputs or i in phases]
    one = Axis(1, 0, 0, (0,) * len(operands))
    column = single([x for x in results if not x.a], one, "output channels")
    check_columns(column, writes)
    channels = join_all(sorted((x for x in results if not x.b), key=lambda x: -x.a)) or [one]
    if len(channels) > 3:
        raise Unsuitable("too many axes do not join")
    inner = [prod(x.size for x in channels[i + 1 :]) for i in range(len(channels))]
    if any(x.a != step for x, step in zip(channels, inner, strict=True) if x.size > 1) or (
        column.size > 1 and column.b != 1
    ):
        raise Unsuitable("its channels are not contiguous")
    return Gradient(
        image=image,
        gradient=gradient,
        windows=(windows[0], windows[1]),
        outputs=pixels,
        taps=taps,
        group=single([x for x in results if x.a and x.b], one, "groups"),
        batch=single([x for i, x in rest if i >= outputs and i not in phases], one, "batch axes"),
        column=column,
        channels=tuple(channels),
        kernel=(taps[0].size, taps[1].size),
    )


def arrange_roles(
    axes: tuple[int, ...],
    outputs: int,
    windows: list[Window],
    image: Access,
    weights: Access,
    source: Node,
    operands: Sequence[Access],
    writes: Sequence[int],
) -> Convolution:
    outs, taps, rest = by_windows(axes_of(axes, image, weights, operands), windows)
    columns = [x for i, x in rest if i < outputs and x.b and not x.a]
    one = Axis(1, 0, 0, (0,) * len(operands))
    column = single(columns, one, "output channels")
    check_columns(column, writes)
    channel = single([x for i, x in rest if i >= outputs], one, "input channels")
    if channel.size > 1 and channel.a != 1:
        raise Unsuitable("its input channels are not contiguous")
    return Convolution(
        image=image,
        weights=weights,
        source=source,
        windows=(windows[0], windows[1]),
        outputs=outs,
        taps=taps,
        group=single([x for i, x in rest if i < outputs and x.a and x.b], one, "groups"),
        batch=single([x for i, x in rest if i < outputs and not x.b], one, "batch axes"),
        column=column,
        channel=channel,
        kernel=(taps[0].size, taps[1].size),
    )


def axes_of(axes: tuple[int, ...], a: Access, b: Access, operands: Sequence[Access]) -> list[Axis]:
    return [
        Axis(size, a.strides[i], b.strides[i], tuple(o.strides[i] for o in operands))
        for i, size in enumerate(axes)
    ]


def by_windows(
    every: list[Axis], windows: list[Window]
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
