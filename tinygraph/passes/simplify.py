"""Algebra that holds for floating point: NaN, infinities and the sign of zero stay what they were.

So x + 0 stays (it turns -0.0 into 0.0), and so do x * 0, x - x, 0 / x and exp(log(x)). Chains of
scalings are the one place where rounding may change, by an ULP: their factors are multiplied at
compile time.
"""

from __future__ import annotations

import math

from ..graph.dtype import astype, is_exact, is_float
from ..graph.ir import Graph, Node
from ..graph.op import constant, input
from ..graph.rewrite import Event, filled, rewrite, rule, rules_in, var
from ..ops.arithmetic import abs, add, div, maximum, minimum, mul, neg, relu, sub
from ..ops.logic import CAST, WHERE, cast, less, logical_not, where
from ..ops.math import POW, exp, rsqrt, sqrt
from ..ops.reduce import SUM, sum
from ..ops.source import full, ones
from ..ops.view import BROADCAST_TO, broadcast_to
from .fold_constants import fold
from .simplify_views import unrepeated

# Factors beyond this, or below its inverse, are not multiplied: x * 1e30 * 1e-30 may overflow.
EXTREME = 1e8


def _is_number(n: Node) -> bool:
    return filled(n) is not None


def _is_factor(n: Node) -> bool:
    value = filled(n)
    return value is not None and is_float(n.dtype) and 1 / EXTREME <= math.fabs(value) <= EXTREME


def _is_power_of_two(n: Node) -> bool:
    value = filled(n)
    return _is_factor(n) and value is not None and math.frexp(value)[0] in (0.5, -0.5)


def _is_not_negative(n: Node) -> bool:
    """Neither below zero nor -0.0; the absolute value of the least integer is negative."""
    return n.op.nonnegative and is_float(n.dtype)


x, y = var("x"), var("y")
condition = var("condition")
a, b = var("a", where=_is_factor), var("b", where=_is_factor)
number = var("number", where=_is_number)
power_of_two = var("number", where=_is_power_of_two)
positive = var("x", where=_is_not_negative)


def _sample() -> Node:
    return input("x", 4, 3)


@rule(mul(x, 1), example=lambda: _sample() * 1)
def times_one(out: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(mul(x, -1), example=lambda: mul(_sample(), -1))
def times_minus_one(out: Node, x: Node) -> Node:
    return neg(broadcast_to(x, out.shape))


@rule(div(x, 1), example=lambda: div(_sample(), 1))
def by_one(out: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(div(x, power_of_two), example=lambda: div(_sample(), 4))
def by_power_of_two(out: Node, x: Node, number: Node) -> Node | None:
    """Exact, because the inverse is."""
    inverse = fold(div(1, number))
    return None if inverse is None else mul(x, inverse)


@rule(sub(x, 0), example=lambda: sub(_sample(), 0))
def minus_zero(out: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(add(x, -0.0), example=lambda: add(_sample(), -0.0))
def plus_minus_zero(out: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(add(x, 0), example=lambda: add(input("x", 4, 3, dtype="int32"), 0))
def plus_zero(out: Node, x: Node) -> Node | None:
    """Only where x cannot be -0.0."""
    safe = not is_float(x.dtype) or _is_not_negative(x)
    return broadcast_to(x, out.shape) if safe else None


@rule(neg(neg(x)), example=lambda: neg(neg(_sample())))
def neg_twice(out: Node, x: Node) -> Node:
    return x


@rule(abs(neg(x)), example=lambda: abs(neg(_sample())))
def abs_of_neg(out: Node, x: Node) -> Node:
    return abs(x)


@rule(abs(positive), example=lambda: abs(exp(_sample())))
def abs_of_positive(out: Node, x: Node) -> Node:
    return x


@rule(add(x, neg(y)), example=lambda: add(_sample(), neg(input("y", 3))))
def add_of_neg(out: Node, x: Node, y: Node) -> Node:
    return sub(x, y)


@rule(sub(x, neg(y)), example=lambda: sub(_sample(), neg(input("y", 3))))
def sub_of_neg(out: Node, x: Node, y: Node) -> Node:
    return add(x, y)


@rule(mul(neg(x), neg(y)), example=lambda: mul(neg(_sample()), neg(input("y", 3))))
def product_of_negs(out: Node, x: Node, y: Node) -> Node:
    return mul(x, y)


@rule(mul(neg(x), number), example=lambda: mul(neg(_sample()), 3.5))
def neg_times_number(out: Node, x: Node, number: Node) -> Node | None:
    factor = fold(neg(number)) if is_float(number.dtype) else None
    return None if factor is None else mul(x, factor)


@rule(mul(mul(x, a), b), example=lambda: mul(mul(_sample(), 3.0), 0.7))
def scale_twice(out: Node, x: Node, a: Node, b: Node) -> Node | None:
    return _scaled(out, x, mul(a, b))


@rule(mul(div(x, a), b), example=lambda: mul(div(_sample(), 3.0), 0.7))
def scale_of_quotient(out: Node, x: Node, a: Node, b: Node) -> Node | None:
    return _scaled(out, x, div(b, a))


@rule(div(mul(x, a), b), example=lambda: div(mul(_sample(), 3.0), 0.7))
def quotient_of_scaled(out: Node, x: Node, a: Node, b: Node) -> Node | None:
    return _scaled(out, x, div(a, b))


def _scaled(out: Node, x: Node, factor: Node) -> Node | None:
    folded = fold(factor)
    return None if folded is None else broadcast_to(mul(x, folded), out.shape)


@rule(relu(relu(x)), example=lambda: relu(relu(_sample())))
def relu_twice(out: Node, x: Node) -> Node:
    return relu(x)


@rule(relu(positive), example=lambda: relu(exp(_sample())))
def relu_of_positive(out: Node, x: Node) -> Node:
    return x


@rule(maximum(x, x), example=lambda: maximum(_sample(), _sample()))
def maximum_of_same(out: Node, x: Node) -> Node:
    return x


@rule(minimum(x, x), example=lambda: minimum(_sample(), _sample()))
def minimum_of_same(out: Node, x: Node) -> Node:
    return x


@rule(POW(x, 2), example=lambda: POW(_sample(), 2.0))
def square(out: Node, x: Node) -> Node:
    return broadcast_to(mul(x, x), out.shape)


@rule(POW(x, 3), example=lambda: POW(_sample(), 3.0))
def cube(out: Node, x: Node) -> Node:
    return broadcast_to(mul(mul(x, x), x), out.shape)


@rule(POW(x, 1), example=lambda: POW(_sample(), 1.0))
def power_one(out: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(POW(x, 0), example=lambda: POW(_sample(), 0.0))
def power_zero(out: Node, x: Node) -> Node:
    """1 even for NaN, as C, NumPy and IEEE 754 have it."""
    return ones(out.shape, out.dtype)


@rule(POW(x, -1), example=lambda: POW(_sample(), -1.0))
def power_minus_one(out: Node, x: Node) -> Node:
    return broadcast_to(div(1, x), out.shape)


@rule(div(1, sqrt(x)), example=lambda: div(1, sqrt(_sample())))
def inverse_root(out: Node, x: Node) -> Node:
    return broadcast_to(rsqrt(x), out.shape)


@rule(WHERE(number, x, y), example=lambda: where(full((4, 3), True, "bool"), _sample(), 0.0))
def where_known(out: Node, number: Node, x: Node, y: Node) -> Node:
    return broadcast_to(x if filled(number) else y, out.shape)


@rule(
    WHERE(condition, x, x), example=lambda: where(less(_sample(), 0), input("y", 3), input("y", 3))
)
def where_same(out: Node, condition: Node, x: Node) -> Node:
    return broadcast_to(x, out.shape)


@rule(
    WHERE(logical_not(condition), x, y),
    example=lambda: where(logical_not(less(_sample(), 0)), _sample(), 0.0),
)
def where_not(out: Node, condition: Node, x: Node, y: Node) -> Node:
    return WHERE(condition, y, x)


@rule(logical_not(logical_not(x)), example=lambda: logical_not(logical_not(less(_sample(), 0))))
def not_twice(out: Node, x: Node) -> Node:
    return x


@rule(CAST(CAST(x)), example=lambda: cast(cast(_sample(), "float64"), "float32"))
def cast_twice(out: Node, x: Node) -> Node | None:
    """Where the dtype in between holds every value."""
    between = out.inputs[0].dtype
    return cast(x, out.dtype) if is_exact(x.dtype, between) else None


@rule(CAST(x), example=lambda: CAST(_sample(), dtype="float32"))
def cast_nothing(out: Node, x: Node) -> Node | None:
    return x if x.dtype == out.dtype else None


@rule(SUM(BROADCAST_TO(x)), example=lambda: sum(broadcast_to(input("x", 3, 1), (3, 4)), (0, 1)))
def sum_of_broadcast(out: Node, x: Node) -> Node | None:
    """n equal summands are one product; an integer n wraps around as the sum does."""
    narrow = unrepeated(out)
    if narrow is None or out.inputs[0].type.size == 0:
        return None
    count = out.inputs[0].type.size // narrow.type.size
    total = SUM(narrow, axis=out.attr("axis"), keepdims=out.attr("keepdims"))
    return mul(total, constant(astype(count, out.dtype)))


RULES = rules_in(globals())


def simplify(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Applies the rules of this file until none fits."""
    return rewrite(graph, RULES, log)
