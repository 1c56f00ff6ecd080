"""Convolutions, closed under differentiation: each one's gradient is the other two.

The operators work on x[n, g, c, *image] and w[g, o, c, *kernel] with the group axis explicit,
because an input channel is not affine in the output channel otherwise. The functions take PyTorch's
shapes; the reshapes between are free. Images have two or three axes, by the same formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..graph.ir import Node
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, define, input
from ..graph.types import Type
from .linalg import integer_product, product_dtype, product_gradients, product_text, wrapped

Pair = tuple[int, int]
Sizes = tuple[int, ...]  # one for each axis of the image
Padding = tuple[Pair, ...]  # (before, after) each axis: (top, bottom), (left, right)


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """How often a dilated kernel fits on a padded axis; 0 or less: never."""
    return (size + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1


def _sizes(image: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes) -> Sizes:
    return tuple(map(output_size, image, kernel, stride, padding, dilation))


def _check(
    name: str,
    *types: Type,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    accumulate: str | None = None,
) -> str:
    """Checks what all three operators require; returns the dtype."""
    axes = 3 + int(name[4])
    if any(len(t.shape) != axes for t in types):
        count, got = {5: "five", 6: "six"}[axes], " and ".join(map(str, types))
        raise ShapeError(f"{name} requires {count} axes with groups explicit, got {got}")
    if any(len(each) != axes - 3 for each in (stride, padding, dilation)):
        raise ShapeError(
            f"{name} requires {axes - 3} strides, paddings and dilations, "
            f"got stride {stride}, padding {padding}, dilation {dilation}"
        )
    if min(*stride, *dilation) < 1 or min(p for pair in padding for p in pair) < 0:
        raise ShapeError(
            f"{name} requires stride and dilation of at least 1 and no negative padding, "
            f"got stride {stride}, padding {padding}, dilation {dilation}"
        )
    dtype = product_dtype(name, accumulate, *types)
    if dtype == "bool":
        raise ShapeError(f"{name} requires numbers, got bool; convert with tg.cast")
    return dtype


def _infer_conv(
    name: str, x: Type, w: Type, *, stride: Sizes, padding: Padding, dilation: Sizes, **more: Any
) -> Type:
    dtype = _check(name, x, w, stride=stride, padding=padding, dilation=dilation, **more)
    (n, groups, channels, *image), (wg, o, wc, *kernel) = x.shape, w.shape
    if (groups, channels) != (wg, wc):
        raise ShapeError(
            f"{name} requires weights for {groups} groups of {channels} input channels, "
            f"got {w.shape[0]} groups of {wc} (weights {w})"
        )
    out = _sizes(tuple(image), tuple(kernel), stride, padding, dilation)
    if min(out) < 1:
        raise ShapeError(
            f"{name} requires a kernel that fits the padded image, got kernel {tuple(kernel)} with "
            f"dilation {dilation} on image {tuple(image)} with padding {padding}"
        )
    return Type((n, groups, o, *out), dtype)


def _infer_input_gradient(
    name: str,
    g: Type,
    w: Type,
    *,
    size: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    **more: Any,
) -> Type:
    dtype = _check(name, g, w, stride=stride, padding=padding, dilation=dilation, **more)
    (n, groups, o, *image), (wg, wo, c, *kernel) = g.shape, w.shape
    expected = _sizes(size, tuple(kernel), stride, padding, dilation)
    if (groups, o) != (wg, wo) or tuple(image) != expected or min(expected) < 1:
        raise ShapeError(
            f"{name} requires a gradient of {wg} groups of {wo} channels, size {expected}, got {g}"
        )
    return Type((n, groups, c, *size), dtype)


def _infer_weight_gradient(
    name: str,
    x: Type,
    g: Type,
    *,
    kernel: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    **more: Any,
) -> Type:
    dtype = _check(name, x, g, stride=stride, padding=padding, dilation=dilation, **more)
    (n, groups, c, *image), (gn, gg, o, *out) = x.shape, g.shape
    expected = _sizes(tuple(image), kernel, stride, padding, dilation)
    if (n, groups) != (gn, gg) or tuple(out) != expected or min(expected) < 1:
        raise ShapeError(
            f"{name} requires a gradient of {n} images, {groups} groups, size {expected}, got {g}"
        )
    return Type((groups, o, c, *kernel), dtype)


# -- the NumPy meaning: one matrix product for each tap of the kernel ------------------------------


def _padded(x: np.ndarray, padding: Padding) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (0, 0), *padding))


def _taps(
    kernel: Sizes, out: Sizes, stride: Sizes, dilation: Sizes
) -> Iterator[tuple[Sizes, tuple[Any, ...]]]:
    """(the tap, where it looks in the padded image)."""
    for tap in product(*map(range, kernel)):
        window = (
            slice(first := t * step, first + (n - 1) * s + 1, s)
            for t, step, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        yield tap, (..., *window)


def _ref_conv(
    x: Any, w: Any, *, stride: Sizes, padding: Padding, dilation: Sizes, **_: Any
) -> np.ndarray:
    n, groups, c, *image = x.shape
    o, kernel = w.shape[1], w.shape[3:]
    out = _sizes(tuple(image), kernel, stride, padding, dilation)
    y = np.zeros((n, groups, o, math.prod(out)), x.dtype)
    x = _padded(x, padding)
    for tap, window in _taps(kernel, out, stride, dilation):
        y += w[(..., *tap)] @ x[window].reshape(n, groups, c, math.prod(out))
    return y.reshape(n, groups, o, *out)


def _ref_input_gradient(
    g: Any, w: Any, *, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes, **_: Any
) -> np.ndarray:
    n, groups, o, *out = g.shape
    c, kernel = w.shape[2], w.shape[3:]
    x = _padded(np.zeros((n, groups, c, *size), g.dtype), padding)
    for tap, window in _taps(kernel, tuple(out), stride, dilation):
        images = g.reshape(n, groups, o, math.prod(out))
        x[window] += (w[(..., *tap)].swapaxes(1, 2) @ images).reshape(n, groups, c, *out)
    inside = (slice(p, p + n) for (p, _), n in zip(padding, size, strict=True))
    return x[(slice(None), slice(None), slice(None), *inside)]


def _ref_weight_gradient(
    x: Any, g: Any, *, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes, **_: Any
) -> np.ndarray:
    n, groups, c = x.shape[:3]
    o, out = g.shape[2], g.shape[3:]
    w: Any = np.empty((groups, o, c, *kernel), x.dtype)
    x = _padded(x, padding)
    for tap, window in _taps(kernel, out, stride, dilation):
        taps = x[window].reshape(n, groups, c, math.prod(out)).swapaxes(2, 3)
        products = g.reshape(n, groups, o, math.prod(out)) @ taps
        w[(..., *tap)] = np.sum(products, 0, x.dtype)
    return w


# -- the loop nests --------------------------------------------------------------------------------


def _axes(first: int, count: int) -> tuple[Index, ...]:
    return tuple(Index(terms=((first + a, 1),)) for a in range(count))


def _outside(padding: Padding) -> float | None:
    return 0.0 if any(p for pair in padding for p in pair) else None


def _image(
    padding: Padding, stride: Sizes, dilation: Sizes, out: int, tap: int
) -> tuple[Index, ...]:
    """Where the nest's output axes from ``out`` on and kernel axes from ``tap`` on look."""
    return tuple(
        Index(-p, ((out + a, s), (tap + a, d)))
        for a, ((p, _), s, d) in enumerate(zip(padding, stride, dilation, strict=True))
    )


def _loops_conv(
    y: Type, x: Type, w: Type, *, stride: Sizes, padding: Padding, dilation: Sizes, **_: Any
) -> Loops:
    rank = len(stride)
    (n, g, o), (c, *taps) = _axes(0, 3), _axes(3 + rank, 1 + rank)
    image = _image(padding, stride, dilation, 3, 4 + rank)
    return Loops(w.shape[2:], (Read((n, g, c, *image), _outside(padding)), Read((g, o, c, *taps))))


def _loops_input_gradient(
    x: Type,
    g: Type,
    w: Type,
    *,
    size: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    **_: Any,
) -> Loops:
    """Tap i of output y touches input y * stride - padding + i * dilation: solved for y."""
    rank = len(stride)
    (n, group, c), (o, *taps) = _axes(0, 3), _axes(3 + rank, 1 + rank)
    image = (
        Index(p, ((3 + a, 1), (4 + rank + a, -d)), s)
        for a, ((p, _), s, d) in enumerate(zip(padding, stride, dilation, strict=True))
    )
    return Loops(
        (w.shape[1], *w.shape[3:]), (Read((n, group, o, *image), 0.0), Read((group, o, c, *taps)))
    )


def _loops_weight_gradient(
    w: Type,
    x: Type,
    g: Type,
    *,
    kernel: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    **_: Any,
) -> Loops:
    rank = len(stride)
    (group, o, c), (n, *places) = _axes(0, 3), _axes(3 + rank, 1 + rank)
    image = _image(padding, stride, dilation, 4 + rank, 3)
    reads = Read((n, group, c, *image), _outside(padding)), Read((n, group, o, *places))
    return Loops((g.shape[0], *g.shape[3:]), reads)


# -- the operators ---------------------------------------------------------------------------------


def _window(node: Node) -> dict[str, Any]:
    return {key: node.attr(key) for key in ("stride", "padding", "dilation")}


def _multiply_adds(g: Type, w: Type) -> int:
    """Multiply-adds of the convolution with output g and weights w, for all three operators."""
    return g.size * math.prod(w.shape[2:])


class Convolutions(NamedTuple):
    """A convolution and its gradients, and that of bytes into int32."""

    forward: Op
    input_gradient: Op
    weight_gradient: Op
    integer: Op


def _convolutions(rank: int, window: dict[str, Any], image: Sizes, kernel: Sizes) -> Convolutions:
    """The operators for images of ``rank`` axes; their examples have this window and sizes."""
    name = f"conv{rank}d"
    out = _sizes(image, kernel, **window)
    x, w = (2, 2, 3, *image), (2, 4, 3, *kernel)
    forward: Op = define(
        name,
        Kind.ANCHOR,
        infer=lambda x, w, **a: _infer_conv(name, x, w, **a),
        ref=_ref_conv,
        expr=product_text,
        loops=_loops_conv,
        fold="sum",
        vjp=lambda g, y, *inputs: product_gradients(
            y,
            inputs,
            lambda x, w: (
                input_gradient(g, w, size=x.shape[3:], **_window(y)),
                weight_gradient(x, g, kernel=w.shape[3:], **_window(y)),
            ),
        ),
        cost=lambda y, x, w, **_: 2 * _multiply_adds(y, w) - y.size,
        example=lambda: forward(input("x", *x), input("w", *w), **window),
    )
    input_gradient: Op = define(
        f"{name}_input_gradient",
        Kind.ANCHOR,
        infer=lambda g, w, **a: _infer_input_gradient(f"{name}_input_gradient", g, w, **a),
        ref=_ref_input_gradient,
        expr=product_text,
        loops=_loops_input_gradient,
        fold="sum",
        vjp=lambda c, x, *inputs: product_gradients(
            x,
            inputs,
            lambda g, w: (
                forward(c, w, **_window(x)),
                weight_gradient(c, g, kernel=w.shape[3:], **_window(x)),
            ),
        ),
        cost=lambda x, g, w, **_: 2 * _multiply_adds(g, w) - x.size,
        example=lambda: input_gradient(
            input("g", 2, 2, 4, *out), input("w", *w), size=image, **window
        ),
    )
    weight_gradient: Op = define(
        f"{name}_weight_gradient",
        Kind.ANCHOR,
        infer=lambda x, g, **a: _infer_weight_gradient(f"{name}_weight_gradient", x, g, **a),
        ref=_ref_weight_gradient,
        expr=product_text,
        loops=_loops_weight_gradient,
        fold="sum",
        vjp=lambda c, w, *inputs: product_gradients(
            w,
            inputs,
            lambda x, g: (
                input_gradient(g, c, size=x.shape[3:], **_window(w)),
                forward(x, c, **_window(w)),
            ),
        ),
        cost=lambda w, x, g, **_: 2 * _multiply_adds(g, w) - w.size,
        example=lambda: weight_gradient(
            input("x", *x), input("g", 2, 2, 4, *out), kernel=kernel, **window
        ),
    )
    integer: Op = define(
        f"{name}_integer",
        Kind.ANCHOR,
        infer=lambda x, w, **a: _infer_conv(
            f"{name}_integer", *integer_product(f"{name}_integer", x, w), **a
        ),
        ref=lambda x, w, **a: wrapped(_ref_conv(x.astype(float), w.astype(float), **a)),
        expr="int32({0}) * int32({1})",
        loops=_loops_conv,
        fold="sum",
        no_gradient="integers have none",
        cost=lambda y, x, w, **_: 2 * _multiply_adds(y, w) - y.size,
        example=lambda: integer(
            input("x", *x, dtype="uint8"), input("w", *w, dtype="int8"), **window
        ),
    )
    return Convolutions(forward, input_gradient, weight_gradient, integer)


CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT, CONV2D_INTEGER = _convolutions(
    2, {"stride": (2, 1), "padding": ((1, 1), (0, 1)), "dilation": (1, 1)}, (7, 6), (3, 2)
)
CONV3D, CONV3D_INPUT_GRADIENT, CONV3D_WEIGHT_GRADIENT, CONV3D_INTEGER = _convolutions(
    3,
    {"stride": (1, 2, 1), "padding": ((0, 1), (1, 1), (0, 1)), "dilation": (2, 1, 1)},
    (4, 5, 6),
    (2, 3, 2),
)
