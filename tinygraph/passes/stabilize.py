"""Functions that overflow or cancel as written, in the form that does not.

What was finite stays within rounding; what overflowed or rounded to nothing becomes right.
"""

from __future__ import annotations

import math

from ..graph.ir import Graph, Node
from ..graph.op import CONSTANT, input
from ..graph.rewrite import Event, rewrite, rule, rules_in, var
from ..graph.size import Size
from ..ops.arithmetic import add, div, mul, sub
from ..ops.math import exp, expm1, log, log1p, softplus
from ..ops.reduce import SUM, mean, sum
from ..ops.reduce import var as variance


def _is_sum_of_exp(n: Node) -> bool:
    return n.op is SUM and n.inputs[0].op is exp


x, total = var("x"), var("total", where=_is_sum_of_exp)


def _softmax() -> Node:
    e = exp(input("x", 4, 3))
    return div(e, sum(e, 1, keepdims=True))


@rule(log(div(exp(x), total)), example=lambda: log(_softmax()))
def log_of_softmax(out: Node, x: Node, total: Node) -> Node:
    """The quotient may round to 0, the difference does not."""
    return sub(x, log(total))


@rule(log(add(exp(x), 1)), example=lambda: log(add(exp(input("x", 4, 3)), 1)))
def log_of_one_plus_exp(out: Node, x: Node) -> Node | None:
    return softplus(x) if x.shape == out.shape else None


@rule(log1p(exp(x)), example=lambda: log1p(exp(input("x", 4, 3))))
def log1p_of_exp(out: Node, x: Node) -> Node:
    return softplus(x)


@rule(log(add(x, 1)), example=lambda: log(add(input("x", 4, 3), 1)))
def log_of_one_plus(out: Node, x: Node) -> Node | None:
    """Small x would vanish next to the 1."""
    return log1p(x) if x.shape == out.shape else None


@rule(sub(exp(x), 1), example=lambda: sub(exp(input("x", 4, 3)), 1))
def exp_minus_one(out: Node, x: Node) -> Node | None:
    return expm1(x) if x.shape == out.shape else None


def _mean_of(n: Node) -> Node | None:
    """The sum that n is over its number of elements, or times one over it."""
    for total, other in (n.inputs, n.inputs[::-1]) if len(n.inputs) == 2 else ():
        if total.op is not SUM or other.op is not CONSTANT or other.type.size != 1:
            continue
        sizes = [total.inputs[0].shape[a] for a in total.attr("axis")]
        if any(isinstance(s, Size) for s in sizes):
            return None
        count, given = math.prod(sizes), float(other.attr("value").data.reshape(-1)[0])
        wanted = {div.name: count, mul.name: 1 / max(count, 1)}.get(n.op.name)
        if wanted is not None and math.isclose(given, wanted, rel_tol=1e-6):
            return total
    return None


def _moments() -> Node:
    x = input("x", 4, 3)
    m = mean(x, 1)
    return sub(mean(mul(x, x), 1), mul(m, m))


m = var("m")


@rule(sub(x, mul(m, m)), example=_moments)
def difference_of_moments(out: Node, x: Node, m: Node) -> Node | None:
    """E[x^2] - E[x]^2 cancels where the mean is much larger than the spread."""
    squares, total = _mean_of(x), _mean_of(m)
    if squares is None or total is None:
        return None
    (x,) = total.inputs
    if squares.attrs != total.attrs or squares.inputs[0] is not mul(x, x):
        return None
    return variance(x, total.attr("axis"), total.attr("keepdims"))


RULES = rules_in(globals())


def stabilize(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Replaces unstable forms by stable ones."""
    return rewrite(graph, RULES, log)
