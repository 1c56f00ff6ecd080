"""Convolutions, closed under differentiation: each one's gradient is the other two.

The operators work on x[n, g, c, h, w] and w[g, o, c, kh, kw] with the group axis explicit, because
an input channel is not affine in the output channel otherwise. The functions take PyTorch's shapes;
the reshapes between are free.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, define, input, same_dtype
from ..graph.types import Type

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # (top, bottom), (left, right)


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """How often a dilated kernel fits on a padded axis; 0 or less: never."""
    return (size + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1


def _sizes(image: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    y, x = (output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return y, x


def _check(name: str, *types: Type, stride: Pair, padding: Padding, dilation: Pair) -> str:
    """Checks what all three operators require; returns the dtype."""
    if any(len(t.shape) != 5 for t in types):
        raise ShapeError(
            f"{name} requires five axes with groups explicit, got {' and '.join(map(str, types))}"
        )
    if min(*stride, *dilation) < 1 or min(p for pair in padding for p in pair) < 0:
        raise ShapeError(
            f"{name} requires stride and dilation of at least 1 and no negative padding, "
            f"got stride {stride}, padding {padding}, dilation {dilation}"
        )
    dtype = same_dtype(name, *types)
    if dtype == "bool":
        raise ShapeError(f"{name} requires numbers, got bool; convert with tg.cast")
    return dtype


def _infer_conv2d(x: Type, w: Type, *, stride: Pair, padding: Padding, dilation: Pair) -> Type:
    dtype = _check("conv2d", x, w, stride=stride, padding=padding, dilation=dilation)
    (n, groups, channels, *image), (wg, o, wc, *kernel) = x.shape, w.shape
    if (groups, channels) != (wg, wc):
        raise ShapeError(
            f"conv2d requires weights for {groups} groups of {channels} input channels, "
            f"got {w.shape[0]} groups of {wc} (weights {w})"
        )
    out = _sizes((image[0], image[1]), (kernel[0], kernel[1]), stride, padding, dilation)
    if min(out) < 1:
        raise ShapeError(
            f"conv2d requires a kernel that fits the padded image, got kernel {tuple(kernel)} with "
            f"dilation {dilation} on image {tuple(image)} with padding {padding}"
        )
    return Type((n, groups, o, *out), dtype)


def _infer_input_gradient(
    g: Type, w: Type, *, size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Type:
    dtype = _check("conv2d_input_gradient", g, w, stride=stride, padding=padding, dilation=dilation)
    (n, groups, o, *image), (wg, wo, c, *kernel) = g.shape, w.shape
    expected = _sizes(size, (kernel[0], kernel[1]), stride, padding, dilation)
    if (groups, o) != (wg, wo) or tuple(image) != expected or min(expected) < 1:
        raise ShapeError(
            f"conv2d_input_gradient requires a gradient of {wg} groups of {wo} channels, "
            f"size {expected}, "
            f"got {g}"
        )
    return Type((n, groups, c, *size), dtype)


def _infer_weight_gradient(
    x: Type, g: Type, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Type:
    dtype = _check(
        "conv2d_weight_gradient", x, g, stride=stride, padding=padding, dilation=dilation
    )
    (n, groups, c, *image), (gn, gg, o, *out) = x.shape, g.shape
    expected = _sizes((image[0], image[1]), kernel, stride, padding, dilation)
    if (n, groups) != (gn, gg) or tuple(out) != expected or min(expected) < 1:
        raise ShapeError(
            f"conv2d_weight_gradient requires a gradient of {n} images, {groups} groups, "
            f"size {expected}, "
            f"got {g}"
        )
    return Type((groups, o, c, *kernel), dtype)


# -- the NumPy meaning: one matrix product for each tap of the kernel ------------------------------


def _padded(x: np.ndarray, padding: Padding) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (0, 0), *padding))


def _taps(
    kernel: Pair, out: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """(i, j, where tap [i, j] of the kernel looks in the padded image)."""
    for i, j in product(range(kernel[0]), range(kernel[1])):
        window = (
            slice(first := tap * step, first + (n - 1) * s + 1, s)
            for tap, step, n, s in zip((i, j), dilation, out, stride, strict=True)
        )
        yield i, j, (..., *window)


def _ref_conv2d(x: Any, w: Any, *, stride: Pair, padding: Padding, dilation: Pair) -> np.ndarray:
    n, groups, c, *image = x.shape
    o, kernel = w.shape[1], w.shape[3:]
    out = _sizes(tuple(image), kernel, stride, padding, dilation)
    y = np.zeros((n, groups, o, out[0] * out[1]), x.dtype)
    x = _padded(x, padding)
    for i, j, window in _taps(kernel, out, stride, dilation):
        y += w[:, :, :, i, j] @ x[window].reshape(n, groups, c, out[0] * out[1])
    return y.reshape(n, groups, o, *out)


def _ref_input_gradient(
    g: Any, w: Any, *, size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    n, groups, o, *out = g.shape
    c, kernel = w.shape[2], w.shape[3:]
    x = _padded(np.zeros((n, groups, c, *size), g.dtype), padding)
    for i, j, window in _taps(kernel, tuple(out), stride, dilation):
        images = g.reshape(n, groups, o, out[0] * out[1])
        x[window] += (w[:, :, :, i, j].swapaxes(1, 2) @ images).reshape(n, groups, c, *out)
    (top, _), (left, _) = padding
    return x[..., top : top + size[0], left : left + size[1]]


def _ref_weight_gradient(
    x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    n, groups, c = x.shape[:3]
    o, out = g.shape[2], g.shape[3:]
    w = np.empty((groups, o, c, *kernel), x.dtype)
    x = _padded(x, padding)
    for i, j, window in _taps(kernel, out, stride, dilation):
        taps = x[window].reshape(n, groups, c, out[0] * out[1]).swapaxes(2, 3)
        w[:, :, :, i, j] = np.sum(g.reshape(n, groups, o, out[0] * out[1]) @ taps, 0, x.dtype)
    return w


# -- the loop nests --------------------------------------------------------------------------------


def _axis(number: int) -> Index:
    return Index(terms=((number, 1),))


def _outside(padding: Padding) -> float | None:
    return 0.0 if any(p for pair in padding for p in pair) else None


def _image(
    padding: Padding, stride: Pair, dilation: Pair, out: Pair, tap: Pair
) -> tuple[Index, Index]:
    """Where the nest's output axes ``out`` and kernel axes ``tap`` look in the image."""
    y, x = (Index(-padding[a][0], ((out[a], stride[a]), (tap[a], dilation[a]))) for a in (0, 1))
    return y, x


def _loops_conv2d(
    y: Type, x: Type, w: Type, *, stride: Pair, padding: Padding, dilation: Pair
) -> Loops:
    n, g, o, _, _, c, i, j = map(_axis, range(8))
    image = _image(padding, stride, dilation, (3, 4), (6, 7))
    return Loops(w.shape[2:], (Read((n, g, c, *image), _outside(padding)), Read((g, o, c, i, j))))


def _loops_input_gradient(
    x: Type, g: Type, w: Type, *, size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Loops:
    """Tap i of output y touches input y * stride - padding + i * dilation: solved for y."""
    n, group, c, _, _, o, i, j = map(_axis, range(8))
    image = (Index(padding[a][0], ((3 + a, 1), (6 + a, -dilation[a])), stride[a]) for a in (0, 1))
    return Loops(
        (w.shape[1], *w.shape[3:]), (Read((n, group, o, *image), 0.0), Read((group, o, c, i, j)))
    )


def _loops_weight_gradient(
    w: Type, x: Type, g: Type, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Loops:
    group, o, c, _, _, n, y, z = map(_axis, range(8))
    image = _image(padding, stride, dilation, (6, 7), (3, 4))
    reads = Read((n, group, c, *image), _outside(padding)), Read((n, group, o, y, z))
    return Loops((g.shape[0], *g.shape[3:]), reads)


# -- the operators ---------------------------------------------------------------------------------


def _window(node: Node) -> dict[str, Any]:
    return {key: node.attr(key) for key in ("stride", "padding", "dilation")}


def _multiply_adds(g: Type, w: Type) -> int:
    """Multiply-adds of the convolution with output g and weights w, for all three operators."""
    return g.size * w.shape[2] * w.shape[3] * w.shape[4]


CONV2D: Op = define(
    "conv2d",
    Kind.ANCHOR,
    infer=_infer_conv2d,
    ref=_ref_conv2d,
    expr="{0} * {1}",
    loops=_loops_conv2d,
    fold="sum",
    vjp=lambda g, y, x, w: (
        CONV2D_INPUT_GRADIENT(g, w, size=x.shape[3:], **_window(y)),
        CONV2D_WEIGHT_GRADIENT(x, g, kernel=w.shape[3:], **_window(y)),
    ),
    cost=lambda y, x, w, **_: 2 * _multiply_adds(y, w) - y.size,
    example=lambda: CONV2D(input("x", 2, 2, 3, 7, 6), input("w", 2, 4, 3, 3, 2), **_EXAMPLE),
)

CONV2D_INPUT_GRADIENT: Op = define(
    "conv2d_input_gradient",
    Kind.ANCHOR,
    infer=_infer_input_gradient,
    ref=_ref_input_gradient,
    expr="{0} * {1}",
    loops=_loops_input_gradient,
    fold="sum",
    vjp=lambda c, x, g, w: (
        CONV2D(c, w, **_window(x)),
        CONV2D_WEIGHT_GRADIENT(c, g, kernel=w.shape[3:], **_window(x)),
    ),
    cost=lambda x, g, w, **_: 2 * _multiply_adds(g, w) - x.size,
    example=lambda: CONV2D_INPUT_GRADIENT(
        input("g", 2, 2, 4, 4, 6), input("w", 2, 4, 3, 3, 2), size=(7, 6), **_EXAMPLE
    ),
)

CONV2D_WEIGHT_GRADIENT: Op = define(
    "conv2d_weight_gradient",
    Kind.ANCHOR,
    infer=_infer_weight_gradient,
    ref=_ref_weight_gradient,
    expr="{0} * {1}",
    loops=_loops_weight_gradient,
    fold="sum",
    vjp=lambda c, w, x, g: (
        CONV2D_INPUT_GRADIENT(g, c, size=x.shape[3:], **_window(w)),
        CONV2D(x, c, **_window(w)),
    ),
    cost=lambda w, x, g, **_: 2 * _multiply_adds(g, w) - w.size,
    example=lambda: CONV2D_WEIGHT_GRADIENT(
        input("x", 2, 2, 3, 7, 6), input("g", 2, 2, 4, 4, 6), kernel=(3, 2), **_EXAMPLE
    ),
)

_EXAMPLE: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 1), (0, 1)), "dilation": (1, 1)}
