"""Thirteen passes that compute something else: value checking must catch each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinygraph import ops
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import constant, input
from tinygraph.graph.rewrite import Rule, filled, rewrite, rule, var
from tinygraph.ops.arithmetic import abs, add, div, maximum, mul, relu, sub
from tinygraph.ops.logic import CAST, equal
from tinygraph.ops.math import sqrt
from tinygraph.ops.reduce import MAX, SUM
from tinygraph.ops.view import PAD, RESHAPE, SLICE, TRANSPOSE

x, y, p, q = var("x"), var("y"), var("p"), var("q")
number = var("number", where=lambda n: filled(n) is not None)


@dataclass(frozen=True)
class Wrong:
    """A wrong rule as a pass; ``only`` says on what it shows, if not on everything."""

    rule: Rule
    only: str

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def graph(self) -> Callable[[], Node]:
        return self.rule.example

    @property
    def run(self) -> Callable[[Graph], Graph]:
        def wrong(graph: Graph) -> Graph:
            return rewrite(graph, (self.rule,))

        wrong.__name__ = self.name
        return wrong


def _x(*shape: int) -> Node:
    return input("x", *(shape or (3, 5)))


@rule(relu(x), example=lambda: relu(_x()) + 1)
def relu_as_choice(out, x):
    return ops.where(ops.less(0, x), x, 0)


@rule(maximum(x, y), example=lambda: maximum(_x(), input("y", 5)) * 2)
def maximum_as_choice(out, x, y):
    return ops.where(ops.less(x, y), y, x)


@rule(sub(x, x), example=lambda: ops.exp(_x() - _x()))
def difference_of_same(out, x):
    return ops.zeros(x.shape)


@rule(mul(x, 0), example=lambda: _x() * 0 + 1)
def times_zero(out, x):
    return ops.zeros(out.shape)


@rule(sqrt(mul(x, x)), example=lambda: sqrt(_x() * _x()))
def root_of_square(out, x):
    return x


@rule(abs(x), example=lambda: abs(_x()) + 1)
def abs_as_relu(out, x):
    return relu(x)


@rule(maximum(x, y), example=lambda: maximum(input("i", 3, 5, dtype="int32"), 9) + 1)
def maximum_of_digits(out, x, y):
    return y + x * 0


@rule(SUM(CAST(equal(x, y)), axis=p, keepdims=q), example=lambda: _share_of_maximum())
def one_maximum(out, x, y, p, q):
    return ops.ones(out.shape)


def _share_of_maximum() -> Node:
    top = MAX(_x(), axis=(1,), keepdims=True)
    return top / SUM(CAST(equal(_x(), top), dtype="float32"), axis=(1,), keepdims=True)


@rule(SUM(x, axis=(0,), keepdims=False), example=lambda: SUM(_x(7, 2), axis=(0,), keepdims=False))
def sum_of_halves(out, x):
    half, rest = x.shape[0] // 2, x.shape[1:]
    if not half:
        return None
    start, step = (0,) * len(rest), (1,) * x.ndim
    low = SLICE(x, start=(0, *start), size=(half, *rest), step=step)
    high = SLICE(x, start=(half, *start), size=(half, *rest), step=step)
    return RESHAPE(SUM(low + high, axis=(0,), keepdims=True), shape=out.shape)


@rule(
    SUM(add(x, y), axis=(0, 1)),
    example=lambda: SUM(_x() + input("y", 5), axis=(0, 1), keepdims=False),
)
def sum_of_each(out, x, y):
    return ops.sum(x) + ops.sum(y)


@rule(
    TRANSPOSE(TRANSPOSE(x, axes=p), axes=q),
    example=lambda: TRANSPOSE(TRANSPOSE(_x(3, 3, 3), axes=(1, 2, 0)), axes=(1, 0, 2)),
)
def transposes_in_wrong_order(out, x, p, q):
    return TRANSPOSE(x, axes=tuple(q[a] for a in p))


@rule(div(x, number), example=lambda: _x() / 3)
def division_by_integer_inverse(out, x, number):
    return mul(x, constant(round(1 / filled(number), 1)))


@rule(
    SLICE(PAD(x, widths=p), start=q),
    example=lambda: SLICE(
        PAD(_x(3, 5), widths=((1, 1, 0), (0, 0, 0)), value=0),
        start=(0, 0),
        size=(3, 5),
        step=(1, 1),
    ),
)
def slice_undoes_pad(out, x, p, q):
    return x if x.type == out.type else None


WRONG = (
    Wrong(relu_as_choice, "NaN"),
    Wrong(maximum_as_choice, "NaN"),
    Wrong(difference_of_same, "NaN"),
    Wrong(times_zero, "NaN"),
    Wrong(root_of_square, "negative inputs"),
    Wrong(abs_as_relu, "negative inputs"),
    Wrong(maximum_of_digits, "integers beyond 9"),
    Wrong(one_maximum, "ties"),
    Wrong(sum_of_halves, "odd sizes"),
    Wrong(sum_of_each, "broadcasting"),
    Wrong(transposes_in_wrong_order, ""),
    Wrong(division_by_integer_inverse, ""),
    Wrong(slice_undoes_pad, ""),
)
