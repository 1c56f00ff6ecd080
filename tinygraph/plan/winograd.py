"""Winograd convolutions: which anchors are one, with which tile, and why.

No operator is known here by name. An anchor qualifies if one operand is read through two windows,
out + tap or out - tap, of equal size and step one, and the other operand has a tap's weight: a
convolution of stride one, and the gradient to its input, which is one with the filter turned round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..ir import Node
from .contract import Axis, Unsuitable, join_all
from .index import Leaf
from .plan import Access, Place


@dataclass(frozen=True, slots=True)
class Window:
    """An axis of the image: window position t of output o lies at o + t + origin, inside if that is
    in [0, size).

    ``flip``: the filter's last tap comes first.
    """

    out: int
    tap: int
    origin: int
    size: int
    stride: int
    flip: bool


@dataclass(frozen=True, slots=True)
class Convolution:
    """An anchor as a convolution of stride one: sizes, and each role's strides in image, weights
    and epilogue.

    Axes carry their stride in the image as ``a``, in the weights as ``b``. The windows' axes are
    rows first.
    """

    image: Access
    weights: Access
    source: Node  # the weights
    windows: tuple[Window, Window]
    outputs: tuple[Axis, Axis]
    taps: tuple[Axis, Axis]
    group: Axis
    batch: Axis
    column: Axis
    channel: Axis

    @property
    def r(self) -> int:
        return self.taps[0].size


def recognize(
    axes: tuple[int, ...],
    outputs: int,
    leaves: Sequence[tuple[Place, Leaf]],
    sources: Sequence[Node],
    operands: Sequence[Access],
    writes: Sequence[int],
) -> Convolution:
    """The convolution that an anchor's loops are; ``leaves`` say where its two inputs are read.

    Raises:
        Unsuitable: it is none, or not laid out as one.
    """
    for number in (0, 1):
        image, base = windows_of(*leaves[number], len(axes))
        if len(image) != 2:
            continue
        weights = plain(*leaves[1 - number], len(axes))
        return arrange_roles(
            axes, outputs, image, base, weights, sources[1 - number], operands, writes
        )
    raise Unsuitable("its stride or dilation is not one, or it has no two window axes")


def windows_of(place: Place, leaf: Leaf, rank: int) -> tuple[list[Window], Access]:
    """The axes of an operand that a window slides over, and the access of the rest."""
    windows: list[Window] = []
    offset, strides = place.offset, [0] * rank
    for index, stride, extent in zip(leaf.indices, place.strides, leaf.root.shape, strict=True):
        beyond = [g for k, g in enumerate(leaf.guards) if index.terms == ((rank + k, 1),)]
        if beyond:
            offset += index.constant * stride
            index, extent = beyond[0].index, beyond[0].size
        if (
            len(index.terms) == 2
            and index.divisor == 1
            and index.terms[0][1] == 1
            and abs(index.terms[1][1]) == 1
        ):
            (out, _), (tap, sign) = index.terms
            windows.append(Window(out, tap, index.constant, extent, stride, sign < 0))
            continue
        if beyond or index.divisor != 1 or any(a >= rank for a, _ in index.terms):
            return [], place_access(place, offset, strides)
        offset += index.constant * stride
        for a, c in index.terms:
            strides[a] += c * stride
    return windows, place_access(place, offset, strides)


def plain(place: Place, leaf: Leaf, rank: int) -> Access:
    """The weights: read by every axis alone, within their edges."""
    windows, access = windows_of(place, leaf, rank)
    if windows or leaf.guards:
        raise Unsuitable("both operands have windows")
    return access


def place_access(place: Place, offset: int, strides: Sequence[int]) -> Access:
    return Access(place.buffer, offset, tuple(strides), place.dtype, step=place.step)


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
    if any(w.out >= outputs or w.tap < outputs for w in windows):
        raise Unsuitable("its windows slide over the reduction")
    windows = sorted(windows, key=lambda w: -w.stride)
    every = [
        Axis(size, image.strides[i], weights.strides[i], tuple(o.strides[i] for o in operands))
        for i, size in enumerate(axes)
    ]
    own = {i for w in windows for i in (w.out, w.tap)}
    outs = [replace(every[w.out], a=w.stride) for w in windows]
    taps = [replace(every[w.tap], a=w.stride) for w in windows]
    if taps[0].size != taps[1].size:
        raise Unsuitable("its filter is not square")
    rest = [(i, x) for i, x in enumerate(every) if i not in own and x.size > 1]
    columns = [x for i, x in rest if i < outputs and x.b and not x.a]
    one = Axis(1, 0, 0, (0,) * len(operands))
    column = single(columns, one, "output channels")
    if column.size > 1 and (
        any(s not in (0, 1) for s in column.ops) or any(column.ops[w] != 1 for w in writes)
    ):
        raise Unsuitable("its output channels are not contiguous")
    channel = single([x for i, x in rest if i >= outputs], one, "input channels")
    if channel.size > 1 and channel.a != 1:
        raise Unsuitable("its input channels are not contiguous")
    return Convolution(
        image,
        weights,
        source,
        windows=(windows[0], windows[1]),
        outputs=(outs[0], outs[1]),
        taps=(taps[0], taps[1]),
        group=single([x for i, x in rest if i < outputs and x.a and x.b], one, "groups"),
        batch=single([x for i, x in rest if i < outputs and not x.b], one, "batch axes"),
        column=column,
        channel=channel,
    )


def single(axes: list[Axis], one: Axis, what: str) -> Axis:
    """The axes as one."""
    joined = join_all(sorted(axes, key=lambda x: (-abs(x.a), -abs(x.b)))) or [one]
    if len(joined) > 1:
        raise Unsuitable(f"its {what} do not join")
    return joined[0]
