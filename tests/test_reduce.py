"""any, all, products, and reductions of bool; ``//``, ``%`` and ``+`` of nodes; signs of zero."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph.autodiff import check_grad
from tinygraph.graph.interpret import run

AXES: list[Any] = [None, 0, 1, (0, 1), -1]


def values(*outputs: tg.Node, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """By the interpreter, which the generated code agrees with."""
    graph = graph_of(*outputs)
    arrays = arrays[: len(graph.inputs)]  # a product of nothing reads nothing
    want = run(graph, *arrays)
    for got, value in zip(run_python(graph, *arrays), want, strict=True):
        np.testing.assert_array_equal(got, value)
    return want


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (0, 3), (1, 1), (2, 17)])
def test_reductions_of_bool(shape: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    x = tg.input("x", *shape, dtype="bool")
    for seed in range(3):
        a = np.random.default_rng(seed).random(shape) < (0.3, 0.7, 0.95)[seed]
        found = [tg.any(x, axis, keepdims), tg.all(x, axis, keepdims), tg.sum(x, axis, keepdims)]
        want = [f(a, axis=axis, keepdims=keepdims) for f in (np.any, np.all, np.sum)]
        if a.size:
            found += [tg.max(x, axis, keepdims), tg.min(x, axis, keepdims)]
            want += [f(a, axis=axis, keepdims=keepdims) for f in (np.max, np.min)]
        if a.size and not isinstance(axis, tuple):
            found.append(tg.argmax(x, axis, keepdims))
            want.append(np.argmax(a, axis=axis, keepdims=keepdims))
        for got, value in zip(values(*found, arrays=[a]), want, strict=True):
            assert got.shape == value.shape
            np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 3), (1, 1), (2, 5), (7, 2)])
def test_products(shape: tuple[int, ...], dtype: str, axis: Any) -> None:
    a = np.random.default_rng(0).integers(1, 3, shape).astype(dtype)
    x = tg.input("x", *shape, dtype=dtype)
    for keepdims in (False, True):
        (got,) = values(tg.prod(x, axis, keepdims), arrays=[a])
        want = np.prod(a, axis=axis, keepdims=keepdims)
        assert got.shape == want.shape
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradients_of_products_with_zeros(zeros: int) -> None:
    a = np.array([2.0, -3.0, 0.5, 4.0, 1.5])
    a[:zeros] = 0
    check_grad(lambda x: tg.prod(x), a)
    x = tg.input("x", 5, dtype="float64")
    (g,) = run(graph_of(*tg.grad(tg.prod(x), x)), a)
    np.testing.assert_allclose(g, [np.prod(np.delete(a, k)) for k in range(5)])


def test_operators_of_python() -> None:
    x, i = tg.input("x", 4), tg.input("i", 4, dtype="int32")
    assert +x is x and x // 2 is tg.floor_divide(x, 2) and 7 % i is tg.mod(7, i)
    a, k = np.array([-7.5, 7.5, 0.3, -0.0], "float32"), np.array([-7, 7, 3, 0], "int32")
    found = values(x // 2, x % 2, 7 // x, i // 2, i % -3, 7 % i, arrays=[a, k])
    with np.errstate(all="ignore"):
        want = [a // 2, a % 2, 7 // a, k // 2, k % -3, 7 % k]
    for got, value in zip(found, want, strict=True):
        np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_division_that_rounds_down_is_numpys(dtype: str) -> None:
    """Also its signs of zero, infinities and NaN."""
    special = [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 7.5, -7.5, np.inf, -np.inf, np.nan, 3.0, 1e30]
    a, b = np.array(list(product(special, special)), dtype).T.copy()
    x, y = tg.input("x", *a.shape, dtype=dtype), tg.input("y", *b.shape, dtype=dtype)
    quotient, rest = tg.compile([x, y], [x // y, x % y])(a, b)
    with np.errstate(all="ignore"):
        for got, want in ((quotient, a // b), (rest, a % b)):
            np.testing.assert_array_equal(got, want)
            number = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


def test_gradient_of_the_remainder() -> None:
    check_grad(lambda x, y: x % y, np.array([7.3, -2.6, 0.4]), np.array([2.0, 1.5, -0.7]))


def test_compiled_code_keeps_signs_of_zero() -> None:
    x, a = tg.input("x", 2), np.array([-0.0, 0.0], "float32")
    outputs = [1 / (x + 0), 1 / (0 - x), 1 / (x - 0), 1 / -x, 1 / (x * -1), 1 / tg.relu(x)]
    got = tg.compile([x], outputs)(a)
    for value, want in zip(got, run(graph_of(*outputs), a), strict=True):
        np.testing.assert_array_equal(value, want)


CANCELLING = {
    "x - x": lambda x: x - x,
    "x + y - x": lambda x: (x + 1e8) - 1e8,
    "y - (y - x)": lambda x: 1e8 - (1e8 - x),
    "2x - 2x": lambda x: x * 2 - 2 * x,
    "-x + x": lambda x: -x + x,
}


@pytest.mark.parametrize("shape", [(3,), (40,), (5, 40), (40, 5), (3, 300), (300, 17), (4, 3, 40)])
@pytest.mark.parametrize("name", CANCELLING)
def test_sums_add_what_terms_are(name: str, shape: tuple[int, ...]) -> None:
    """Additions may be regrouped, but a term is computed: NaN and what was rounded are in it."""
    x = tg.input("x", *shape)
    y = CANCELLING[name](x)
    outputs = [y, tg.sum(y), *(tg.sum(y, i) for i in range(len(shape)))]
    if len(shape) == 3:
        outputs += [tg.avg_pool2d(y[None], (3, 3)), tg.cumsum(y, 1)]
    a = np.linspace(1, 9, math.prod(shape), dtype="float32").reshape(shape)
    for special in (a[(0,) * len(shape)], np.nan, np.inf):
        a[(0,) * len(shape)] = special
        for got, want in zip(
            tg.compile([x], outputs)(a), run(graph_of(*outputs), a), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-5)
