"""Element-wise arithmetic: sums, products, rounding, extremes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES, is_float
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, broadcast_shapes, define, input, promote, same_dtype
from ..graph.types import Type
from .logic import equal, less, less_equal, logical_and, logical_or, logical_xor, not_equal, where

__all__ = (
    "abs",
    "add",
    "ceil",
    "clip",
    "div",
    "floor",
    "floor_divide",
    "fmod",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "neg",
    "relu",
    "round",
    "sign",
    "sub",
    "trunc",
)


def numbers(name: str, inputs: int) -> Callable[..., Type]:
    """Type rule: shapes broadcast, one dtype, which is not bool.

    Args:
        name, inputs: see ``extend.floats``.

    Example:
        >>> extend.numbers("add", 2)(tg.Type((3,), "int32"), tg.Type((), "int32"))
        Type(shape=(3,), dtype='int32')
    """
    return _rule(name, inputs, "numbers", lambda d: d != "bool", "convert with tg.cast")


def floats(name: str, inputs: int, otherwise: str = "convert with tg.cast") -> Callable[..., Type]:
    """Type rule: shapes broadcast, one floating-point dtype.

    Args:
        name: of the operator; ``inputs``: how many it takes; ``otherwise``: what errors advise.

    Example:
        >>> extend.floats("tanh", 1)(tg.Type((3,)))
        Type(shape=(3,), dtype='float32')
    """
    return _rule(name, inputs, "float32 or float64", is_float, otherwise)


def integers(name: str, inputs: int, otherwise: str) -> Callable[..., Type]:
    """Type rule: shapes broadcast, one integer dtype.

    Args:
        name, inputs, otherwise: see ``extend.floats``.

    Example:
        >>> extend.integers("bitwise_not", 1, "use tg.cast")(tg.Type((3,), "int32"))
        Type(shape=(3,), dtype='int32')
    """
    return _rule(name, inputs, "integers", lambda d: DTYPES[d].is_integer, otherwise)


def _rule(
    name: str, inputs: int, kinds: str, allowed: Callable[[str], bool], otherwise: str
) -> Callable[..., Type]:
    def infer(*types: Type) -> Type:
        if len(types) != inputs:
            raise ShapeError(
                f"{name} requires {inputs} input{'s' * (inputs > 1)}, got {len(types)}"
            )
        dtype = same_dtype(name, *types)
        if not allowed(dtype):
            raise ShapeError(f"{name} requires {kinds}, got {dtype}; {otherwise}")
        return Type(broadcast_shapes(name, *types), dtype)

    return infer


add: Op = define(
    "add",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=numbers("add", 2),
    ref=np.add,
    expr="{0} + {1}",
    vjp=lambda g, out, a, b: (g, g),
    example=lambda: add(input("a", 4, 3), input("b", 3)),
)

sub: Op = define(
    "sub",
    Kind.ELEMENTWISE,
    infer=numbers("sub", 2),
    ref=np.subtract,
    expr="{0} - {1}",
    vjp=lambda g, out, a, b: (g, neg(g)),
    example=lambda: sub(input("a", 4, 3), input("b", 4, 1)),
)

mul: Op = define(
    "mul",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=numbers("mul", 2),
    ref=np.multiply,
    expr="{0} * {1}",
    vjp=lambda g, out, a, b: (mul(g, b), mul(g, a)),
    example=lambda: mul(input("a", 4, 3), input("b", 4, 3)),
)

div: Op = define(
    "div",
    Kind.ELEMENTWISE,
    infer=floats("div", 2, "use tg.floor_divide, or tg.cast first"),
    ref=np.divide,
    expr="{0} / {1}",
    costly=True,
    vjp=lambda g, out, a, b: (div(g, b), neg(mul(g, div(out, b)))),
    example=lambda: div(input("a", 4, 3), input("b", 4, 3)),
)

neg: Op = define(
    "neg",
    Kind.ELEMENTWISE,
    infer=numbers("neg", 1),
    ref=np.negative,
    expr="-{0}",
    vjp=lambda g, out, x: (neg(g),),
    example=lambda: neg(input("x", 4, 3)),
)

# Rounded down, as in Python. As in NumPy, x // 0 and x % 0 are 0; the least integer // -1 wraps.
# Floats as well, exactly, as NumPy has them: 1.0 // 0.1 is 9, since 0.1 is a little above a tenth.
floor_divide: Op = define(
    "floor_divide",
    Kind.ELEMENTWISE,
    infer=numbers("floor_divide", 2),
    ref=np.floor_divide,
    expr="floor_divide({0}, {1})",
    vjp=lambda g, out, a, b: (None, None),
    example=lambda: floor_divide(input("a", 4, 3, dtype="int32"), 3),
)

mod: Op = define(
    "mod",
    Kind.ELEMENTWISE,
    infer=numbers("mod", 2),
    ref=np.remainder,
    expr="modulo({0}, {1})",
    vjp=lambda g, out, a, b: (g, neg(mul(g, floor_divide(a, b)))),
    example=lambda: mod(input("a", 4, 3, dtype="int32"), 3),
)


def fmod(a: Any, b: Any) -> Node:
    """The remainder with the sign of a, as C's; ``mod`` has that of b.

    Example:
        >>> tg.run(tg.fmod(tg.constant([-7.0, 7.0]), 3.0))
        array([-1.,  1.], dtype=float32)
    """
    a, b = promote("fmod", (a, b))
    if is_float(a.dtype):
        rest = mod(abs(a), abs(b))
        return where(less(a, 0), neg(rest), rest)
    rest = mod(a, b)  # not of magnitudes: the least integer has none
    if DTYPES[a.dtype].least == 0:
        return rest
    opposite = logical_and(not_equal(rest, 0), logical_xor(less(rest, 0), less(a, 0)))
    return where(opposite, sub(rest, b), rest)


# At 0 the gradient is 0, as in PyTorch; NaN and infinities keep sign(x) * g.
abs: Op = define(
    "abs",
    Kind.ELEMENTWISE,
    infer=numbers("abs", 1),
    ref=np.abs,
    expr="abs({0})",
    nonnegative=True,
    vjp=lambda g, out, x: (mul(g, sign(x)),),
    example=lambda: abs(input("x", 4, 3)),
)

sign: Op = define(
    "sign",
    Kind.ELEMENTWISE,
    infer=numbers("sign", 1),
    ref=np.sign,
    expr="K(1) if {0} > K(0) else (-K(1) if {0} < K(0) else ({0} if {0} != {0} else K(0)))",
    vjp=lambda g, out, x: (None,),
    example=lambda: sign(input("x", 4, 3)),
)

floor: Op = define(
    "floor",
    Kind.ELEMENTWISE,
    infer=floats("floor", 1),
    ref=np.floor,
    expr="floor({0})",
    vjp=lambda g, out, x: (None,),
    example=lambda: floor(input("x", 4, 3)),
)

ceil: Op = define(
    "ceil",
    Kind.ELEMENTWISE,
    infer=floats("ceil", 1),
    ref=np.ceil,
    expr="ceil({0})",
    vjp=lambda g, out, x: (None,),
    example=lambda: ceil(input("x", 4, 3)),
)

trunc: Op = define(
    "trunc",
    Kind.ELEMENTWISE,
    infer=floats("trunc", 1),
    ref=np.trunc,
    expr="trunc({0})",
    vjp=lambda g, out, x: (None,),
    example=lambda: trunc(input("x", 4, 3)),
)

# Halves go to the even neighbour, as in NumPy, PyTorch and IEEE 754.
round: Op = define(
    "round",
    Kind.ELEMENTWISE,
    infer=floats("round", 1),
    ref=np.round,
    expr="rint({0})",
    vjp=lambda g, out, x: (None,),
    example=lambda: round(input("x", 4, 3)),
)


def _vjp_extreme(g: Node, a_loses: Node, tie: Node) -> tuple[Node, Node]:
    """Ties share the gradient half and half, as in PyTorch."""
    half = mul(g, 0.5) if is_float(g.dtype) else g
    shared = where(tie, half, g)
    return where(a_loses, 0, shared), where(logical_or(a_loses, tie), shared, 0)


# Both extremes are NaN where either operand is.
maximum: Op = define(
    "maximum",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=numbers("maximum", 2),
    ref=np.maximum,
    expr="{0} if {0} > {1} or {0} != {0} else {1}",
    vjp=lambda g, out, a, b: _vjp_extreme(g, less(a, b), equal(a, b)),
    example=lambda: maximum(input("a", 4, 3), input("b", 4, 3)),
)

minimum: Op = define(
    "minimum",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=numbers("minimum", 2),
    ref=np.minimum,
    expr="{0} if {0} < {1} or {0} != {0} else {1}",
    vjp=lambda g, out, a, b: _vjp_extreme(g, less(b, a), equal(a, b)),
    example=lambda: minimum(input("a", 4, 3), input("b", 4, 3)),
)


def _infer_clip(x: Type, *, low: float | None, high: float | None) -> Type:
    for bound in (low, high):
        if bound is not None and (bound != bound or not DTYPES[x.dtype].holds(bound)):
            raise ShapeError(f"clip requires bounds that {x.dtype} can hold, got {bound!r}")
    return numbers("clip", 1)(x)


def _expr_clip(*, low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        low = builtins.min(low, high)
    above = "{0}" if high is None else f"K({high!r}) if {{0}} > K({high!r}) else {{0}}"
    return above if low is None else f"K({low!r}) if {{0}} < K({low!r}) else ({above})"


def _vjp_clip(g: Node, out: Node, x: Node) -> tuple[Node]:
    low, high = out.attr("low"), out.attr("high")
    if low is not None:
        g = where(less(x, low), 0, g)
    if high is not None:
        g = where(less(high, x), 0, g)
    return (g,)


CLIP: Op = define(
    "clip",
    Kind.ELEMENTWISE,
    infer=_infer_clip,
    ref=lambda x, *, low, high: np.clip(x, low, high),
    expr=_expr_clip,
    vjp=_vjp_clip,
    example=lambda: clip(input("x", 4, 3), -0.5, 1.0),
)


def clip(x: Node, min: Any = None, max: Any = None) -> Node:
    """x kept within [min, max] (numbers, nodes or None); NaN stays NaN.

    Where min is above max, the result is max. A number beyond an integer dtype's limits bounds
    nothing, or is refused if no integer could meet it. With numbers the gradient passes where
    min <= x <= max, as in PyTorch.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.clip(tg.constant([-2.0, 0.5, 3.0]), 0, 1))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    (x,) = promote("clip", (x,))
    if not isinstance(min, Node) and not isinstance(max, Node):
        return CLIP(x, low=_bound(x, min, -math.inf), high=_bound(x, max, math.inf))
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def _bound(x: Node, value: float | None, nothing: float) -> float | None:
    """A bound in x's own kind of number; None where it bounds nothing."""
    dtype = DTYPES[x.dtype]
    if value is None or (value <= dtype.least if nothing < 0 else value >= dtype.greatest):
        return None
    if dtype.is_float:
        return float(value)
    return int(value) if dtype.holds(value) else value


# relu'(0) = 0; a NaN passes through, and so does its gradient, as in PyTorch.
relu: Op = define(
    "relu",
    Kind.ELEMENTWISE,
    infer=numbers("relu", 1),
    ref=lambda x: np.maximum(x, 0),
    expr="K(0) if {0} <= K(0) else {0}",
    vjp=lambda g, out, x: (where(less_equal(x, 0), 0, g),),
    example=lambda: relu(input("x", 4, 3)),
)
