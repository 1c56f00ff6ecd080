"""The rewriting engine: matching, fixed points, depth, origins, and rules that misbehave."""

from __future__ import annotations

import time

import numpy as np
import pytest

from random_graphs import graph_of
from tinygraph import ops
from tinygraph.graph.dump import dump
from tinygraph.graph.op import constant, input
from tinygraph.graph.origins import origins, scope
from tinygraph.graph.rebuild import rebuild
from tinygraph.graph.rewrite import (
    Event,
    RewriteError,
    Rule,
    filled,
    is_filled,
    rewrite,
    rule,
    substitute,
    var,
)
from tinygraph.ops.arithmetic import add, mul, neg, relu, sub
from tinygraph.ops.view import RESHAPE

x, y, p = var("x"), var("y"), var("p")


@rule(neg(neg(x)), example=lambda: neg(neg(input("x", 3))))
def neg_twice(out, x):
    return x


@rule(mul(x, 1), example=lambda: input("x", 3) * 1)
def times_one(out, x):
    return ops.broadcast_to(x, out.shape)


@rule(relu(relu(x)), example=lambda: relu(relu(input("x", 3))))
def relu_twice(out, x):
    return relu(x)


@rule(add(x, neg(y)), example=lambda: input("x", 3) + neg(input("y", 3)))
def add_of_neg(out, x, y):
    return sub(x, y)


@rule(
    RESHAPE(RESHAPE(x), shape=p),
    example=lambda: RESHAPE(RESHAPE(input("x", 4), shape=(2, 2)), shape=(4, 1)),
)
def reshape_twice(out, x, p):
    return ops.reshape(x, p)


def replaced(node, *rules: Rule):
    return rewrite(graph_of(node), rules).outputs[0]


def test_rules_reach_a_fixed_point():
    a = input("a", 3)
    assert replaced(neg(neg(neg(neg(a * 1)) * 1)), neg_twice, times_one) is a


def test_one_variable_stands_for_one_node():
    @rule(mul(x, x), example=lambda: input("x", 3) * input("x", 3))
    def square(out, x):
        return ops.exp(x)

    a, b = input("a", 3), input("b", 3)
    assert replaced(a * a, square).op is ops.exp
    assert replaced(a * b, square).op is mul


def test_commutative_operators_match_both_ways():
    a, b = input("a", 3), input("b", 3)
    assert replaced(1 * a, times_one) is a
    assert replaced(neg(b) + a, add_of_neg) is a - b
    assert replaced(neg(b) - a, add_of_neg) is neg(b) - a


def test_attributes_bind_and_constrain():
    a = input("a", 4, 6)
    assert replaced(a[0], reshape_twice) is a[0]
    assert replaced(RESHAPE(RESHAPE(a, shape=(24,)), shape=(2, 12)), reshape_twice) is RESHAPE(
        a, shape=(2, 12)
    )

    @rule(RESHAPE(x, shape=(24,)), example=lambda: RESHAPE(input("x", 4, 6), shape=(24,)))
    def never(out, x):
        raise AssertionError

    assert replaced(RESHAPE(a, shape=(6, 4)), never).shape == (6, 4)


def test_constants_match_by_value():
    assert is_filled(constant(np.ones((3, 2), "f4")), 1) and is_filled(ops.full((3, 2), 1.0), 1)
    assert not is_filled(constant(0.0), -0.0) and is_filled(constant(-0.0), -0.0)
    assert filled(constant([1.0, 2.0])) is None and filled(constant(7, "int32")) == 7
    a = input("a", 1, 3)
    assert replaced(a * np.ones((2, 3), "f4"), times_one) is ops.broadcast_to(a, (2, 3))


def test_names_and_origins_are_kept():
    a = input("a", 3)
    with scope("inner"):
        inner = neg(a)
    outer = (ops.exp(a) + inner).named("sum")
    made = replaced(outer, add_of_neg)
    assert made.name == "sum"
    assert {o.scope for o in origins(made)} == {"", "inner"}  # of both matched nodes
    assert all(o.file == __file__ for o in origins(made)), origins(made)
    reader = ops.tanh(outer)
    assert origins(replaced(reader, add_of_neg)) == origins(reader)


def test_events_are_logged():
    a = input("a", 3)
    log: list[Event] = []
    rewrite(graph_of(relu(relu(relu(a)))), (relu_twice,), log)
    assert [e.rule for e in log] == ["relu_twice"] * 2
    assert log[0].before.op is relu and log[0].after is relu(a)


def test_a_rule_that_changes_a_type_is_named():
    @rule(relu(x), example=lambda: relu(input("x", 3)))
    def shrink(out, x):
        return ops.sum(x)

    with pytest.raises(
        RewriteError, match=r"rule shrink changed the type of relu: f32\[3\] -> f32\[\]"
    ):
        replaced(relu(input("a", 3)), shrink)


def test_rules_that_undo_each_other_are_named():
    @rule(relu(x), example=lambda: relu(input("x", 3)))
    def there(out, x):
        return ops.tanh(x)

    @rule(ops.tanh(x), example=lambda: ops.tanh(input("x", 3)))
    def back(out, x):
        return relu(x)

    with pytest.raises(RewriteError, match="undo each other"):
        replaced(relu(input("a", 3)), there, back)


def test_deep_and_shared_graphs_take_linear_time():
    n = input("a", 3)
    for _ in range(10_000):
        n = neg(neg(ops.tanh(n) * 1))
    start = time.process_time()
    out = replaced(n, neg_twice, times_one)
    assert len(graph_of(out).nodes) == 10_001
    shared = input("a", 3)
    for _ in range(200):  # 2 ** 200 paths
        shared = relu(relu(shared + shared))
    assert len(graph_of(replaced(shared, relu_twice)).nodes) == 401
    assert time.process_time() - start < 10


def test_nothing_to_do_changes_nothing():
    graph = graph_of(ops.exp(input("a", 3)) @ input("b", 3, 2))
    assert rewrite(graph, (neg_twice, times_one)).outputs == graph.outputs


def test_substitute_replaces_within_replacements():
    a, b = input("a", 3), input("b", 3)
    first, second = ops.exp(a), ops.tanh(a)
    graph = graph_of(first + second, name="g")
    out = substitute(graph, {first: relu(second), second: b}).outputs[0]
    assert out is relu(b) + b


def test_rebuild_sees_replaced_inputs():
    a = input("a", 3)
    graph = graph_of(ops.exp(relu(relu(a))))
    out = rebuild(graph, lambda n: n.inputs[0] if n.op is relu else None)
    assert dump(out) == dump(graph_of(ops.exp(a)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ops.softmax(x),
        lambda: ops.matmul(x, y),
        lambda: ops.concat([x, y]),
        lambda: relu(x) + 1,
        lambda: x[0],
    ],
)
def test_functions_that_are_no_operators_take_no_patterns(wrong):
    with pytest.raises(RewriteError, match=r"test_rewrite.py:\d+: the pattern (x|relu) went to"):
        wrong()
