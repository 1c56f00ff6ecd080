"""Convolutions with PyTorch's shapes, in one to three dimensions, with groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.convert import whole, wholes
from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV3D, CONV3D_INPUT_GRADIENT, Padding, Pair, Sizes
from .indexing import pad
from .linalg import product_dtype, widened_operands
from .view import reshape

__all__ = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"
)  # fmt: skip

Window = int | Sequence[int]  # as users write it: for each axis, or for all
Edges = int | Sequence[int | Sequence[int]]  # the same, or (before, after) for each
FORWARD = {2: CONV2D, 3: CONV3D}
TRANSPOSED = {2: CONV2D_INPUT_GRADIENT, 3: CONV3D_INPUT_GRADIENT}
AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
KERNEL = {1: "K", 2: "KH, KW", 3: "KD, KH, KW"}
TUPLES = {1: "a number", 2: "a pair of numbers", 3: "three numbers"}


def sizes_of(name: str, value: Any, rank: int) -> Sizes:
    """A number for each axis, from one or from as many."""
    found = wholes(name, value)
    if len(found) not in (1, rank):
        either = "a number" if rank == 1 else f"a number or {TUPLES[rank]}"
        raise ShapeError(f"{name} requires {either}, got {value!r}")
    return found if len(found) == rank else found * rank


def edges_of(name: str, value: Any, rank: int) -> Padding:
    """(before, after) each axis, from one number, one for each axis, or such pairs."""
    if np.ndim(value) and len(value) == rank and any(np.ndim(v) for v in value):
        return tuple((sides[0], sides[1]) for sides in (sizes_of(name, v, 2) for v in value))
    if rank == 1 and np.ndim(value) == 1 and len(value) == 2:
        before, after = sizes_of(name, value, 2)
        return ((before, after),)
    return tuple((p, p) for p in sizes_of(name, value, rank))


def pair(name: str, value: Any) -> Pair:
    """(vertical, horizontal) from one number or two."""
    y, x = sizes_of(name, value, 2)
    return y, x


def edges(name: str, value: Any) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) from one number, a pair, or two pairs."""
    y, x = edges_of(name, value, 2)
    return y, x


def border_of(name: str, padding: Any, kernel: Any, stride: Any, dilation: Any) -> Padding:
    """As ``edges_of``; 'same' keeps the size of the image, 'valid' is none."""
    rank = len(kernel)
    if not isinstance(padding, str):
        return edges_of(f"{name} padding", padding, rank)
    if padding not in ("same", "valid"):
        raise ShapeError(f"{name} requires numbers, 'same' or 'valid' as padding, got {padding!r}")
    if padding == "valid":
        return ((0, 0),) * rank
    if any(s != 1 for s in sizes_of(f"{name} stride", stride, rank)):
        raise ShapeError(f"{name} requires a stride of 1 for padding='same', got {stride}")
    gaps = sizes_of(f"{name} dilation", dilation, rank)
    total = [d * (k - 1) for k, d in zip(kernel, gaps, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def _convolved(
    rank: int, x: Any, weight: Any, groups: Any, accumulate: str | None, **window: Any
) -> Node:
    name = f"conv{rank}d"
    x, weight = promote(name, (x, weight))
    if accumulate is not None:
        product_dtype(name, accumulate, x.type, weight.type)
        x, weight = widened_operands(accumulate, x, weight)
    stride, padding, dilation = window["stride"], window["padding"], window["dilation"]
    if x.ndim != rank + 2 or weight.ndim != rank + 2:
        raise ShapeError(
            f"{name} requires x[N, C, {AXES[rank]}] and weight[O, I, {KERNEL[rank]}], "
            f"got {x.type} and {weight.type}"
        )
    (n, c, *image), (o, i, *kernel) = x.shape, weight.shape
    groups = whole(f"{name} groups", groups)
    if groups < 1 or o % groups or c != i * groups:
        raise ShapeError(
            f"{name} requires {i * groups} input channels and outputs that divide by groups, "
            f"got x {x.type}, weight {weight.type}, groups={groups}"
        )
    y = FORWARD[rank](
        reshape(x, n, groups, i, *image),
        reshape(weight, groups, o // groups, i, *kernel),
        stride=sizes_of(f"{name} stride", stride, rank),
        padding=border_of(name, padding, kernel, stride, dilation),
        dilation=sizes_of(f"{name} dilation", dilation, rank),
    )
    return reshape(y, n, o, *y.shape[3:])


def conv2d(
    x: Node,
    weight: Node,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    accumulate: str | None = None,
) -> Node:
    """Cross-correlation of x[N, C, H, W] with weight[O, C / groups, KH, KW], as in PyTorch.

    ``padding`` is a number, a (vertical, horizontal) pair, ((top, bottom), (left, right)), 'valid'
    for none, or 'same', which keeps the size of the image where the stride is 1.

    Args:
        stride: how far the window moves: a number, or a (vertical, horizontal) pair.
        dilation: the distance between the pixels of a window, likewise.
        groups: each sees C / groups channels; C of them make a depthwise convolution.
        accumulate: "float32" multiplies bfloat16 into sums that are not rounded to it.

    Raises:
        ShapeError: shapes do not fit, or the window is larger than the padded image.

    Example:
        >>> x, w = tg.zeros((8, 3, 32, 32)), tg.zeros((16, 3, 3, 3))
        >>> tg.conv2d(x, w, stride=2, padding=1).shape
        (8, 16, 16, 16)
    """
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    return _convolved(2, x, weight, groups, accumulate, **window)


def conv3d(
    x: Node,
    weight: Node,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    accumulate: str | None = None,
) -> Node:
    """Cross-correlation of x[N, C, D, H, W] with weight[O, C / groups, KD, KH, KW].

    ``padding`` is a number, one for each of the three axes, or three (before, after) pairs.

    Args:
        stride, dilation, groups, accumulate: see ``tg.conv2d``.

    Example:
        >>> x, w = tg.zeros((1, 2, 8, 16, 16)), tg.zeros((4, 2, 3, 3, 3))
        >>> tg.conv3d(x, w, padding=1).shape
        (1, 4, 8, 16, 16)
    """
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    return _convolved(3, x, weight, groups, accumulate, **window)


def _transposed(
    rank: int,
    x: Node,
    weight: Node,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
) -> Node:
    name = f"conv_transpose{rank}d"
    if x.ndim != rank + 2 or weight.ndim != rank + 2:
        raise ShapeError(
            f"{name} requires x[N, I, {AXES[rank]}] and weight[I, O, {KERNEL[rank]}], "
            f"got {x.type} and {weight.type}"
        )
    (n, c, *image), (i, o, *kernel) = x.shape, weight.shape
    groups = whole(f"{name} groups", groups)
    if groups < 1 or c != i or i % groups:
        raise ShapeError(
            f"{name} requires {i} input channels that divide by groups, "
            f"got x {x.type}, groups={groups}"
        )
    steps, gaps, extra = (
        sizes_of(f"{name} {what}", value, rank)
        for what, value in (
            ("stride", stride), ("dilation", dilation), ("output_padding", output_padding)
        )
    )  # fmt: skip
    border = edges_of(f"{name} padding", padding, rank)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        raise ShapeError(
            f"{name} requires output_padding below stride or dilation, got {output_padding}"
        )
    # rows and columns that no window begins in are those that padding had cut off, and then zeros
    cut = tuple(e if e >= s else 0 for e, s in zip(extra, steps, strict=True))
    zeros = tuple(max(0, c - high) for c, (_, high) in zip(cut, border, strict=True))
    border = tuple((low, high - min(c, high)) for c, (low, high) in zip(cut, border, strict=True))
    size = tuple(
        (image[a] - 1) * steps[a] - sum(border[a]) + gaps[a] * (kernel[a] - 1) + 1
        + (extra[a] if not cut[a] else 0)
        for a in range(rank)
    )  # fmt: skip
    y = TRANSPOSED[rank](
        reshape(x, n, groups, c // groups, *image),
        reshape(weight, groups, i // groups, o, *kernel),
        size=size,
        stride=steps,
        padding=border,
        dilation=gaps,
    )
    y = reshape(y, n, groups * o, *size)
    return pad(y, ((0, 0), (0, 0), *((0, z) for z in zeros)))


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

    Args:
        stride, padding, dilation, groups: those of the convolution; see ``tg.conv2d``.

    Example:
        >>> x, w = tg.zeros((1, 8, 16, 16)), tg.zeros((8, 4, 2, 2))
        >>> tg.conv_transpose2d(x, w, stride=2).shape
        (1, 4, 32, 32)
    """
    return _transposed(2, x, weight, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(
    x: Node,
    weight: Node,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Node:
    """The same for x[N, I, D, H, W] and weight[I, O / groups, KD, KH, KW].

    Args:
        stride, padding, output_padding, dilation, groups: see ``tg.conv_transpose2d``.

    Example:
        >>> x, w = tg.zeros((1, 8, 4, 4, 4)), tg.zeros((8, 2, 2, 2, 2))
        >>> tg.conv_transpose3d(x, w, stride=2).shape
        (1, 2, 8, 8, 8)
    """
    return _transposed(3, x, weight, stride, padding, output_padding, dilation, groups)


# -- one axis: an image of height 1 ----------------------------------------------------------------


def _of_height_one(function: Callable[..., Node], x: Node, weight: Node, **options: Any) -> Node:
    """A two-dimensional function on images of height 1."""
    y = function(
        reshape(x, *x.shape[:2], 1, x.shape[2]),
        reshape(weight, *weight.shape[:2], 1, weight.shape[2]),
        **options,
    )
    return reshape(y, *y.shape[:2], y.shape[3])


def conv1d(
    x: Node,
    weight: Node,
    *,
    stride: Window = 1,
    padding: Any = 0,
    dilation: Window = 1,
    groups: int = 1,
) -> Node:
    """Cross-correlation of x[N, C, L] with weight[O, C / groups, K]: a convolution of height 1.

    ``padding`` is a number or a (left, right) pair.

    Args:
        stride, dilation, groups: integers; see ``tg.conv2d``.

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> x, w = tg.constant([[[1.0, 2.0, 4.0, 8.0]]]), tg.constant([[[-1.0, 1.0]]])
        >>> tg.run(tg.conv1d(x, w))
        array([[[1., 2., 4.]]], dtype=float32)
    """
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            f"conv1d requires x[N, C, L] and weight[O, I, K], got {x.type} and {weight.type}"
        )
    return _of_height_one(
        conv2d,
        x,
        weight,
        stride=(1, *sizes_of("conv1d stride", stride, 1)),
        padding=((0, 0), *border_of("conv1d", padding, weight.shape[2:], stride, dilation)),
        dilation=(1, *sizes_of("conv1d dilation", dilation, 1)),
        groups=groups,
    )


def conv_transpose1d(
    x: Node,
    weight: Node,
    *,
    stride: Window = 1,
    padding: Any = 0,
    output_padding: Window = 0,
    dilation: Window = 1,
    groups: int = 1,
) -> Node:
    """A one-dimensional convolution's input gradient: x[N, I, L], weight[I, O / groups, K].

    Args:
        stride, padding, output_padding, dilation, groups: see ``tg.conv_transpose2d``.

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> x, w = tg.zeros((1, 4, 10)), tg.zeros((4, 2, 4))
        >>> tg.conv_transpose1d(x, w, stride=2, padding=1).shape
        (1, 2, 20)
    """
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            "conv_transpose1d requires x[N, I, L] and weight[I, O, K], "
            f"got {x.type} and {weight.type}"
        )
    return _of_height_one(
        conv_transpose2d,
        x,
        weight,
        stride=(1, *sizes_of("conv_transpose1d stride", stride, 1)),
        padding=((0, 0), *edges_of("conv_transpose1d padding", padding, 1)),
        output_padding=(0, *sizes_of("conv_transpose1d output_padding", output_padding, 1)),
        dilation=(1, *sizes_of("conv_transpose1d dilation", dilation, 1)),
        groups=groups,
    )
