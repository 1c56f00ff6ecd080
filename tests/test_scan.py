"""Loops: the interpreter defines them, gradients and compiled code agree with it."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.autodiff import check_grad
from tinygraph.dump import WIDTH
from tinygraph.ir import Graph, Node

T, B, X, H = 5, 3, 4, 6
SHAPES = {
    "x": (T, B, X), "w": (X, 4 * H), "u": (H, 4 * H), "b": (4 * H,), "h": (B, H), "c": (B, H)
}  # fmt: skip


def arrays(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES.values()]


def lstm(
    x: Node, w: Node, u: Node, b: Node, h: Node, c: Node, reverse: bool = False
) -> list[Node]:
    """The last h and c, h of all steps (of which a factor makes a result of its own), c of all."""

    def step(h: Node, c: Node, x: Node) -> tuple[Node, ...]:
        i, f, g, o = tg.split(x @ w + h @ u + b, 4, 1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(c)
        return h, c, 2 * h, c

    last, outs = tg.scan(step, (h, c), x, reverse=reverse)
    return [*last, *outs]


def graph(reverse: bool = False, gradients: bool = False) -> Graph:
    inputs = tuple(tg.input(name, *shape) for name, shape in SHAPES.items())
    outputs = lstm(*inputs, reverse=reverse)
    if gradients:
        h, c, hs, cs = outputs
        outputs = [tg.sum(hs * hs) + tg.sum(h * c) + tg.sum(cs * hs)]
        outputs += tg.grad(outputs[0], inputs)
    return Graph("lstm", inputs, tuple(outputs))


def test_interpreter_repeats_the_body():
    x, w, u, b, h, c = arrays()
    hs, cs = [], []

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    for t in range(T):
        i, f, g, o = np.split(x[t] @ w + h @ u + b, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(2 * h)
        cs.append(c)
    for got, want in zip(tg.run(graph(), *arrays()), (h, c, hs, cs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_reverse_is_forward_on_flipped_sequences():
    x, *rest = arrays()
    h, c, hs, cs = tg.run(graph(reverse=True), x, *rest)
    want = tg.run(graph(), x[::-1], *rest)
    for got, other in zip((h, c, hs[::-1], cs[::-1]), want, strict=True):
        np.testing.assert_array_equal(got, other)


def test_text_parses_back_to_the_same_graph():
    for each in (graph(), graph(reverse=True, gradients=True)):
        text = tg.dump(each)
        assert max(map(len, text.splitlines())) <= WIDTH
        assert tg.dump(tg.parse(text, env=each)) == text
        assert tg.parse(text, env=each).outputs == each.outputs


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("result", [0, 2, 3])
def test_gradient(reverse, result):
    check_grad(lambda *a: lstm(*a, reverse=reverse)[result], *arrays("float64"))


def test_second_gradient():
    def norms(*inputs: Node) -> Node:
        h, c, hs, cs = lstm(*inputs)
        gradients = tg.grad(tg.sum(hs * cs) + tg.sum(h * c), inputs[1:4])
        return sum(tg.sum(g * g) for g in gradients)

    check_grad(norms, *arrays("float64"))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_compiled_agrees_with_the_interpreter(reverse, gradients):
    g = graph(reverse, gradients)
    program = tg.compile(g.inputs, g.outputs)
    for _ in range(2):
        for got, want in zip(program(*arrays()), tg.run(g, *arrays()), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
