"""Loops: the interpreter defines them, gradients and compiled code agree with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph.autodiff import check_grad
from tinygraph.compiler.check_values import check_passes
from tinygraph.graph.dump import WIDTH
from tinygraph.graph.ir import Graph, Node
from tinygraph.passes import PIPELINE

T, B, X, H = 5, 3, 4, 6
SHAPES = {
    "x": (T, B, X), "w": (X, 4 * H), "u": (H, 4 * H), "b": (4 * H,), "h": (B, H), "c": (B, H)
}  # fmt: skip


def arrays(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES.values()]


def lstm(x: Node, w: Node, u: Node, b: Node, h: Node, c: Node, reverse: bool = False) -> list[Node]:
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


def test_generated_module_runs_as_plain_python_with_a_loop():
    g = graph()
    text = tg.compile(g.inputs, g.outputs).dump("source")
    assert f"    for t in range({T}):\n        launch(" in text


def test_loops_within_loops():
    x, w = tg.input("x", 3, 4, 2), tg.input("w", 2, 2)

    def outer(total: Node, rows: Node) -> tuple[Node, ...]:
        (left,), (each,) = tg.scan(lambda h, row: (tg.tanh(h @ w + row),) * 2, total, rows)
        return left + total, tg.sum(each)

    (last,), (sums,) = tg.scan(outer, tg.zeros((2,)), x)
    loss = tg.sum(last) + tg.sum(sums * sums)
    g = Graph("nested", (x, w), (loss, *tg.grad(loss, [x, w])))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n.shape).astype("f4") for n in (x, w)]
    for got, want in zip(tg.compile(g.inputs, g.outputs)(*arrays), tg.run(g, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@st.composite
def loops(draw: st.DrawFn) -> Graph:
    """A loop over a few random element-wise operators and products, with its gradients."""
    x, w = tg.input("x", 3, 2, 4), tg.input("w", 4, 4)
    carries = draw(st.integers(1, 3))
    choices = [draw(st.lists(st.integers(0, 99), min_size=6, max_size=6)) for _ in range(5)]

    def step(*values: Node) -> list[Node]:
        pool = list(values)
        for kind, a, b, *_ in choices:
            p, q = pool[a % len(pool)], pool[b % len(pool)]
            made = p + q, p * q, tg.tanh(p), tg.sigmoid(p) - q, p @ w, tg.maximum(p, 0.5 * q)
            pool.append(made[kind % 6])
        picked = [pool[-1 - c[3] % 4] for c in choices[:carries]]
        return [*(tg.tanh(p) for p in picked), pool[-1], pool[-2]]

    first = [tg.input(f"h{k}", 2, 4) for k in range(carries)]
    last, outs = tg.scan(step, first, x, reverse=draw(st.booleans()))
    loss = sum(tg.sum(v * v) for v in (*last, *outs))
    inputs = (x, w, *first)
    return Graph("loop", inputs, (loss, *tg.grad(loss, inputs)))


@given(graph=loops())
def test_passes_keep_the_values_of_random_loops(graph):
    check_passes(graph, PIPELINE)


def test_results_are_the_same_bits_at_any_thread_count(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = tg.input("x", 6, 64, 96), tg.input("w", 96, 96)
    (last,), _ = tg.scan(lambda h, row: (tg.tanh(h @ w + row),), tg.zeros((64, 96)), x)
    gradient = tg.grad(tg.sum(last), w)
    arrays = [rng.standard_normal(n.shape).astype("f4") for n in (x, w)]
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(tg.settings, "threads", threads)
        found.append(tg.compile([x, w], [last, *gradient])(*arrays))
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()


def test_check_nan_names_the_step():
    x = tg.input("x", 4, 2)
    (last,), _ = tg.scan(lambda h, row: (h + tg.log(row),), tg.zeros((2,)), x)
    program = tg.compile([x], [last], check_nan=True)
    bad = np.ones((4, 2), "f4")
    bad[2, 1] = -1
    with pytest.raises(FloatingPointError, match=r"NaN in log .*in step 2"):
        program(bad)


def test_errors_name_what_is_wrong():
    x, h = tg.input("x", 4, 2), tg.input("h", 2)
    for step, message in (
        (lambda h, row: (tg.sum(h),), "returns carries of the types that it takes"),
        (lambda h, row: (), "returns 1 carries, got 0"),
    ):
        with pytest.raises(tg.ShapeError, match=message):
            tg.scan(step, h, x)
    with pytest.raises(tg.ShapeError, match="sequences of length 4"):
        tg.scan(lambda h, a, b: (h,), h, (x, tg.input("y", 3, 2)))
    with pytest.raises(tg.ShapeError, match="a length that is a number, got n"):
        tg.scan(lambda h, a: (h,), h, tg.input("texts", None, 2))
    with pytest.raises(tg.ShapeError, match="sequences, or a length"):
        tg.scan(lambda h: (h,), h)


def test_rows_of_a_hoisted_product_lie_apart():
    """A product before the loop, whose rows of half a page each step of the loop reads."""
    x, w = tg.input("x", 3, 6, 8), tg.input("w", 8, 512)
    _, (ys,) = tg.scan(lambda h, x: (tg.tanh(h + x @ w),) * 2, tg.zeros((6, 512)), x)
    g = Graph("hoisted", (x, w), (ys,))
    program = tg.compile(g.inputs, g.outputs)
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(n.shape, np.float32) for n in g.inputs]
    np.testing.assert_allclose(program(*values)[0], tg.run(g, *values)[0], rtol=1e-5, atol=1e-5)
    assert "[.,.,.,528,1] <- x[" in program.dump("plan")


@pytest.mark.parametrize("where", ["nowhere", "inside", "outside"])
def test_rows_that_would_crowd_the_cache_lie_apart(where):
    """Half a page each, they get a line between them, unless a reshape shares their memory."""
    length, rows, wide = 3, 6, 512
    x = tg.input("x", length, rows, wide)

    def step(x: Node) -> tuple[Node, ...]:
        y = tg.tanh(x) * 2
        return (y, tg.reshape(y, (4, 768)) + 1) if where == "inside" else (y, tg.sum(y, 1))

    _, (ys, others) = tg.scan(step, (), x)
    read = tg.reshape(ys, (4, 2304)) + 1 if where == "outside" else ys * 2
    g = Graph("wide", (x,), (read, others, tg.sum(ys, (0, 1))))
    program = tg.compile(g.inputs, g.outputs)
    values = np.random.default_rng(0).standard_normal(x.shape, np.float32)
    for got, want in zip(program(values), tg.run(g, values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert ("528,1]" in program.dump("plan")) == (where != "outside")
