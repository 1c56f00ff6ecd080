"""Pooling of x[N, C, H, W]: maximum, average, L2 norm, centre-weighted average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import ShapeError, constant
from .convolution import edges, pair
from .gather import take
from .indexing import pad
from .linalg import matmul
from .logic import cast
from .math import root
from .reduce import mean
from .window import WINDOW_MAX, WINDOW_SUM
from .window_weighted import WINDOW_WEIGHTED

__all__ = (
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "center_weighted_pool2d",
    "center_weights",
    "l2_pool2d",
    "max_pool2d",
)


@dataclass(frozen=True)
class _Windows:
    """Windows over an image, resolved: all pairs are (vertical, horizontal)."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    count: tuple[int, int]

    def attrs(self, x: Node) -> dict[str, Any]:
        """The window operators' attributes for x[N, C, H, W]."""
        return {
            "kernel": (1, 1, *self.kernel),
            "stride": (1, 1, *self.stride),
            "padding": (0, 0, self.padding[0][0], self.padding[1][0]),
            "size": (*x.shape[:2], *self.count),
        }

    def coverage(self, weights: np.ndarray, count_padding: bool) -> np.ndarray:
        """The sum of each window's weights on the image, or on the image with its padding.

        What ceil_mode adds beyond the padding never counts, as in PyTorch.
        """
        seen = [self._seen(axis, count_padding) for axis in (0, 1)]
        return np.einsum("yi,ij,xj->yx", seen[0], weights, seen[1])

    def _seen(self, axis: int, count_padding: bool) -> np.ndarray:
        """1 for each tap of each window along an axis that counts."""
        low, high = self.padding[axis] if count_padding else (0, 0)
        first = np.arange(self.count[axis]) * self.stride[axis] - self.padding[axis][0]
        place = first[:, None] + np.arange(self.kernel[axis])
        return ((place >= -low) & (place < self.image[axis] + high)).astype(np.float64)


def _windows(
    name: str, x: Node, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> _Windows:
    if x.ndim != 4:
        raise ShapeError(f"{name} requires x[N, C, H, W], got {x.type}")
    kernel = pair(f"{name} kernel_size", kernel_size)
    steps = kernel if stride is None else pair(f"{name} stride", stride)
    border = edges(f"{name} padding", padding)
    if min(*kernel, *steps) < 1 or any(
        min(p) < 0 or max(p) >= k for p, k in zip(border, kernel, strict=True)
    ):
        raise ShapeError(
            f"{name} requires kernel_size and stride of at least 1 and padding below kernel_size, "
            f"got kernel_size={kernel_size}, stride={stride}, padding={padding}"
        )
    image = (x.shape[2], x.shape[3])
    count = [_count(image[a], kernel[a], steps[a], border[a], ceil_mode) for a in (0, 1)]
    if min(count) < 1:
        raise ShapeError(
            f"{name} requires windows that fit the padded image, "
            f"got kernel_size={kernel_size}, {x.type}"
        )
    return _Windows(image, kernel, steps, border, (count[0], count[1]))


def _count(image: int, kernel: int, stride: int, padding: tuple[int, int], ceil_mode: bool) -> int:
    """How many windows; with ceil_mode a last one may hang over, if it starts inside."""
    room = image + sum(padding) - kernel
    count = (room + (stride - 1) * ceil_mode) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= image + padding[0] else count


def max_pool2d(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    dilation: Any = 1,
) -> Node:
    """The maximum of each window; NaN if one is in it. Padding never wins. Integers are taken, too.

    The gradient goes to the first maximum in scan order. ``stride`` is ``kernel_size`` by default;
    ``padding`` is a number, a (vertical, horizontal) pair, or ((top, bottom), (left, right)); with
    ``ceil_mode`` a last window may hang over the edge. The other pooling functions take the same.
    ``dilation`` is the distance between the elements of a window.
    """
    if DTYPES[x.dtype].is_integer:
        wide = "float32" if DTYPES[x.dtype].bits <= 16 else "float64"
        if DTYPES[x.dtype].bits > 32:
            raise ShapeError(f"max_pool2d requires integers of 32 bits at most, got {x.type}")
        y = max_pool2d(cast(x, wide), kernel_size, stride, padding, ceil_mode, dilation)
        return cast(y, x.dtype)
    gaps = pair("max_pool2d dilation", dilation)
    if gaps != (1, 1):
        return _dilated_max(x, kernel_size, stride, padding, ceil_mode, gaps)
    return WINDOW_MAX(
        x, **_windows("max_pool2d", x, kernel_size, stride, padding, ceil_mode).attrs(x)
    )


def _dilated_max(
    x: Node, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, gaps: tuple[int, int]
) -> Node:
    """The elements of each window are brought together, and then pooled as they stand."""
    kernel = pair("max_pool2d kernel_size", kernel_size)
    steps = kernel if stride is None else pair("max_pool2d stride", stride)
    if min(gaps) < 1:
        raise ShapeError(f"max_pool2d requires dilation of at least 1, got {gaps}")
    spans = (gaps[0] * (kernel[0] - 1) + 1, gaps[1] * (kernel[1] - 1) + 1)
    border = edges("max_pool2d padding", padding)
    if any(max(p) > k // 2 for p, k in zip(border, kernel, strict=True)):
        raise ShapeError(
            f"max_pool2d requires padding of at most half the kernel_size where it has dilation, "
            f"got kernel_size={kernel_size}, padding={padding}"
        )
    count = _windows("max_pool2d", x, spans, steps, padding, ceil_mode).count
    for axis in (0, 1):
        first = np.arange(count[axis]) * steps[axis]
        places = (first[:, None] + np.arange(kernel[axis]) * gaps[axis]).ravel()
        low, high = border[axis]
        size = x.shape[2 + axis] + low + high
        more = (0, 0) if not places.size else (low, max(high, int(places[-1]) + 1 - size + high))
        x = pad(x, [more if a == 2 + axis else (0, 0) for a in range(4)], value=-math.inf)
        x = take(x, places, 2 + axis)
    return max_pool2d(x, kernel)


def avg_pool2d(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """The mean of each window, padded zeros counted or not."""
    windows = _windows("avg_pool2d", x, kernel_size, stride, padding, ceil_mode)
    count = windows.coverage(np.ones(windows.kernel), count_include_pad)
    return _scaled(WINDOW_SUM(x, **windows.attrs(x)), 1 / count)


def l2_pool2d(
    x: Node, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Node:
    """The L2 norm of each window: sqrt(sum x^2). Where it is 0, so is the gradient."""
    squares = WINDOW_SUM(
        x * x, **_windows("l2_pool2d", x, kernel_size, stride, padding, ceil_mode).attrs(x)
    )
    return root(squares)


def center_weights(kernel_size: Any) -> np.ndarray:
    """w[i, j] ~ 1 / (1 + distance of pixel (i, j) from the centre in pixels); the sum is 1."""
    kh, kw = pair("center_weights", kernel_size)
    y, x = np.arange(kh) - (kh - 1) / 2, np.arange(kw) - (kw - 1) / 2
    weights = 1 / (1 + np.hypot(y[:, None], x))
    return weights / weights.sum()


def center_weighted_pool2d(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """The mean of each window, weighted by the distance from its centre.

    Pixel (i, j) weighs 1 / (1 + d), where d is its Euclidean distance in pixels from the centre
    ((KH - 1) / 2, (KW - 1) / 2), divided by the sum of the weights that count: those on the image
    and, with ``count_include_pad``, on the padding.
    """
    windows = _windows("center_weighted_pool2d", x, kernel_size, stride, padding, ceil_mode)
    weights = center_weights(windows.kernel)
    w = constant(weights.reshape(1, 1, *windows.kernel), x.dtype)
    count = windows.coverage(weights, count_include_pad)
    return _scaled(WINDOW_WEIGHTED(x, w, **windows.attrs(x)), 1 / count)


def _scaled(x: Node, factors: np.ndarray) -> Node:
    """x[N, C, H, W] times a factor per pixel; a number where all are the same."""
    if np.ptp(factors) > 1e-12:
        return x * constant(factors, x.dtype)
    factor = float(factors.flat[0])
    return x if math.isclose(factor, 1, rel_tol=1e-12) else x * factor


def adaptive_avg_pool2d(x: Node, output_size: Any) -> Node:
    """Means of n x n regions: region i covers floor(i * H / n) to ceil((i + 1) * H / n)."""
    if x.ndim != 4:
        raise ShapeError(f"adaptive_avg_pool2d requires x[N, C, H, W], got {x.type}")
    size, image = pair("adaptive_avg_pool2d output_size", output_size), x.shape[2:]
    if min(size) < 1:
        raise ShapeError(
            f"adaptive_avg_pool2d requires an output_size of at least 1, got {output_size}"
        )
    if size == (1, 1):
        return mean(x, (2, 3), keepdims=True)
    if image[0] % size[0] == 0 and image[1] % size[1] == 0:
        return avg_pool2d(x, (image[0] // size[0], image[1] // size[1]))
    rows, columns = (constant(_regions(n, m), x.dtype) for n, m in zip(image, size, strict=True))
    return matmul(matmul(rows, x), columns.T)


def _regions(n: int, count: int) -> np.ndarray:
    """A matrix [count, n]: the means of ``count`` regions of n pixels."""
    weights = np.zeros((count, n))
    for i in range(count):
        first, last = i * n // count, -(-(i + 1) * n // count)
        weights[i, first:last] = 1 / (last - first)
    return weights
