"""Normalizations, as functions that build graphs. Variances take two passes, or they cancel."""

from __future__ import annotations

from ..ir import Node
from ..op import ShapeError
from .arithmetic import mul
from .math import pow, rsqrt, sqrt
from .reduce import Axes, mean, normalize_axes
from .view import reshape
from .window import WINDOW_SUM


def batch_norm(
    x: Node,
    scale: Node | None,
    shift: Node | None,
    mean: Node,
    variance: Node,
    eps: float = 1e-5,
) -> Node:
    """(x - mean) / sqrt(variance + eps) * scale + shift, with a value for each channel (axis 1)."""
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
    """Normalizes with the batch's own statistics; returns (y, mean, biased variance)."""
    if x.ndim < 2:
        raise ShapeError(f"batch_norm requires x[N, C, ...], got {x.type}")
    axes = (0, *range(2, x.ndim))
    centre = mean(x, axes)
    distance = x - reshape(centre, (x.shape[1],) + (1,) * (x.ndim - 2))
    variance = mean(distance * distance, axes)
    return batch_norm(x, scale, shift, centre, variance, eps), centre, variance


def layer_norm(
    x: Node,
    axis: Axes = -1,
    scale: Node | None = None,
    shift: Node | None = None,
    eps: float = 1e-5,
) -> Node:
    """x normalized to mean 0 and variance 1 over ``axis``, times ``scale`` plus ``shift``."""
    axes = normalize_axes("layer_norm", axis, x.ndim)
    distance = x - mean(x, axes, keepdims=True)
    y = distance * rsqrt(mean(distance * distance, axes, keepdims=True) + eps)
    y = y if scale is None else y * scale
    return y if shift is None else y + shift


def local_response_norm(
    x: Node, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Node:
    """x / (k + alpha / size * sum of squares over ``size`` channels around) ** beta.

    The window of channel c is [c - size // 2, c + (size - 1) // 2], with zeros outside (Krizhevsky
    et al. 2012).
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
