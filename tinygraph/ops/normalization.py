"""Normalizations, as functions that build graphs. Variances take two passes, or they cancel."""

from __future__ import annotations

import math

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, define
from .arithmetic import mul
from .identity import loops_first
from .math import pow, rsqrt, sqrt
from .reduce import mean, sum, sum_to
from .view import Axes, free, normalize_axes, reshape
from .window import WINDOW_SUM

__all__ = (
    "batch_norm", "batch_norm_training", "group_norm", "instance_norm", "layer_norm",
    "local_response_norm", "rms_norm",
)  # fmt: skip


def batch_norm(
    x: Node,
    scale: Node | None,
    shift: Node | None,
    mean: Node,
    variance: Node,
    eps: float = 1e-5,
) -> Node:
    """(x - mean) / sqrt(variance + eps) * scale + shift, with a value for each channel (axis 1).

    Args:
        x: [N, C, ...].
        scale, shift: [C], or None for 1 and 0.
        mean, variance: [C].
        eps: is added to the variance.

    Raises:
        ShapeError: x has no channels, or one of the others is not [C].

    Example:
        >>> x, zero, one = tg.zeros((8, 3, 4, 4)), tg.zeros((3,)), tg.ones((3,))
        >>> tg.batch_norm(x, one, zero, mean=zero, variance=one).shape
        (8, 3, 4, 4)
    """
    if x.ndim < 2 or any(
        p is not None and p.shape != x.shape[1:2] for p in (scale, shift, mean, variance)
    ):
        got = ", ".join(str(p.type) for p in (scale, shift, mean, variance) if p is not None)
        raise ShapeError(
            f"batch_norm requires values per channel of x[N, C, ...] = {x.type}, got {got}"
        )
    shape = (x.shape[1],) + (1,) * (x.ndim - 2)
    factor = rsqrt(variance + eps)
    factor = factor if scale is None else factor * scale
    y = (x - reshape(mean, shape)) * reshape(factor, shape)
    return y if shift is None else y + reshape(shift, shape)


def batch_norm_training(
    x: Node, scale: Node | None, shift: Node | None, eps: float = 1e-5
) -> tuple[Node, Node, Node]:
    """Normalizes with the batch's own statistics; returns (y, mean, biased variance).

    Args:
        x, scale, shift, eps: see ``tg.batch_norm``.

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> y, mean, variance = tg.batch_norm_training(tg.zeros((8, 3, 4, 4)), None, None)
        >>> mean.shape
        (3,)
    """
    if x.ndim < 2:
        raise ShapeError(f"batch_norm requires x[N, C, ...], got {x.type}")
    shape = (x.shape[1],) + (1,) * (x.ndim - 2)
    mean, variance = channel_moments(x)
    centre, inverse = reshape(mean, shape), reshape(rsqrt(variance + eps), shape)
    factor = inverse if scale is None else inverse * reshape(scale, shape)
    y = (x - centre) * factor
    y = y if shift is None else y + reshape(shift, shape)
    ends = (
        1 if scale is None else reshape(scale, shape),
        0 if shift is None else reshape(shift, shape),
    )
    return STANDARDIZED(y, x, centre, inverse, *ends), mean, variance


CHUNK = 2**15  # elements whose statistics are taken at once: they stay in a core's cache


def channel_moments(x: Node) -> tuple[Node, Node]:
    """Mean and biased variance of each channel of x[N, C, ...].

    Chunks of an image's rows have their own, which are then merged: x is read from memory once,
    and no large sums are subtracted from each other (Chan, Golub and LeVeque, "Updating formulae
    and a pairwise algorithm for computing sample variances", 1979).
    """
    n, c, height, *rest = (*x.shape, 1) if x.ndim == 2 else x.shape
    chunk = (r for r in range(1, height + 1) if height % r == 0 and _fits(r, rest, c))
    rows = max(chunk, default=1)
    chunks = reshape(x, (n, c, height // rows, rows, *rest))
    axes, size = tuple(range(3, chunks.ndim)), rows * math.prod(rest)
    means = sum(chunks, axes) / size
    distance = chunks - reshape(means, (*means.shape, *(1 for _ in axes)))
    within = sum(sum(distance * distance, axes), (0, 2))
    count = n * height // rows
    mean = sum(means, (0, 2)) / count
    distance = means - reshape(mean, (c, 1))
    between = sum(distance * distance, (0, 2))
    return mean, (within / size + between) / count


def _fits(rows: int, rest: list[int], channels: int) -> bool:
    """True if this many rows fit into one chunk; a single row always does."""
    return rows == 1 or rows * math.prod(rest) * channels <= CHUNK


def _vjp_standardized(
    g: Node, out: Node, y: Node, x: Node, centre: Node, inverse: Node, scale: Node, shift: Node
) -> tuple[Node | None, ...]:
    """To x: inverse * scale * (g - mean(g) - d * inverse^2 * mean(g * d)), where d = x - centre.

    Written out, since the sum of d is 0: a chain of rules would add it up.
    """
    distance, n = x - centre, x.type.size // centre.type.size
    along, across = _sum_images(g, centre.shape), _sum_images(g * distance, centre.shape)
    slope = across * (inverse * inverse) / n
    gradient = (g - along / n - distance * slope) * (inverse * scale)
    return None, gradient, None, None, across * inverse, along


def _sum_images(x: Node, shape: tuple[int, ...]) -> Node:
    """As sum_to, each image by itself first: they are summed side by side."""
    return sum_to(sum(x, tuple(range(2, x.ndim)), keepdims=True), shape)


# standardized(y, x, centre, inverse, scale, shift) is y = (x - centre) * inverse * scale + shift,
# where x has the mean centre and the deviation 1 / inverse over the axes that these have as 1: it
# holds y's gradient to x, which the statistics are not asked for once more.
STANDARDIZED: Op = define(
    "standardized",
    Kind.VIEW,
    transparent=True,
    infer=lambda y, *_: y,
    ref=lambda y, *_: y,
    loops=loops_first,
    vjp=_vjp_standardized,
    cost=free,
)


def layer_norm(
    x: Node,
    axis: Axes = -1,
    scale: Node | None = None,
    shift: Node | None = None,
    eps: float = 1e-5,
) -> Node:
    """x normalized to mean 0 and variance 1 over ``axis``, times ``scale`` plus ``shift``.

    (Ba et al., 2016.)

    Args:
        x: floats.
        axis: one or several; ``scale`` and ``shift`` broadcast to x.
        eps: is added to the variance.

    Example:
        >>> tg.run(tg.layer_norm(tg.constant([[1.0, 3.0]]), eps=0))
        array([[-1.,  1.]], dtype=float32)
    """
    axes = normalize_axes("layer_norm", axis, x.ndim)
    distance = x - mean(x, axes, keepdims=True)
    y = distance * rsqrt(mean(distance * distance, axes, keepdims=True) + eps)
    y = y if scale is None else y * scale
    return y if shift is None else y + shift


def rms_norm(
    x: Node, axis: Axes = -1, scale: Node | None = None, eps: float | None = None
) -> Node:
    """x divided by the root of its mean square over ``axis``, times ``scale``.

    (Zhang and Sennrich, NeurIPS 2019.) ``eps`` is added to the mean square; by default it is the
    dtype's, as in PyTorch.

    Example:
        >>> tg.run(tg.rms_norm(tg.constant([[3.0, 4.0]]), scale=tg.constant([5.0, 5.0])))
        array([[4.2426405, 5.6568546]], dtype=float32)
    """
    axes = normalize_axes("rms_norm", axis, x.ndim)
    eps = DTYPES[x.dtype].eps if eps is None else eps
    y = x * rsqrt(mean(x * x, axes, keepdims=True) + eps)
    return y if scale is None else y * scale


def group_norm(
    x: Node,
    groups: int,
    scale: Node | None = None,
    shift: Node | None = None,
    eps: float = 1e-5,
) -> Node:
    """Each of ``groups`` equal groups of channels normalized to mean 0 and variance 1.

    (Wu and He, ECCV 2018.)

    Args:
        x: [N, C, ...].
        groups: a number that divides C; 1 normalizes all channels together.
        scale, shift: [C], for each channel.
        eps: is added to the variance.

    Raises:
        ShapeError: ``groups`` does not divide C, or shapes do not fit.

    Example:
        >>> tg.group_norm(tg.zeros((2, 8, 4, 4)), 4).shape
        (2, 8, 4, 4)
    """
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"group_norm requires x[N, C, ...] and groups that divide C, "
                         f"got {x.type} and {groups}")  # fmt: skip
    n, c, *rest = x.shape
    apart = reshape(x, (n, groups, c // groups, *rest))
    y = reshape(layer_norm(apart, tuple(range(2, apart.ndim)), eps=eps), x.shape)
    channels = (c, *(1,) * len(rest))
    y = y if scale is None else y * reshape(scale, channels)
    return y if shift is None else y + reshape(shift, channels)


def instance_norm(
    x: Node, scale: Node | None = None, shift: Node | None = None, eps: float = 1e-5
) -> Node:
    """Each channel of each image normalized: ``group_norm`` with a group for each channel.

    (Ulyanov et al., 2016.)

    Args:
        x, scale, shift, eps: see ``tg.group_norm``.

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> tg.instance_norm(tg.zeros((2, 8, 4, 4))).shape
        (2, 8, 4, 4)
    """
    if x.ndim < 3:
        raise ShapeError(f"instance_norm requires x[N, C, ...] with more axes, got {x.type}")
    return group_norm(x, x.shape[1], scale, shift, eps)


def local_response_norm(
    x: Node, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Node:
    """x / (k + alpha / size * sum of squares over ``size`` channels around) ** beta.

    The window of channel c is [c - size // 2, c + (size - 1) // 2], with zeros outside (Krizhevsky
    et al. 2012).

    Args:
        x: [N, C, ...].
        size: channels in a window.
        alpha, beta, k: see above.

    Raises:
        ShapeError: x has no channels, or ``size`` is below 1.

    Example:
        >>> tg.local_response_norm(tg.zeros((1, 96, 27, 27)), 5).shape
        (1, 96, 27, 27)
    """
    if x.ndim < 3 or size < 1:
        raise ShapeError(
            "local_response_norm requires x[N, C, ...] and size of at least 1, "
            f"got {x.type}, size={size}"
        )
    rest = x.ndim - 2
    squares = WINDOW_SUM(
        x * x,
        kernel=(1, size) + (1,) * rest,
        stride=(1,) * x.ndim,
        padding=(0, size // 2) + (0,) * rest,
        size=x.shape,
    )
    base = squares * (alpha / size) + k
    if beta == 0.75:  # two roots are several times faster than a power
        root = rsqrt(base)
        return mul(x, root * sqrt(root))
    return mul(x, pow(base, -beta))
