"""Gradients against central differences, their order, origins, errors, and depth."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from random_graphs import graph_of, parameter
from tinygraph import ops
from tinygraph.autodiff import GradientError, check_grad, grad
from tinygraph.graph.dump import dump
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import Kind, Op, constant, input
from tinygraph.graph.origins import origins, scope
from tinygraph.graph.verify import verify


def test_values_and_shapes():
    x, w = input("x", 4, 3), parameter("w", 3)
    loss = ops.sum(ops.relu(x * w) * 2.0)
    gx, gw = grad(loss, [x, w])
    values = np.arange(-6, 6, dtype="float32").reshape(4, 3)
    [a, b] = run(verify(Graph("g", (x,), (gx, gw))), values)
    scale = w.value
    np.testing.assert_allclose(a, np.where(values > 0, 2 * scale, 0), rtol=1e-6)
    np.testing.assert_allclose(b, (2 * np.maximum(values, 0)).sum(0), rtol=1e-6)


def test_unreached_gets_zeros_and_loss_itself_one():
    x, y = input("x", 3), input("y", 2)
    loss = ops.sum(x)
    zero, one = run(graph_of(*grad(loss, [y, loss])))
    np.testing.assert_array_equal(zero, np.zeros(2, "float32"))
    assert one == 1 and one.dtype == np.float32


def test_with_respect_to_an_inner_node():
    x = input("x", 3)
    h = ops.exp(x)
    [g] = grad(ops.sum(h * h), h)
    np.testing.assert_allclose(run(graph_of(g), np.ones(3, "f4"))[0], 2 * math.e, rtol=1e-6)
    assert "exp(x)" in dump(graph_of(g)) and grad(ops.sum(h * h), [h])[0] is g


def test_second_order():
    x = input("x", 4)
    [g] = grad(ops.sum(ops.tanh(x) * x), x)
    assert check_grad((graph_of(g).inputs, ops.sum(g * g))) < 1e-6
    [h] = grad(ops.sum(g), x)
    at = np.linspace(-1, 1, 4, dtype="float32")
    t = np.tanh(at.astype("f8"))
    expected = 2 * (1 - t**2) - 2 * at * t * (1 - t**2)
    np.testing.assert_allclose(run(graph_of(h), at)[0], expected, rtol=1e-4, atol=1e-6)


def test_check_grad_finds_a_wrong_gradient():
    wrong = ops.custom_gradient(lambda x: x * x, lambda g, y, x: g * x)
    with pytest.raises(GradientError, match="off by"):
        check_grad(lambda x: wrong(x), np.ones(3))
    assert check_grad(lambda x, y: ops.sqrt(x * x + y), np.ones((2, 3)), np.ones(3)) < 1e-8


def test_check_grad_takes_parameters_and_integers_along():
    x, labels, w = input("x", 4, 3), input("labels", 4, dtype="int32"), parameter("w", 3, 5)
    assert check_grad(([x, labels], ops.cross_entropy(x @ w, labels))) < 1e-7


def test_gradients_carry_origins_and_scope():
    x = input("x", 3)
    with scope("block"):
        y = ops.tanh(x)
    [g] = grad(ops.sum(y * y), x)
    [place] = {
        o for n in Graph("", (), (g,)).nodes for o in origins(n) if o.scope == "block" and o.how
    }
    assert place.how == "gradient of" and place.file == __file__
    assert place.line == origins(y)[0].line


def test_errors():
    x = input("x", 3)
    with pytest.raises(
        GradientError, match=r"one float element, got exp f32\[3\] \(test_autodiff.py:\d+\)"
    ):
        grad(ops.exp(x), x)
    with pytest.raises(GradientError, match=r"input i i32.*: only floats have gradients"):
        grad(ops.sum(x), input("i", 3, dtype="int32"))
    steep = Op("steep", Kind.ELEMENTWISE, infer=lambda x: x, ref=np.sign)
    y = steep(ops.exp(x.named("x")) + input("z", 3))
    with pytest.raises(
        GradientError,
        match=r"steep f32\[3\] \(test_autodiff.py:\d+\) has no gradient; input x .*needed it for",
    ):
        grad(ops.sum(y), [x, input("unrelated", 3)])
    [g] = grad(ops.sum(y) + ops.sum(x), input("unrelated", 3))  # nobody needs it
    assert g.shape == (3,)


def test_integers_carry_no_gradient():
    x = input("x", 5)
    rows = ops.take(x, ops.argmax(x, keepdims=True))
    [g] = grad(ops.sum(rows) * 3.0, x)
    [value] = run(graph_of(g), np.array([1, 5, 2, 3, 4], "f4"))
    np.testing.assert_array_equal(value, [0, 3, 0, 0, 0])


def test_only_what_depends_on_the_targets_is_visited():
    x, w = input("x", 3), input("w", 3)
    frozen = x
    for _ in range(50):
        frozen = ops.tanh(frozen)
    [g] = grad(ops.sum(frozen * w), w)
    assert len(graph_of(g).nodes) < 60


def test_ten_thousand_layers():
    x = input("x", 3)
    n = x
    for _ in range(10_000):
        n = ops.tanh(n) + 0.5
    start = time.process_time()
    [g] = grad(ops.sum(n), x)
    assert g.shape == (3,)
    assert time.process_time() - start < 10


def test_sums_have_a_fixed_order():
    def build() -> str:
        x = input("x", 3)
        return dump(graph_of(*grad(ops.sum(x * 2 + ops.exp(x) + x * x * x), x)))

    assert build() == build()


def test_the_gradients_of_a_split_are_put_side_by_side():
    x = input("x", 3, 7)
    a, b, c = ops.split(x, [2, 4, 1], axis=1)
    whole = ops.sum(ops.exp(b)) + ops.sum(a * 2) + ops.sum(c * c)
    (g,) = grad(whole, [x])
    assert g.op.name == "concat"
    (g,) = grad(ops.sum(a) + ops.sum(c), [x])  # b's place stays 0
    assert g.op.name == "add"
    (g,) = grad(ops.sum(x[::2] * 2) + ops.sum(x[1:2] * 3), [x])  # gaps
    (value,) = run(Graph("g", (), (g,)))
    assert value.tolist() == [[2] * 7, [3] * 7, [2] * 7]
    check_grad(lambda x: ops.concat([ops.exp(p) for p in ops.split(x, 3, 0)], 1), np.ones((3, 2)))


def test_random_numbers_are_the_same_in_any_precision():
    seed, step = constant(3, "int32"), constant(1, "int32")
    check_grad(lambda x: ops.dropout(x, 0.4, seed, step, 1) * x, np.linspace(-1, 1, 12))
