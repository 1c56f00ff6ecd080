"""Interpolation: compiled kernels, tables of ONNX's coordinates, errors. PyTorch's values are in
test_torch_functions.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph.ops.resample_tables import COORDINATES, ROUNDING, Grid, nearest, transposed, weighted
from tinygraph.plan.records.plan import Launch

SIZES = [((1, 1, 1, 1), (1, 1)), ((2, 3, 4, 5), (8, 10)), ((1, 2, 9, 7), (3, 20)),
         ((3, 1, 1, 6), (5, 2)), ((2, 2, 33, 17), (31, 19))]  # fmt: skip


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("shape, size", SIZES)
def test_compiled(shape: tuple[int, ...], size: tuple[int, int], mode: str) -> None:
    x, a = tg.input("x", *shape), np.random.default_rng(0).standard_normal(shape).astype("f4")
    for options in ({}, {"antialias": True}, {"coordinates": "align_corners"}):
        y = tg.resize(x, size, (2, 3), mode=mode, **options)
        (g,) = tg.grad(tg.sum(tg.square(y)), [x])
        graph = tg.Graph("g", (x,), (y, g))
        wants = tg.run(graph, a)
        for results in (tg.compile([x], [y, g])(a), run_python(graph, a)):
            for got, want in zip(results, wants, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_a_line_stays_a_line(coordinates: str) -> None:
    """Inside of the input, what is interpolated of i is where the result is."""
    grid = Grid(9, 14, 14 / 9, coordinates, (0.1, 0.8))
    places = grid.places()
    inside = (places >= 1) & (places <= 7)
    for mode in ("linear", "cubic"):
        table = weighted(grid, places, mode, -0.5, False, False)
        np.testing.assert_allclose(table.weight.sum(1), 1)
        got = (table.index * table.weight).sum(1)
        np.testing.assert_allclose(got[inside], places[inside], atol=1e-6)
    for rounding in ROUNDING:
        assert (np.abs(nearest(places, 9, rounding) - places)[inside] <= 1).all()


def test_roundings_of_halves() -> None:
    halves = np.array([0.5, 1.5, 2.25, 2.75])
    want = {"round_prefer_floor": [0, 1, 2, 3], "round_prefer_ceil": [1, 2, 2, 3],
            "floor": [0, 1, 2, 2], "ceil": [1, 2, 3, 3]}  # fmt: skip
    for rounding in ROUNDING:
        assert nearest(halves, 9, rounding).tolist() == want[rounding]


def test_the_transposed_table_is_the_transposed_matrix() -> None:
    for old, new in ((1, 1), (5, 9), (9, 4), (40, 3)):
        grid = Grid(old, new, new / old, "half_pixel")
        table = weighted(grid, grid.places(), "cubic", -0.75, False, False)

        def matrix(t, rows, columns):  # type: ignore[no-untyped-def]
            m = np.zeros((rows, columns))
            np.add.at(m, (np.arange(rows)[:, None], t.index), t.weight)
            return m

        back = transposed(table, old)
        np.testing.assert_allclose(matrix(back, old, new), matrix(table, new, old).T)


def test_crops_have_a_value_outside() -> None:
    x, a = tg.input("x", 1, 4), np.arange(4, dtype="f4").reshape(1, 4)
    y = tg.resize(x, 3, 1, coordinates="tf_crop_and_resize", region=[(-0.5, 1.5)], outside=-7.0)
    np.testing.assert_array_equal(tg.compile([x], [y])(a)[0], [[-7, 1.5, -7]])
    y = tg.resize(x, 2, 1, mode="nearest", coordinates="tf_crop_and_resize", region=[(0.4, 2)])
    np.testing.assert_array_equal(tg.run(y, a), [[1, 0]])


def test_integers_are_repeated() -> None:
    x, a = tg.input("x", 1, 1, 2, 2, dtype="int32"), np.arange(4, dtype="i4").reshape(1, 1, 2, 2)
    got = tg.run(tg.interpolate(x, scale_factor=2), a)
    np.testing.assert_array_equal(got, a.repeat(2, 2).repeat(2, 3))


IMAGE = tg.input("image", 1, 3, 8, 8)
ERRORS: list[tuple[Callable[[], tg.Node], str]] = [
    (lambda: tg.interpolate(IMAGE), "one of size and scale_factor"),
    (lambda: tg.interpolate(IMAGE, 3, 2.0), "one of size and scale_factor"),
    (lambda: tg.interpolate(IMAGE, 3, mode="linear"), "with 1 axes after the channels"),
    (lambda: tg.interpolate(IMAGE, 3, mode="area"), "mode of nearest, nearest-exact, linear"),
    (lambda: tg.interpolate(IMAGE, (3, 4, 5)), "a size for each of 2 axes"),
    (lambda: tg.resize(IMAGE, (3, 0), (2, 3)), "sizes from 1 up"),
    (lambda: tg.resize(IMAGE, 3, 2, coordinates="corners"), "coordinates of half_pixel"),
    (lambda: tg.resize(tg.cast(IMAGE, "int32"), 3, 2), "requires floats"),
]


@pytest.mark.parametrize("build, message", ERRORS)
def test_errors_say_what_is_required(build: Callable[[], tg.Node], message: str) -> None:
    with pytest.raises(tg.ShapeError) as error:
        build()
    assert message in str(error.value)


def test_examples_are_one_kernel() -> None:
    y = tg.interpolate(IMAGE, scale_factor=2, mode="bilinear")
    program = tg.compile([IMAGE], [y])
    assert len(graph_of(y).nodes) < 10 and program.cost()["launches"] == 1


@pytest.mark.parametrize("last", [False, True])
def test_images_stay_in_their_order(last: bool) -> None:
    """Whichever axis is contiguous is innermost, for few elements to weigh and for many; nothing is
    transposed on the way.
    """
    shape, back = ((2, 12, 9, 5), (0, 3, 1, 2)) if last else ((2, 5, 12, 9), (0, 1, 2, 3))
    array = np.random.default_rng(0).standard_normal(shape).astype("f4")
    x = tg.input("x", *shape)
    image = tg.transpose(x, back)
    for options in ({}, {"antialias": True}, {"mode": "cubic"}):
        y = tg.relu(tg.resize(image, (7, 19), (2, 3), **options))
        graph = tg.Graph("g", (x,), (tg.transpose(y, np.argsort(back).tolist()),))
        program = tg.compile([x], list(graph.outputs))
        assert not any(m.name == "transpose" for m in launches(program))
        for (got,) in (program(array), run_python(graph, array)):
            np.testing.assert_allclose(got, tg.run(graph, array)[0], rtol=1e-5, atol=1e-5)


def launches(program: tg.Program) -> list[Launch]:
    return [m for launch in program.inspection.plan.launches for m in launch.members]


def test_nearest_neighbours_along_several_axes_are_one_copy() -> None:
    x = tg.input("x", 2, 3, 4, 5)
    program = tg.compile([x], [tg.interpolate(x, scale_factor=2, mode="nearest")])
    array = np.arange(120, dtype="f4").reshape(2, 3, 4, 5)
    assert len(launches(program)) == 1
    assert np.array_equal(program(array)[0], array.repeat(2, 2).repeat(2, 3))
