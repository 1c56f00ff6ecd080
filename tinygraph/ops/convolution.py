"""Convolutions with PyTorch's shapes, in one and two dimensions, with groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.convert import whole, wholes
from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .conv import CONV2D, CONV2D_INPUT_GRADIENT, Padding, Pair
from .indexing import pad
from .view import reshape

__all__ = ("conv1d", "conv2d", "conv_transpose2d")


def pair(name: str, value: Any) -> Pair:
    """(vertical, horizontal) from one number or two."""
    both = wholes(name, value)
    if len(both) > 2 or not both:
        raise ShapeError(f"{name} requires a number or a pair of numbers, got {value!r}")
    return both[0], both[-1]


def edges(name: str, value: Any) -> Padding:
    """((top, bottom), (left, right)) from one number, a pair, or two pairs."""
    if np.ndim(value) and len(value) == 2 and any(np.ndim(v) for v in value):
        return pair(name, value[0]), pair(name, value[1])
    y, x = pair(name, value)
    return (y, y), (x, x)


def conv2d(
    x: Node, weight: Node, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Node:
    """Cross-correlation of x[N, C, H, W] with weight[O, C / groups, KH, KW], as in PyTorch.

    ``padding`` is a number, a (vertical, horizontal) pair, or ((top, bottom), (left, right)).
    """
    x, weight = promote("conv2d", (x, weight))
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            "conv2d requires x[N, C, H, W] and weight[O, I, KH, KW], "
            f"got {x.type} and {weight.type}"
        )
    (n, c, h, w), (o, i, kh, kw) = x.shape, weight.shape
    groups = whole("conv2d groups", groups)
    if groups < 1 or o % groups or c != i * groups:
        raise ShapeError(
            f"conv2d requires {i * groups} input channels and outputs that divide by groups, "
            f"got x {x.type}, weight {weight.type}, groups={groups}"
        )
    y = CONV2D(
        reshape(x, n, groups, i, h, w),
        reshape(weight, groups, o // groups, i, kh, kw),
        stride=pair("conv2d stride", stride),
        padding=edges("conv2d padding", padding),
        dilation=pair("conv2d dilation", dilation),
    )
    return reshape(y, n, o, *y.shape[3:])


def conv_transpose2d(
    x: Node,
    weight: Node,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Node:
    """A convolution's input gradient as a layer: x[N, I, H, W], weight[I, O / groups, KH, KW].

    ``output_padding`` is less than the stride or the dilation.

    The result is (H - 1) * stride - padding + dilation * (KH - 1) + output_padding + 1 high, as in
    PyTorch.
    """
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            "conv_transpose2d requires x[N, I, H, W] and weight[I, O, KH, KW], "
            f"got {x.type} and {weight.type}"
        )
    (n, c, *image), (i, o, *kernel) = x.shape, weight.shape
    groups = whole("conv_transpose2d groups", groups)
    if groups < 1 or c != i or i % groups:
        raise ShapeError(
            f"conv_transpose2d requires {i} input channels that divide by groups, "
            f"got x {x.type}, groups={groups}"
        )
    steps, gaps = (
        pair("conv_transpose2d stride", stride),
        pair("conv_transpose2d dilation", dilation),
    )
    extra, border = (
        pair("conv_transpose2d output_padding", output_padding),
        edges("conv_transpose2d padding", padding),
    )
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        raise ShapeError(
            "conv_transpose2d requires output_padding below stride or dilation, "
            f"got {output_padding}"
        )
    # rows and columns that no window begins in are those that padding had cut off, and then zeros
    cut = tuple(e if e >= s else 0 for e, s in zip(extra, steps, strict=True))
    zeros = tuple(max(0, c - high) for c, (_, high) in zip(cut, border, strict=True))
    shown = ((low, high - min(c, high)) for c, (low, high) in zip(cut, border, strict=True))
    border = (next(shown), next(shown))
    size = tuple(
        (image[a] - 1) * steps[a] - sum(border[a]) + gaps[a] * (kernel[a] - 1) + 1
        + (extra[a] if not cut[a] else 0)
        for a in (0, 1)
    )  # fmt: skip
    y = CONV2D_INPUT_GRADIENT(
        reshape(x, n, groups, c // groups, *image),
        reshape(weight, groups, i // groups, o, *kernel),
        size=size,
        stride=steps,
        padding=border,
        dilation=gaps,
    )
    y = reshape(y, n, groups * o, *size)
    return pad(y, ((0, 0), (0, 0), (0, zeros[0]), (0, zeros[1])))


def conv1d(
    x: Node, weight: Node, *, stride: int = 1, padding: Any = 0, dilation: int = 1, groups: int = 1
) -> Node:
    """Cross-correlation of x[N, C, L] with weight[O, C / groups, K]: a convolution of height 1.

    ``padding`` is a number or a (left, right) pair.
    """
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            f"conv1d requires x[N, C, L] and weight[O, I, K], got {x.type} and {weight.type}"
        )
    y = conv2d(
        reshape(x, *x.shape[:2], 1, x.shape[2]),
        reshape(weight, *weight.shape[:2], 1, weight.shape[2]),
        stride=(1, whole("conv1d stride", stride)),
        padding=((0, 0), pair("conv1d padding", padding)),
        dilation=(1, whole("conv1d dilation", dilation)),
        groups=groups,
    )
    return reshape(y, *y.shape[:2], y.shape[3])
