"""Axes moved, elements repeated and rolled, triangles, ramps, sums of products, as in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
SQUARE = np.random.default_rng(1).standard_normal((5, 4)).astype("float32")

CALLS: dict[str, list[tuple[Any, ...]]] = {
    "swapaxes": [(0, 2), (-1, 1), (1, 1)],
    "moveaxis": [(0, -1), (-1, 0), ((0, 1), (-1, 0)), ([2, 0], [0, 1])],
    "tile": [(2,), ((2, 1),), ((3, 1, 2, 1),), ((0, 1),), ((),)],
    "repeat": [(2,), (2, 1), (0, 0), ([1, 2], 0), ([2, 0, 1], -2)],
    "roll": [(1,), (-5,), (2, 1), (7, -1), ((1, 2), (0, 2)), (0, 0), (1, (0, 1))],
    "tril": [(-1,), (0,), (2,)],
    "triu": [(-1,), (0,), (2,)],
    "diagonal": [(), (1,), (-1, 1, 2), (2, 2, 1), (9,), (-9,)],
}
SUMS = [
    "ijk", "ijk->kij", "ijk->j", "ijk->", "abc,abc", "abc,abd->acd", "ijk,ilk->ijl",
    "...k,...k->...", "i...,i...->...i", "ijk,ijl,imk->jm", "abc,dec->abde", "abc,ade->bd",
    "ijk,ijk->ijk",
]  # fmt: skip


def norms(library: Any, x: Any, *given: Any) -> Any:
    return getattr(library, "linalg", library).norm(x, *given)


CASES: dict[str, tuple[Callable[[Any, Any], Any], np.ndarray]] = {
    **{
        f"{name} {given}": (lambda t, x, f=name, g=given: getattr(t, f)(x, *g), X)
        for name, calls in CALLS.items()
        for given in calls
    },
    **{f"einsum {s}": (lambda t, x, s=s: t.einsum(s, *[x] * (s.count(",") + 1)), X) for s in SUMS},
    "einsum of a diagonal": (lambda t, x: t.einsum("ii->i", x), SQUARE[:4]),
    "einsum of a trace": (lambda t, x: t.einsum("ii", x), SQUARE[:4]),
    "einsum with itself": (lambda t, x: t.einsum("ii,ij->j", x, x), SQUARE[:4]),
    **{
        f"norm {p}": (lambda t, x, p=p: norms(t, x, p, 1), X)
        for p in (None, 1, 2, 0, np.inf, -np.inf, 3)
    },
    "norm of all": (norms, X),
    "outer": (lambda t, x: t.outer(x, x), SQUARE),
    "dot": (lambda t, x: t.dot(x, t.transpose(x)), SQUARE),
    "dot of a vector": (lambda t, x: t.dot(x, x[0]), SQUARE),
    "dot of many": (lambda t, x: t.dot(x, t.swapaxes(x, 1, 2)), X),
}


@pytest.mark.parametrize("name", CASES)
def test_as_numpy_has_it(name: str) -> None:
    build, a = CASES[name]
    x = tg.input("x", *a.shape)
    y = build(tg, x)
    want = np.asarray(build(np, a))
    (got,) = tg.compile([x], [y])(a)
    assert got.shape == want.shape and got.dtype == "float32"
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(tg.run(y, a), want, rtol=2e-5, atol=2e-6)
    if name != "norm 0" and y.type.size:
        tg.check_grad(lambda x: build(tg, x), a.astype("float64"))


RAMPS = [(5,), (0,), (1, 5), (0, 10, 3), (5, 0, -2), (0.0, 1.0, 0.25), (-1, 1, 0.5), (3, 1), (2.5,)]


@pytest.mark.parametrize("given", RAMPS, ids=str)
def test_arange(given: tuple[float, ...]) -> None:
    got, want = tg.run(tg.arange(*given)), np.arange(*given)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == ("int32" if want.dtype.kind == "i" else "float32")
    np.testing.assert_array_equal(tg.run(tg.arange(*given, dtype="float64")), want)


def test_arrays_from_nothing() -> None:
    for n in (0, 1, 2, 7):
        np.testing.assert_allclose(tg.run(tg.linspace(-1, 3, n)), np.linspace(-1, 3, n), atol=1e-6)
    for a in ((3, None, 0), (3, 5, 1), (4, 2, -1)):
        np.testing.assert_array_equal(tg.run(tg.eye(*a)), np.eye(*a))
    a, b, c = np.arange(3), np.arange(2) + 5, np.arange(4)
    for indexing in ("xy", "ij"):
        found = tg.meshgrid(*map(tg.constant, (a, b, c)), indexing=indexing)
        for got, want in zip(found, np.meshgrid(a, b, c, indexing=indexing), strict=True):
            np.testing.assert_array_equal(tg.run(got), want)


ERRORS: list[tuple[Callable[[tg.Node], Any], str]] = [
    (lambda x: tg.arange(0, 3, 0), "a step that is not 0"),
    (lambda x: tg.einsum("ij,jk", x, x), "requires letters for the axes of f32[2,3,4], f32[2,3,4]"),
    (lambda x: tg.einsum("ijk,kji->i", x, x), "one size for 'k' of 'ijk,kji->i', got 4 and 2"),
    (lambda x: tg.einsum("ijk->im", x), "requires letters"),
    (lambda x: tg.roll(x, (1, 2), 0), "a shift for each axis"),
    (lambda x: tg.repeat(x, [1, 2], 1), "a number for each of 3 places, got 2"),
    (lambda x: tg.tile(x, -1), "reps from 0 up"),
    (lambda x: tg.moveaxis(x, (0, 1), 0), "as many different destinations"),
    (lambda x: tg.tril(tg.ones((3,))), "tril requires a matrix"),
    (lambda x: tg.roll(tg.input("o", None, 3), 1, 0), "roll requires an axis whose size is known"),
]


@pytest.mark.parametrize("build, message", ERRORS)
def test_errors_say_what_is_required(build: Callable, message: str) -> None:
    with pytest.raises(tg.ShapeError) as error:
        build(tg.input("x", 2, 3, 4))
    assert message in str(error.value)


def test_products_over_an_open_axis() -> None:
    x = tg.input("x", None, 3)
    program = tg.compile([x], [tg.prod(x, 0), *tg.grad(tg.sum(tg.prod(x)), [x])])
    for n in (1, 4, 7):
        a = np.random.default_rng(n).standard_normal((n, 3)).astype("float32")
        a[n // 2, 1] = 0
        product, gradient = program(a)
        np.testing.assert_allclose(product, a.prod(0), rtol=1e-5)
        others = np.where(a == 0, np.prod(np.where(a == 0, 1, a)), 0)
        np.testing.assert_allclose(gradient, others, rtol=1e-4, atol=1e-6)
