"""Element-wise functions: exponentials, roots, powers, the error function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.dtype import is_float
from ..graph.ir import Node
from ..graph.op import Kind, Op, define, input, promote
from .arithmetic import abs as magnitude
from .arithmetic import div, floats, mul, neg, sub
from .identity import loops_first
from .logic import equal, where
from .source import ones_like
from .view import free

__all__ = (
    "erf",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "pow",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "tanh",
)

exp: Op = define(
    "exp",
    Kind.ELEMENTWISE,
    infer=floats("exp", 1),
    ref=np.exp,
    expr="exp({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, out),),
    example=lambda: exp(input("x", 4, 3)),
)

exp2: Op = define(
    "exp2",
    Kind.ELEMENTWISE,
    infer=floats("exp2", 1),
    ref=np.exp2,
    expr="exp2({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, mul(out, math.log(2))),),
    example=lambda: exp2(input("x", 4, 3)),
)

expm1: Op = define(
    "expm1",
    Kind.ELEMENTWISE,
    infer=floats("expm1", 1),
    ref=np.expm1,
    expr="expm1({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, exp(x)),),
    example=lambda: expm1(input("x", 4, 3)),
)

log: Op = define(
    "log",
    Kind.ELEMENTWISE,
    infer=floats("log", 1),
    ref=np.log,
    expr="log({0})",
    costly=True,
    vjp=lambda g, out, x: (div(g, x),),
    example=lambda: log(input("x", 4, 3)),
)

log2: Op = define(
    "log2",
    Kind.ELEMENTWISE,
    infer=floats("log2", 1),
    ref=np.log2,
    expr="log2({0})",
    costly=True,
    vjp=lambda g, out, x: (div(mul(g, 1 / math.log(2)), x),),
    example=lambda: log2(input("x", 4, 3)),
)

log10: Op = define(
    "log10",
    Kind.ELEMENTWISE,
    infer=floats("log10", 1),
    ref=np.log10,
    expr="log10({0})",
    costly=True,
    vjp=lambda g, out, x: (div(mul(g, 1 / math.log(10)), x),),
    example=lambda: log10(input("x", 4, 3)),
)

log1p: Op = define(
    "log1p",
    Kind.ELEMENTWISE,
    infer=floats("log1p", 1),
    ref=np.log1p,
    expr="log1p({0})",
    costly=True,
    vjp=lambda g, out, x: (div(g, x + 1),),
    example=lambda: log1p(input("x", 4, 3)),
)

sqrt: Op = define(
    "sqrt",
    Kind.ELEMENTWISE,
    infer=floats("sqrt", 1),
    ref=np.sqrt,
    expr="sqrt({0})",
    costly=True,
    vjp=lambda g, out, x: (div(mul(g, 0.5), out),),
    example=lambda: sqrt(input("x", 4, 3)),
)

rsqrt: Op = define(
    "rsqrt",
    Kind.ELEMENTWISE,
    infer=floats("rsqrt", 1),
    ref=lambda x: 1 / np.sqrt(x),
    expr="K(1) / sqrt({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(mul(g, -0.5), div(out, x)),),
    cost=lambda out, x: 2 * out.size,
    example=lambda: rsqrt(input("x", 4, 3)),
)

tanh: Op = define(
    "tanh",
    Kind.ELEMENTWISE,
    infer=floats("tanh", 1),
    ref=np.tanh,
    expr="tanh({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, sub(1, mul(out, out))),),
    example=lambda: tanh(input("x", 4, 3)),
)


def _ref_sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


sigmoid: Op = define(
    "sigmoid",
    Kind.ELEMENTWISE,
    infer=floats("sigmoid", 1),
    ref=_ref_sigmoid,
    expr="sigmoid({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, mul(out, sub(1, out))),),
    example=lambda: sigmoid(input("x", 4, 3)),
)


def _ref_erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


erf: Op = define(
    "erf",
    Kind.ELEMENTWISE,
    infer=floats("erf", 1),
    ref=_ref_erf,
    expr="erf({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(mul(g, 2 / math.sqrt(math.pi)), exp(neg(mul(x, x)))),),
    example=lambda: erf(input("x", 4, 3)),
)

# log(1 + exp(x)) without overflow; its gradient at 0 is exactly sigmoid(0).
softplus: Op = define(
    "softplus",
    Kind.ELEMENTWISE,
    infer=floats("softplus", 1),
    ref=lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    expr="softplus({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, sigmoid(x)),),
    cost=lambda out, x: 5 * out.size,
    example=lambda: softplus(input("x", 4, 3)),
)


def _vjp_pow(g: Node, out: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """a ** 0 has no slope, and 0 ** b none in b: both would be 0 * infinity."""
    base = where(equal(b, 0), 0, mul(mul(g, b), POW(a, sub(b, 1))))
    exponent = where(equal(out, 0), 0, mul(mul(g, out), log(where(equal(a, 0), 1, a))))
    return base, exponent


POW: Op = define(
    "pow",
    Kind.ELEMENTWISE,
    infer=floats("pow", 2),
    ref=np.power,
    expr="{0} ** {1}",
    costly=True,
    vjp=_vjp_pow,
    example=lambda: POW(input("a", 4, 3), input("b", 3)),
)


# power(y, a) is y, made of products, roots and quotients: it holds the gradient of a ** exponent,
# since theirs would be 0 * infinity where a is 0.
POWER: Op = define(
    "power",
    Kind.VIEW,
    infer=lambda y, a, *, exponent: y,
    ref=lambda y, a, *, exponent: y,
    loops=loops_first,
    transparent=True,
    vjp=lambda g, out, y, a: (None, mul(g, _slope(a, out.attr("exponent")))),
    cost=free,
    example=lambda: pow(input("a", 4, 3), 1.5),
)


def _slope(a: Node, b: float) -> Node:
    return mul(pow(a, b - 1), b)


def pow(a: Any, b: Any) -> Node:
    """a ** b. Small whole and half exponents become products and roots, so that the power of minus
    infinity by a half of an odd number is NaN, as its root is.

    Example:
        >>> tg.run(tg.pow(tg.constant([1.0, 4.0, 9.0]), 0.5))
        array([1., 2., 3.], dtype=float32)
    """
    b = b.item() if isinstance(b, np.generic) else b
    if not isinstance(a, Node) or not _is_simple(a, b):
        return POW(a, b)
    if b == 0:
        return ones_like(a)
    whole, half = divmod(abs(b), 1)
    factors = [a] * int(whole) + ([sqrt(a)] if half else [])
    y = factors[0]
    for factor in factors[1:]:
        y = mul(y, factor)
    y = y if b > 0 else div(1, y)
    return y if b in (0.5, -0.5, -1, 1, 2, 3, 4) else POWER(y, a, exponent=b)


def _is_simple(a: Node, b: Any) -> bool:
    """True if b is a small multiple of a half; for integers, of one, and not negative."""
    if isinstance(b, bool) or not isinstance(b, (int, float)) or not -4 <= b <= 4:
        return False
    return b * 2 == int(b * 2) if is_float(a.dtype) else b >= 0 and b == int(b)


def square(x: Any) -> Node:
    """x * x.

    Example:
        >>> tg.run(tg.square(tg.constant([-2.0, 3.0])))
        array([4., 9.], dtype=float32)
    """
    (x,) = promote("square", (x,))
    return mul(x, x)


def reciprocal(x: Any) -> Node:
    """1 / x, of floats.

    Example:
        >>> tg.run(tg.reciprocal(tg.constant([2.0, 4.0])))
        array([0.5 , 0.25], dtype=float32)
    """
    (x,) = promote("reciprocal", (x,))
    return div(1, x)


def root(x: Node, degree: float = 2) -> Node:
    """x ** (1 / degree) with the gradient 0 at 0: for norms and deviations, as in PyTorch."""
    nothing = equal(x, 0)
    some = where(nothing, 1, x)
    return where(nothing, 0, sqrt(some) if degree == 2 else pow(some, 1 / degree))


def size_power(x: Node, exponent: float) -> Node:
    """abs(x) ** exponent; below 1, where the slope at 0 is infinite, with the gradient 0 there."""
    if exponent == 1:
        return magnitude(x)
    if exponent >= 1 or exponent < 0:
        return pow(magnitude(x), exponent)
    nothing = equal(x, 0)
    return where(nothing, 0, pow(magnitude(where(nothing, 1, x)), exponent))
