"""Sines, tangents, their inverses, and the hyperbolic ones; angles are in radians."""

from __future__ import annotations

import numpy as np

from ..graph.ir import Node
from ..graph.op import Kind, Op, define, input
from .arithmetic import div, floats, mul, neg, sub
from .math import rsqrt, sqrt

__all__ = (
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
)

sin: Op = define(
    "sin",
    Kind.ELEMENTWISE,
    infer=floats("sin", 1),
    ref=np.sin,
    expr="sin({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, cos(x)),),
    example=lambda: sin(input("x", 4, 3)),
)

cos: Op = define(
    "cos",
    Kind.ELEMENTWISE,
    infer=floats("cos", 1),
    ref=np.cos,
    expr="cos({0})",
    costly=True,
    vjp=lambda g, out, x: (neg(mul(g, sin(x))),),
    example=lambda: cos(input("x", 4, 3)),
)

tan: Op = define(
    "tan",
    Kind.ELEMENTWISE,
    infer=floats("tan", 1),
    ref=np.tan,
    expr="tan({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, mul(out, out) + 1),),
    example=lambda: tan(input("x", 4, 3)),
)


def _slope(x: Node) -> Node:
    """sqrt(1 - x * x), as a product: nothing is lost near 1."""
    return sqrt(mul(sub(1, x), x + 1))


arcsin: Op = define(
    "arcsin",
    Kind.ELEMENTWISE,
    infer=floats("arcsin", 1),
    ref=np.arcsin,
    expr="asin({0})",
    costly=True,
    vjp=lambda g, out, x: (div(g, _slope(x)),),
    example=lambda: arcsin(input("x", 4, 3)),
)

arccos: Op = define(
    "arccos",
    Kind.ELEMENTWISE,
    infer=floats("arccos", 1),
    ref=np.arccos,
    expr="acos({0})",
    costly=True,
    vjp=lambda g, out, x: (neg(div(g, _slope(x))),),
    example=lambda: arccos(input("x", 4, 3)),
)

arctan: Op = define(
    "arctan",
    Kind.ELEMENTWISE,
    infer=floats("arctan", 1),
    ref=np.arctan,
    expr="atan({0})",
    costly=True,
    vjp=lambda g, out, x: (div(g, mul(x, x) + 1),),
    example=lambda: arctan(input("x", 4, 3)),
)


def _vjp_arctan2(g: Node, out: Node, y: Node, x: Node) -> tuple[Node, Node]:
    by = div(g, mul(x, x) + mul(y, y))
    return mul(by, x), neg(mul(by, y))


arctan2: Op = define(
    "arctan2",
    Kind.ELEMENTWISE,
    infer=floats("arctan2", 2),
    ref=np.arctan2,
    expr="atan2({0}, {1})",
    costly=True,
    vjp=_vjp_arctan2,
    example=lambda: arctan2(input("y", 4, 3), input("x", 3)),
)

sinh: Op = define(
    "sinh",
    Kind.ELEMENTWISE,
    infer=floats("sinh", 1),
    ref=np.sinh,
    expr="sinh({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, cosh(x)),),
    example=lambda: sinh(input("x", 4, 3)),
)

cosh: Op = define(
    "cosh",
    Kind.ELEMENTWISE,
    infer=floats("cosh", 1),
    ref=np.cosh,
    expr="cosh({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, sinh(x)),),
    example=lambda: cosh(input("x", 4, 3)),
)

arcsinh: Op = define(
    "arcsinh",
    Kind.ELEMENTWISE,
    infer=floats("arcsinh", 1),
    ref=np.arcsinh,
    expr="asinh({0})",
    costly=True,
    vjp=lambda g, out, x: (mul(g, rsqrt(mul(x, x) + 1)),),
    example=lambda: arcsinh(input("x", 4, 3)),
)

arccosh: Op = define(
    "arccosh",
    Kind.ELEMENTWISE,
    infer=floats("arccosh", 1),
    ref=np.arccosh,
    expr="acosh({0})",
    costly=True,
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, rsqrt(mul(x - 1, x + 1))),),
    example=lambda: arccosh(input("x", 4, 3)),
)

arctanh: Op = define(
    "arctanh",
    Kind.ELEMENTWISE,
    infer=floats("arctanh", 1),
    ref=np.arctanh,
    expr="atanh({0})",
    costly=True,
    vjp=lambda g, out, x: (div(g, mul(sub(1, x), x + 1)),),
    example=lambda: arctanh(input("x", 4, 3)),
)
