"""Functions that overflow or cancel as written, in the form that does not.

What was finite stays within rounding; what overflowed or rounded to nothing becomes right.
"""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..graph.op import input
from ..graph.rewrite import Event, rewrite, rule, rules_in, var
from ..ops.arithmetic import add, div, sub
from ..ops.math import exp, expm1, log, log1p, softplus
from ..ops.reduce import SUM, sum


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


RULES = rules_in(globals())


def stabilize(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Replaces unstable forms by stable ones."""
    return rewrite(graph, RULES, log)
