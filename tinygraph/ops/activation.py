"""Activations and soft maxima, as functions that build graphs."""

from __future__ import annotations

import math

from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .arithmetic import abs
from .identity import stop_gradient
from .logic import equal, less, where
from .math import erf, exp, expm1, log, sigmoid, tanh
from .reduce import max, sum
from .view import Axes, normalize_axes, reshape

__all__ = ("elu", "gelu", "leaky_relu", "log_softmax", "logsumexp", "silu", "softmax")


def leaky_relu(x: Node, negative_slope: float = 0.01) -> Node:
    """x where it is above 0, ``negative_slope`` * x elsewhere."""
    return where(less(0, x), x, x * negative_slope)


def elu(x: Node, alpha: float = 1.0) -> Node:
    """x where it is above 0, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015)."""
    above = less(0, x)
    return where(above, x, expm1(where(above, 0, x)) * alpha)


def silu(x: Node) -> Node:
    """x * sigmoid(x), also called swish."""
    return x * sigmoid(x)


def gelu(x: Node, approximate: str = "none") -> Node:
    """x times the normal distribution's cumulative probability at x (Hendrycks and Gimpel 2016).

    ``approximate='tanh'``: the paper's tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715
    x^3))).
    """
    if approximate == "none":
        return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1)
    if approximate != "tanh":
        raise ShapeError(f"gelu requires approximate='none' or 'tanh', got {approximate!r}")
    return x * 0.5 * (tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)


def softmax(x: Node, axis: int = -1) -> Node:
    """exp(x) / sum(exp(x)) along ``axis``, less the maximum first: nothing overflows."""
    (x,) = promote("softmax", (x,))
    e = exp(x - stop_gradient(max(x, axis, keepdims=True)))
    return e / sum(e, axis, keepdims=True)


def log_softmax(x: Node, axis: int = -1) -> Node:
    """The logarithm of softmax, without its rounding to 0."""
    (x,) = promote("log_softmax", (x,))
    centred = x - stop_gradient(max(x, axis, keepdims=True))
    return centred - log(sum(exp(centred), axis, keepdims=True))


def logsumexp(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """log(sum(exp(x))) over ``axis`` without overflow; -inf where all are, inf where one is."""
    (x,) = promote("logsumexp", (x,))
    axes = normalize_axes("logsumexp", axis, x.ndim)
    top = stop_gradient(max(x, axes, keepdims=True))
    shift = where(equal(abs(top), math.inf), 0, top)
    total = log(sum(exp(x - shift), axes, keepdims=True)) + shift
    return (
        total
        if keepdims
        else reshape(total, tuple(n for a, n in enumerate(x.shape) if a not in axes))
    )
