"""Activations and soft maxima, as functions that build graphs."""

from __future__ import annotations

import math
from typing import Any

from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .arithmetic import abs
from .identity import stop_gradient
from .indexing import split
from .logic import equal, less, less_equal, where
from .math import erf, exp, expm1, log, sigmoid, softplus, tanh
from .reduce import max, sum
from .view import Axes, normalize_axes, normalize_axis, reshape

__all__ = (
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_sigmoid", "log_softmax", "logsumexp", "mish", "prelu", "relu6", "selu", "silu", "softmax",
    "softsign",
)  # fmt: skip


def leaky_relu(x: Node, negative_slope: float = 0.01) -> Node:
    """x where it is above 0, ``negative_slope`` * x elsewhere.

    Example:
        >>> tg.run(tg.leaky_relu(tg.constant([-4.0, 0.5]), 0.25))
        array([-1. ,  0.5], dtype=float32)
    """
    return where(less(0, x), x, x * negative_slope)


def elu(x: Node, alpha: float = 1.0) -> Node:
    """x where it is above 0, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015).

    Example:
        >>> tg.run(tg.elu(tg.constant([-1.0, 2.0])))
        array([-0.63212055,  2.        ], dtype=float32)
    """
    above = less(0, x)
    return where(above, x, expm1(where(above, 0, x)) * alpha)


def silu(x: Node) -> Node:
    """x * sigmoid(x), also called swish.

    Example:
        >>> tg.run(tg.silu(tg.constant([-1.0, 0.0, 2.0])))
        array([-0.2689414,  0.       ,  1.761594 ], dtype=float32)
    """
    return x * sigmoid(x)


def celu(x: Node, alpha: float = 1.0) -> Node:
    """x where it is above 0, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017).

    Example:
        >>> tg.run(tg.celu(tg.constant([-1.0, 2.0])))
        array([-0.63212055,  2.        ], dtype=float32)
    """
    above = less(0, x)
    return where(above, x, expm1(where(above, 0, x) * (1 / alpha)) * alpha)


def selu(x: Node) -> Node:
    """``elu`` scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017).

    Args:
        x: floats.

    Example:
        >>> tg.run(tg.selu(tg.constant([-1.0, 2.0])))
        array([-1.1113307,  2.101402 ], dtype=float32)
    """
    return elu(x, 1.6732632423543772) * 1.0507009873554805


def hardtanh(x: Node, min: float = -1.0, max: float = 1.0) -> Node:
    """x kept within [min, max]; at the limits and beyond the gradient is 0, as in PyTorch.

    Example:
        >>> tg.run(tg.hardtanh(tg.constant([-4.0, 0.5, 3.0])))
        array([-1. ,  0.5,  1. ], dtype=float32)
    """
    return where(less_equal(x, min), min, where(less_equal(max, x), max, x))


def relu6(x: Node) -> Node:
    """x kept within [0, 6], as in MobileNet (Howard et al., 2017).

    Example:
        >>> tg.run(tg.relu6(tg.constant([-1.0, 3.0, 8.0])))
        array([0., 3., 6.], dtype=float32)
    """
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: Node) -> Node:
    """relu6(x + 3) / 6: a sigmoid of three lines.

    Example:
        >>> tg.run(tg.hardsigmoid(tg.constant([-4.0, 0.0, 3.0])))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    return relu6(x + 3) * (1 / 6)


def hardswish(x: Node) -> Node:
    """x * hardsigmoid(x) (Howard et al., ICCV 2019, section 5.2).

    Example:
        >>> tg.run(tg.hardswish(tg.constant([-4.0, 0.0, 3.0])))
        array([-0.,  0.,  3.], dtype=float32)
    """
    return x * hardsigmoid(x)


def mish(x: Node) -> Node:
    """x * tanh(softplus(x)) (Misra, 2019).

    Example:
        >>> tg.run(tg.mish(tg.constant([-1.0, 0.0, 2.0])))
        array([-0.3034014,  0.       ,  1.9439589], dtype=float32)
    """
    return x * tanh(softplus(x))


def log_sigmoid(x: Node) -> Node:
    """log(sigmoid(x)), without overflow.

    Example:
        >>> tg.run(tg.log_sigmoid(tg.constant([-200.0, 0.0])))
        array([-200.       ,   -0.6931472], dtype=float32)
    """
    return -softplus(-x)


def softsign(x: Node) -> Node:
    """x / (1 + |x|).

    Example:
        >>> tg.run(tg.softsign(tg.constant([-1.0, 3.0])))
        array([-0.5 ,  0.75], dtype=float32)
    """
    return x / (abs(x) + 1)


def prelu(x: Node, weight: Any) -> Node:
    """x where it is above 0, ``weight`` * x elsewhere (He et al., ICCV 2015).

    Args:
        x: [N, C, ...].
        weight: a number, a node [1], or [C] for a slope of each channel.

    Raises:
        ShapeError: the weight has neither one element nor one for each channel.

    Example:
        >>> tg.run(tg.prelu(tg.constant([[-4.0, -4.0]]), tg.constant([0.25, 0.5])))
        array([[-1., -2.]], dtype=float32)
    """
    (weight,) = promote("prelu", (weight,))
    if weight.ndim == 1 and weight.shape[0] != 1:
        if x.ndim < 2 or x.shape[1] != weight.shape[0]:
            raise ShapeError(f"prelu requires a slope for each channel of {x.type}, got {weight}")
        weight = reshape(weight, (-1, *(1,) * (x.ndim - 2)))
    return where(less(0, x), x, x * weight)


def glu(x: Node, axis: int = -1) -> Node:
    """The first half along ``axis`` times the sigmoid of the second (Dauphin et al., 2017).

    Args:
        x: floats whose size along ``axis`` is even.

    Example:
        >>> tg.run(tg.glu(tg.constant([3.0, 4.0, 0.0, 0.0])))
        array([1.5, 2. ], dtype=float32)
    """
    first, second = split(x, 2, axis)
    return first * sigmoid(second)


def gelu(x: Node, approximate: str = "none") -> Node:
    """x times the normal distribution's cumulative probability at x (Hendrycks and Gimpel 2016).

    ``approximate='tanh'``: the paper's tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715
    x^3))).

    Raises:
        ShapeError: ``approximate`` is neither 'none' nor 'tanh'.

    Example:
        >>> tg.run(tg.gelu(tg.constant([-1.0, 2.0])))
        array([-0.15865526,  1.9544997 ], dtype=float32)
    """
    if approximate == "none":
        return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1)
    if approximate != "tanh":
        raise ShapeError(f"gelu requires approximate='none' or 'tanh', got {approximate!r}")
    return x * 0.5 * (tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)


def softmax(x: Node, axis: int = -1) -> Node:
    """exp(x) / sum(exp(x)) along ``axis``, less the maximum first: nothing overflows.

    Example:
        >>> tg.run(tg.softmax(tg.constant([1000.0, 1000.0])))
        array([0.5, 0.5], dtype=float32)
    """
    (x,) = promote("softmax", (x,))
    e = exp(_below_zero("softmax", x, axis))
    return e / sum(e, axis, keepdims=True)


def _below_zero(name: str, x: Node, axis: int) -> Node:
    """x less its maximum along ``axis``; nothing, where the axis has no elements."""
    if x.shape[normalize_axis(name, axis, x.ndim)] == 0:
        return x
    return x - stop_gradient(max(x, axis, keepdims=True))


def log_softmax(x: Node, axis: int = -1) -> Node:
    """The logarithm of softmax, without its rounding to 0.

    Args:
        x: floats; ``axis``: the axis of the classes.

    Example:
        >>> tg.run(tg.log_softmax(tg.constant([0.0, 0.0])))
        array([-0.6931472, -0.6931472], dtype=float32)
    """
    (x,) = promote("log_softmax", (x,))
    centred = _below_zero("log_softmax", x, axis)
    return centred - log(sum(exp(centred), axis, keepdims=True))


def logsumexp(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """log(sum(exp(x))) over ``axis`` without overflow; -inf where all are, inf where one is.

    Args:
        x: floats.
        axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.logsumexp(tg.constant([1000.0, 1000.0])))
        array(1000.6932, dtype=float32)
    """
    (x,) = promote("logsumexp", (x,))
    axes = normalize_axes("logsumexp", axis, x.ndim)
    top = stop_gradient(max(x, axes, keepdims=True))
    shift = where(equal(abs(top), math.inf), 0, top)
    total = sum(exp(x - shift), axes, keepdims=True)
    nothing = equal(total, 0)  # its logarithm has no slope there, rather than 0 / 0
    total = where(nothing, -math.inf, log(where(nothing, 1, total)) + shift)
    return (
        total
        if keepdims
        else reshape(total, tuple(n for a, n in enumerate(x.shape) if a not in axes))
    )
