"""Sorting, and reads and writes along an axis, as NumPy has them, with any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph.graph.ir import Node
from tinygraph.ops import sorting_template
from tinygraph.ops.sorting_template import SHORT

SHAPES = [((1,), 0), ((5, 7), 1), ((5, 7), 0), ((3, 1, 4), 1), ((300,), 0), ((4, 33, 3), -2)]
DTYPES = ["float32", "int32", "uint8", "float64", "int64", "bool"]


def drawn(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers of which many are equal; of floats some are NaN, infinite or -0.0."""
    a = np.random.default_rng(len(shape)).integers(-5, 5, shape).astype(dtype)
    if dtype.startswith("float"):
        a.flat[::7], a.flat[1::5], a.flat[3::11] = np.nan, -0.0, np.inf
    return a


def check(y: Node, *arrays: np.ndarray, tolerance: float = 0) -> np.ndarray:
    """The interpreter's value; the compiled program's has the same bits with any threads."""
    graph = graph_of(y)
    (want,) = tg.run(graph, *arrays)
    program, found = tg.compile([*graph.inputs], [y]), []
    for threads in (1, 2):
        tg.settings.threads = threads
        found.append(program(*arrays)[0])
    assert found[0].tobytes() == found[1].tobytes()
    np.testing.assert_allclose(found[0], want, rtol=tolerance, atol=tolerance, strict=True)
    return want


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = tg.settings.threads
    yield
    tg.settings.threads = before


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sort(dtype: str, shape: tuple[int, ...], axis: int) -> None:
    a, x = drawn(shape, dtype), tg.input("x", *shape, dtype=dtype)
    np.testing.assert_array_equal(check(tg.sort(x, axis), a), np.sort(a, axis))
    up = np.argsort(a, axis, kind="stable")
    np.testing.assert_array_equal(check(tg.argsort(x, axis), a), up)
    down = check(tg.argsort(x, axis, descending=True), a)
    values = np.take_along_axis(a, down, axis)
    np.testing.assert_array_equal(values, np.flip(np.sort(a, axis), axis))
    ties = np.take_along_axis(a, np.roll(down, 1, axis), axis) == values
    later = down > np.roll(down, 1, axis)
    first = np.arange(shape[axis]).reshape([-1 if k == axis % len(shape) else 1
                                            for k in range(len(shape))]) == 0  # fmt: skip
    assert (later | ~ties | first).all()


@pytest.mark.parametrize("n", [2, SHORT - 1, SHORT, SHORT + 1, 3 * SHORT, 1000])
@pytest.mark.parametrize("bad", [0, sorting_template.BAD])
def test_rows_around_the_length_that_is_sorted_by_ranks(n, bad, monkeypatch) -> None:
    """In orders that are bad for pivots, too; without any steps, all longer ones go in a heap."""
    monkeypatch.setattr(sorting_template, "BAD", bad)
    up = np.arange(n, dtype=np.float32)
    rows = up, up[::-1], up * 0, np.tile(up[: n // 2], 2)[:n], drawn((n,), "float32"), np.sin(up)
    a = np.stack([np.resize(row, n) for row in rows])
    for descending in (False, True):
        check(tg.argsort(tg.input("x", *a.shape), 1, descending), a)


@pytest.mark.parametrize("k", [0, 1, 3, 30, 300])
@pytest.mark.parametrize("largest", [True, False])
def test_topk_is_the_beginning_of_a_sort(k: int, largest: bool) -> None:
    a, x = drawn((4, 300), "float32"), tg.input("x", 4, 300)
    values, places = tg.topk(x, k, largest=largest)
    whole = tg.run(tg.argsort(x, descending=largest), a)[:, :k]
    np.testing.assert_array_equal(check(places, a), whole)
    np.testing.assert_array_equal(check(values, a), np.take_along_axis(a, whole, 1))


def test_topk_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(tg.ShapeError, match=r"topk requires k in 0 to 3, .* got 4"):
        tg.topk(tg.input("x", 2, 3), 4)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis(axis: int) -> None:
    a, x = drawn((3, 4, 5), "float32"), tg.input("x", 3, 4, 5)
    places = np.random.default_rng(0).integers(0, 3, (3, 4, 5))
    want = np.take_along_axis(a, places, axis)
    np.testing.assert_array_equal(check(tg.take_along_axis(x, places, axis), a), want)
    node = tg.input("i", 3, 4, 5, dtype="int32")
    np.testing.assert_array_equal(
        check(tg.take_along_axis(x, node, axis), a, places.astype("i4")), want
    )
    column = places[:, :, :1] if axis != -1 else places[:, :1]
    np.testing.assert_array_equal(
        tg.run(tg.take_along_axis(x, column, axis), a),
        np.take_along_axis(a, np.broadcast_to(column, np.broadcast_shapes(
            column.shape, tuple(1 if k == axis % 3 else n for k, n in enumerate(a.shape)))), axis),
    )  # fmt: skip


FOLDS: dict[str, Callable] = {
    "set": lambda a, b: b,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": max,
    "min": min,
}


@pytest.mark.parametrize("reduce", FOLDS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_scatter_goes_in_the_order_of_its_indices(reduce: str, axis: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    a, u = (rng.integers(1, 9, s).astype(dtype) for s in ((5, 6), (4, 3)))
    places = rng.integers(0, 3, (4, 3)).astype("int32")
    want = a.copy()
    for i, j in np.ndindex(4, 3):  # row-major: along either axis, the order of the indices
        at = (places[i, j], j) if axis == 0 else (i, places[i, j])
        want[at] = FOLDS[reduce](want[at], u[i, j])
    x, index = tg.input("x", 5, 6, dtype=dtype), tg.input("i", 4, 3, dtype="int32")
    y = tg.scatter(x, index, tg.input("u", 4, 3, dtype=dtype), axis, reduce)
    np.testing.assert_array_equal(check(y, a, places, u), want)
    np.testing.assert_array_equal(run_python(graph_of(y), a, places, u)[0], want)


def test_where_updates_meet_the_last_one_gets_the_gradient() -> None:
    x, u = tg.input("x", 4), tg.input("u", 3)
    y = tg.scatter(x, [1, 2, 1], u)
    gx, gu = tg.grad(tg.sum(y * [1.0, 2.0, 3.0, 4.0]), [x, u])
    zeros = np.zeros(4, "f4"), np.zeros(3, "f4")
    np.testing.assert_array_equal(tg.run(tg.Graph("g", (x, u), (gx,)), *zeros)[0], [1, 0, 0, 4])
    np.testing.assert_array_equal(tg.run(tg.Graph("g", (x, u), (gu,)), *zeros)[0], [0, 3, 2])


@pytest.mark.parametrize("values", [[2, 3, 4], [2, 0, 4], [0, 3, 0], [0, 0, 0]])
def test_factors_that_are_zero_have_gradients(values: list[float]) -> None:
    """Products of others, by differences: products are linear in each factor."""
    a = np.array(values, "float64")
    x = tg.input("x", 3, dtype="float64")
    one = tg.constant(1.5, "float64")
    for y in (
        tg.sum(tg.cumprod(x)),
        tg.sum(tg.cumprod(x, reverse=True)),
        tg.sum(tg.scatter(tg.broadcast_to(one, (2,)), [0, 1, 0], x, reduce="mul")),
    ):
        tg.check_grad(((x,), y), a)
        tg.check_grad(((x,), tg.sum(tg.square(tg.grad(y, [x])[0]))), a + 0.5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_recurrences(shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype("float32") for _ in "ab")
    x, y = tg.input("a", *shape), tg.input("b", *shape)
    turn = (lambda v: np.flip(v, axis)) if reverse else (lambda v: v)
    product = check(tg.cumprod(x, axis, reverse), a, tolerance=1e-5)
    np.testing.assert_allclose(product, turn(np.cumprod(turn(a), axis)), rtol=1e-5)
    check(tg.linear_recurrence(x, y, axis, reverse), a, b, tolerance=1e-5)


def test_products_of_special_numbers() -> None:
    """Infinities at the start, and signs of zeros."""
    x = tg.input("x", 4)
    a = np.array([np.inf, 1, -0.0, 2], "float32")
    with np.errstate(invalid="ignore", divide="ignore"):
        want = np.cumprod(a), np.cumprod(a[::-1]), 1 / np.cumprod(a[1:])
    outputs = [tg.cumprod(x), tg.cumprod(x[::-1]), 1 / tg.cumprod(x[1:])]
    for got, value in zip(tg.compile([x], outputs)(a), want, strict=True):
        np.testing.assert_array_equal(got, value)


def test_arrays_without_elements() -> None:
    x = tg.input("x", 3, 0)
    for y in (tg.sort(x), tg.sort(x, 0), tg.cumprod(x, 1), tg.topk(x, 0)[0]):
        assert check(y, np.zeros((3, 0), "f4")).size == 0
    none, z = tg.input("i", 0, dtype="int32"), tg.input("z", 3)
    y = tg.scatter(z, none, tg.input("u", 0))
    np.testing.assert_array_equal(
        check(y, np.ones(3, "f4"), np.zeros(0, "i4"), np.zeros(0, "f4")), np.ones(3)
    )


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_products_of_integers(dtype: str) -> None:
    a = np.arange(1, 7, dtype=dtype).reshape(2, 3)
    x = tg.input("x", 2, 3, dtype=dtype)
    (got,) = tg.run(tg.Graph("g", (x,), (tg.cumprod(x, 1),)), a)
    np.testing.assert_array_equal(got, np.cumprod(a, 1))
