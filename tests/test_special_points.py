"""Gradients where functions have corners, poles and zeros: right wherever the values are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph import optim
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Node
from tinygraph.graph.op import OPS, Kind, input

POINTS = [0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, 1e-3]
EXPONENTS = [*np.arange(-4, 5, 0.5).tolist(), 5, 0.1, -0.7]

ONE: dict[str, Callable[[Node], Node]] = {
    "elu": tg.elu,
    "gelu": tg.gelu,
    "gelu tanh": lambda x: tg.gelu(x, "tanh"),
    "silu": tg.silu,
    "leaky_relu": tg.leaky_relu,
    "clip": lambda x: tg.clip(x, -0.75, 1.5),
    "square root of a square": lambda x: tg.sqrt(x * x + 1),
    "half power of a square": lambda x: (x * x) ** 1.5,
    **{f"x ** {b}": lambda x, b=b: x**b for b in EXPONENTS},  # type: ignore[misc]
    **{f"{b} ** x": lambda x, b=b: b**x for b in (0.0, 0.5, 2.0)},  # type: ignore[misc]
}


def elementwise() -> dict[str, Callable[[Node], Node]]:
    """Operators of one float, and those of two with the other fixed at each of some numbers."""
    found = dict(ONE)
    for name, op in OPS.items():
        if op.kind is not Kind.ELEMENTWISE or op.example is None or not op.built_in:
            continue
        example = op.example()
        if any(i.dtype != "float32" for i in example.inputs) or example.dtype != "float32":
            continue
        attrs = dict(example.attrs)
        if len(example.inputs) == 1:
            found[name] = lambda x, op=op, a=attrs: op(x, **a)  # type: ignore[misc]
        for fixed in (0.0, 1.0, -2.0) if len(example.inputs) == 2 else ():
            found[f"{name}(x, {fixed})"] = lambda x, op=op, f=fixed: op(x, f)  # type: ignore[misc]
            found[f"{name}({fixed}, x)"] = lambda x, op=op, f=fixed: op(f, x)  # type: ignore[misc]
    return found


def slopes(f: Callable[[float], float], x: float) -> tuple[float, float]:
    """From the left and from the right, by Richardson's extrapolation of differences."""

    def side(h: float) -> float:
        return 2 * (f(x + h / 2) - f(x)) / (h / 2) - (f(x + h) - f(x)) / h

    return side(-1e-5), side(1e-5)


FUNCTIONS = elementwise()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_one_number(name: str) -> None:
    x = input("x", dtype="float64")
    y = FUNCTIONS[name](x)
    if x not in set(graph_of(y).inputs):  # x ** 0
        return
    (g,) = tg.grad(y, x)
    graph = graph_of(y, g)

    def value(at: float) -> float:
        return float(run(graph, at)[0])

    for point in POINTS:
        here, gradient = (float(v) for v in run(graph, point))
        if not math.isfinite(here):
            continue
        left, right = slopes(value, point)
        if max(abs(left), abs(right)) > 1e4:  # a jump or a pole
            continue
        if math.isfinite(left) and math.isfinite(right) and abs(left - right) < 1e-3:
            assert gradient == pytest.approx((left + right) / 2, rel=1e-3, abs=1e-3), point
        elif math.isfinite(left) or math.isfinite(right):  # a corner, or a domain's edge
            assert not math.isnan(gradient), point


@pytest.mark.parametrize("b", EXPONENTS)
def test_powers_at_zero_and_infinity(b: float) -> None:
    """As PyTorch: b * x ** (b - 1)."""
    x = tg.input("x", 3)
    a = np.array([0, 4, np.inf], "float32")
    with np.errstate(all="ignore"):
        want = b * np.power(a.astype("float64"), b - 1) if b else np.zeros(3)
    graph = tg.Graph("g", (x,), tuple(tg.grad(tg.sum(x**b), x)))
    for got in (run(graph, a)[0], tg.compile([x], graph.outputs)(a)[0]):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_powers_can_be_differentiated_twice() -> None:
    x = tg.input("x", 2)
    (g,) = tg.grad(tg.sum(x**2.5), x)
    (second,) = tg.grad(tg.sum(g), x)
    np.testing.assert_allclose(run(graph_of(second), np.array([0, 4], "float32"))[0], [0, 7.5])


REDUCTIONS: dict[str, Callable[[Node], Node]] = {
    "std": lambda x: tg.std(x, 1),
    "var": lambda x: tg.var(x, 1),
    "mean": lambda x: tg.mean(x, 1),
    "logsumexp": lambda x: tg.logsumexp(x, 1),
    "softmax": lambda x: tg.softmax(x) * tg.arange(3, dtype="float32"),
    "log_softmax": tg.log_softmax,
    "layer_norm": tg.layer_norm,
    "l2_pool2d": lambda x: tg.l2_pool2d(tg.reshape(x, (1, 1, 2, 3)), (2, 3)),
    "max": lambda x: tg.max(x, 1),
    **{f"norm {p}": lambda x, p=p: tg.norm(x, p, 1) for p in (None, 1, 3, 2.5, 0.5, math.inf)},
    **{
        f"lp_pool {p}": lambda x, p=p: tg.lp_pool(x[None, None], p, (2, 3)) for p in (0.5, 1, 2, 3)
    },
    "local_response_norm": lambda x: tg.local_response_norm(x[None], 3),
    "batch_norm": lambda x: tg.batch_norm_training(x, None, None)[0],
    "cross_entropy": lambda x: tg.cross_entropy(x, tg.constant(np.array([0, 2], "int32"))),
}


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_gradients_of_equal_values_are_finite(name: str, value: float) -> None:
    x = tg.input("x", 2, 3)
    y = REDUCTIONS[name](x)
    graph = graph_of(y, tg.grad(tg.sum(y), x)[0])
    value_of, gradient = run(graph, np.full((2, 3), value, "float32"))
    assert np.isfinite(value_of).all() and np.isfinite(gradient).all()


def test_std_of_equal_values_has_the_gradient_zero() -> None:
    x, a = tg.input("x", 2, 3), np.array([[1, 1, 1], [1, 2, 4]], "float32")
    (g,) = tg.compile([x], tg.grad(tg.sum(tg.std(x, 1)), x))(a)
    d = a[1] - a[1].mean()
    np.testing.assert_allclose(g, [[0, 0, 0], d / (3 * a[1].std())], rtol=1e-5)


def test_centred_rmsprop_survives_steady_gradients() -> None:
    p = tg.parameter(np.zeros(64), "p")
    slope = tg.constant(np.linspace(0.5, 1.5, 64).astype("float32"))
    loss = tg.sum(p * slope)
    rule = optim.RMSprop(lr=1e-3, alpha=0.9, centered=True)
    step = tg.compile([], [loss], updates=rule.updates(loss, [p]))
    for _ in range(300):
        step()
    assert np.isfinite(p.value).all()


def test_what_is_masked_out_altogether_has_no_gradient() -> None:
    x, a = tg.input("x", 2, 2), np.array([[-np.inf, -np.inf], [0, 0]], "float32")
    y = tg.logsumexp(x, 1)
    value, gradient = tg.compile([x], [y, *tg.grad(tg.sum(y), [x])])(a)
    np.testing.assert_allclose(value, [-np.inf, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0, 0], [0.5, 0.5]])


def test_norms_where_some_elements_are_zero() -> None:
    x, a = tg.input("x", 2), np.array([0, 4], "float32")
    for p, want in ((0.5, [0, 1]), (3, [0, 1]), (1.5, [0, 1])):
        (g,) = run(graph_of(*tg.grad(tg.norm(x, p), [x])), a)
        np.testing.assert_allclose(g, want, rtol=1e-6)
