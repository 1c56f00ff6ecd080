"""Pooling: maximum, average, norm, and a centre-weighted average.

``max_pool``, ``avg_pool`` and ``lp_pool`` take images of any number of axes, x[N, C, ...]; the
others x[N, C, H, W].
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.convert import flag
from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Op, ShapeError, constant
from .arithmetic import floor_divide, mod
from .convolution import border_of, pair, sizes_of
from .logic import cast
from .math import root, size_power
from .source import axis_index
from .window import WINDOW_MAX, WINDOW_MAX_INDEX, WINDOW_SUM
from .window_weighted import WINDOW_WEIGHTED

__all__ = (
    "avg_pool",
    "avg_pool2d",
    "center_weighted_pool2d",
    "center_weights",
    "l2_pool2d",
    "lp_pool",
    "max_pool",
    "max_pool2d",
)

WORTH = 2  # how many times fewer steps are worth another pass through memory

Sizes = tuple[int, ...]  # one for each axis of the image


@dataclass(frozen=True)
class _Windows:
    """Windows over an image, resolved."""

    image: Sizes
    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes
    count: Sizes

    def attrs(self, x: Node) -> dict[str, Any]:
        """The window operators' attributes for x[N, C, ...]."""
        found: dict[str, Any] = {
            "kernel": (1, 1, *self.kernel),
            "stride": (1, 1, *self.stride),
            "padding": (0, 0, *(low for low, _ in self.padding)),
            "size": (*x.shape[:2], *self.count),
        }
        gaps = max(self.dilation, default=1) > 1
        return found | ({"dilation": (1, 1, *self.dilation)} if gaps else {})

    def along(self, axis: int, x: Node) -> _Windows:
        """These windows over one axis of x[N, C, ...] alone."""

        def alone(found: tuple[Any, ...], others: Any) -> tuple[Any, ...]:
            return tuple(n if a == axis else others for a, n in enumerate(found))

        size = list(x.shape[2:])
        size[axis] = self.count[axis]
        return _Windows(
            x.shape[2:],
            alone(self.kernel, 1),
            alone(self.stride, 1),
            alone(self.padding, (0, 0)),
            alone(self.dilation, 1),
            tuple(size),
        )

    def coverage(self, weights: np.ndarray, count_padding: bool) -> np.ndarray:
        """The sum of each window's weights on the image, or on the image with its padding.

        What ceil_mode adds beyond the padding never counts, as in PyTorch.
        """
        rank = len(self.kernel)
        seen = [self._seen(axis, count_padding) for axis in range(rank)]
        windows, taps = string.ascii_uppercase[:rank], string.ascii_lowercase[:rank]
        each = ",".join(w + t for w, t in zip(windows, taps, strict=True))
        return np.einsum(f"{each},{taps}->{windows}", *seen, weights, optimize=True)

    def _seen(self, axis: int, count_padding: bool) -> np.ndarray:
        """1 for each tap of each window along an axis that counts."""
        low, high = self.padding[axis] if count_padding else (0, 0)
        first = np.arange(self.count[axis]) * self.stride[axis] - self.padding[axis][0]
        place = first[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
        return ((place >= -low) & (place < self.image[axis] + high)).astype(np.float64)


def _windows(
    name: str,
    x: Node,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    dilation: Any = 1,
) -> _Windows:
    """The windows of a pool; one whose name ends in 2d takes x[N, C, H, W] only."""
    if x.ndim != 4 if name.endswith("2d") else x.ndim < 3:
        axes = "H, W" if name.endswith("2d") else "..."
        raise ShapeError(f"{name} requires x[N, C, {axes}], got {x.type}")
    rank = x.ndim - 2
    kernel = sizes_of(f"{name} kernel_size", kernel_size, rank)
    steps = kernel if stride is None else sizes_of(f"{name} stride", stride, rank)
    border = border_of(name, padding, kernel, steps, dilation)
    gaps = sizes_of(f"{name} dilation", dilation, rank)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, gaps, strict=True))
    if min(*kernel, *steps, *gaps) < 1 or any(
        min(p) < 0 or max(p) >= k for p, k in zip(border, spans, strict=True)
    ):
        spaced = "" if max(gaps) == 1 else f", dilation={dilation}"
        raise ShapeError(
            f"{name} requires kernel_size and stride of at least 1 and padding below kernel_size, "
            f"got kernel_size={kernel_size}, stride={stride}, padding={padding}{spaced}"
        )
    image, up = x.shape[2:], flag(f"{name} ceil_mode", ceil_mode)
    count = tuple(_count(image[a], spans[a], steps[a], border[a], up) for a in range(rank))
    if min(count) < 1:
        raise ShapeError(
            f"{name} requires windows that fit the padded image, "
            f"got kernel_size={kernel_size}, {x.type}"
        )
    return _Windows(image, kernel, steps, border, gaps, count)


def _count(image: int, kernel: int, stride: int, padding: tuple[int, int], ceil_mode: bool) -> int:
    """How many windows; with ceil_mode a last one may hang over, if it starts inside."""
    room = image + sum(padding) - kernel
    count = (room + (stride - 1) * ceil_mode) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= image + padding[0] else count


def _folded(op: Op, x: Node, windows: _Windows) -> Node:
    """Windows of x, folded. Large ones that overlap are folded along one axis after the other, the
    last one first: 26 steps instead of 169 for 13 x 13, and the same first maximum.
    """
    axes = range(len(windows.kernel))
    steps = sum(windows.kernel[a] * math.prod(windows.stride[:a]) for a in axes)
    if WORTH * steps > math.prod(windows.kernel):
        return op(x, **windows.attrs(x))
    for axis in reversed(axes):
        x = op(x, **windows.along(axis, x).attrs(x))
    return x


# -- maxima ----------------------------------------------------------------------------------------


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

    Args:
        x: [N, C, H, W].
        kernel_size: of the window: a number, or a (vertical, horizontal) pair.

    Example:
        >>> tg.max_pool2d(tg.zeros((1, 64, 112, 112)), 3, stride=2, padding=1).shape
        (1, 64, 56, 56)
    """
    return _maxima("max_pool2d", x, kernel_size, stride, padding, ceil_mode, dilation)[0]


def max_pool(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    dilation: Any = 1,
    return_indices: bool = False,
) -> Any:
    """``max_pool2d`` for images of any number of axes, x[N, C, ...].

    With ``return_indices`` it returns (maxima, int32 places): where in its image, counted in
    row-major order, the first maximum of each window is.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation: see ``tg.max_pool2d``.

    Example:
        >>> x = tg.constant([[[1.0, 3.0, 2.0, 0.0]]])
        >>> largest, places = tg.max_pool(x, 2, return_indices=True)
        >>> tg.run(places)
        array([[[1, 2]]], dtype=int32)
    """
    y, windows = _maxima("max_pool", x, kernel_size, stride, padding, ceil_mode, dilation)
    return (y, _places(x, y, windows)) if return_indices else y


def _maxima(name: str, x: Node, *options: Any) -> tuple[Node, _Windows]:
    windows = _windows(name, x, *options)
    if not DTYPES[x.dtype].is_integer:
        return _folded(WINDOW_MAX, x, windows), windows
    if DTYPES[x.dtype].bits > 32:
        raise ShapeError(f"{name} requires integers of 32 bits at most, got {x.type}")
    return cast(_folded(WINDOW_MAX, _as_float(x), windows), x.dtype), windows


def _as_float(x: Node) -> Node:
    """Integers in a float that holds them."""
    if not DTYPES[x.dtype].is_integer:
        return x
    return cast(x, "float32" if DTYPES[x.dtype].bits <= 16 else "float64")


def _places(x: Node, y: Node, windows: _Windows) -> Node:
    """Where in its image the first maximum of each window is."""
    image = _as_float(x)
    tap = cast(WINDOW_MAX_INDEX(image, cast(y, image.dtype), **windows.attrs(x)), "int32")
    place: Any = 0
    for axis in reversed(range(len(windows.image))):
        inner = math.prod(windows.image[axis + 1 :])
        step = mod(tap, windows.kernel[axis]) * windows.dilation[axis]
        first = axis_index(y.shape, axis + 2) * windows.stride[axis] - windows.padding[axis][0]
        place = place + (first + step) * inner
        tap = floor_divide(tap, windows.kernel[axis])
    return place


# -- averages and norms ----------------------------------------------------------------------------


def avg_pool2d(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """The mean of each window, padded zeros counted or not.

    Args:
        x: [N, C, H, W].
        kernel_size, stride, padding, ceil_mode: see ``tg.max_pool2d``.
        count_include_pad: whether padded zeros count.

    Example:
        >>> tg.run(tg.avg_pool2d(tg.constant([[[[1.0, 2.0], [3.0, 4.0]]]]), 2))
        array([[[[2.5]]]], dtype=float32)
    """
    windows = _windows("avg_pool2d", x, kernel_size, stride, padding, ceil_mode)
    return _average(x, windows, count_include_pad)


def avg_pool(
    x: Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    dilation: Any = 1,
    count_include_pad: bool = True,
) -> Node:
    """``avg_pool2d`` for images of any number of axes, x[N, C, ...].

    Args:
        x, kernel_size, stride, padding, ceil_mode, dilation, count_include_pad: see
            ``tg.avg_pool2d`` and ``tg.max_pool2d``.

    Example:
        >>> tg.run(tg.avg_pool(tg.constant([[[1.0, 3.0, 5.0, 7.0]]]), 2))
        array([[[2., 6.]]], dtype=float32)
    """
    windows = _windows("avg_pool", x, kernel_size, stride, padding, ceil_mode, dilation)
    return _average(x, windows, count_include_pad)


def _average(x: Node, windows: _Windows, count_padding: bool) -> Node:
    count = windows.coverage(np.ones(windows.kernel), count_padding)
    return _scaled(_folded(WINDOW_SUM, x, windows), 1 / count)


def l2_pool2d(
    x: Node, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Node:
    """The L2 norm of each window: sqrt(sum x^2). Where it is 0, so is the gradient.

    Args:
        kernel_size, stride, padding, ceil_mode: see ``tg.max_pool2d``.

    Example:
        >>> tg.run(tg.l2_pool2d(tg.constant([[[[3.0, 0.0], [0.0, 4.0]]]]), 2))
        array([[[[5.]]]], dtype=float32)
    """
    windows = _windows("l2_pool2d", x, kernel_size, stride, padding, ceil_mode)
    return root(_folded(WINDOW_SUM, x * x, windows))


def lp_pool(
    x: Node,
    p: float,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    dilation: Any = 1,
) -> Node:
    """The Lp norm of each window of x[N, C, ...]: (sum |x|^p)^(1/p).

    Args:
        p: the power, above 0.
        kernel_size, stride, padding, ceil_mode, dilation: see ``tg.max_pool2d``.

    Raises:
        ShapeError: ``p`` is not above 0, or shapes do not fit.

    Example:
        >>> tg.run(tg.lp_pool(tg.constant([[[1.0, 2.0, 3.0]]]), 1, 3))
        array([[[6.]]], dtype=float32)
    """
    if not p > 0:
        raise ShapeError(f"lp_pool requires p above 0, got {p}")
    windows = _windows("lp_pool", x, kernel_size, stride, padding, ceil_mode, dilation)
    sums = _folded(WINDOW_SUM, x * x if p == 2 else size_power(x, p), windows)
    return sums if p == 1 else root(sums, p)


def center_weights(kernel_size: Any) -> np.ndarray:
    """w[i, j] ~ 1 / (1 + distance of pixel (i, j) from the centre in pixels); the sum is 1.

    Args:
        kernel_size: a number, or a (vertical, horizontal) pair.

    Example:
        >>> tg.center_weights(2)
        array([[0.25, 0.25],
               [0.25, 0.25]])
    """
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

    Args:
        x: [N, C, H, W].
        kernel_size, stride, padding, ceil_mode: see ``tg.max_pool2d``.

    Example:
        >>> tg.center_weighted_pool2d(tg.zeros((1, 8, 12, 12)), 3).shape
        (1, 8, 4, 4)
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
