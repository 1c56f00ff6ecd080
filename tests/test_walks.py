"""Element-wise nests whose operands are contiguous along different axes go in tiles."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from targets import schedule
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Node
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Shaping
from tinygraph.plan.records.work import Nest
from tinygraph_cpu.processor import CpuTarget

TILE = 64  # of CpuTarget
SMALL = CpuTarget(shaping=Shaping(unrolled=4, blocks=(4, 2, 1), tile=4))


def swap(x: Node) -> Node:
    return tg.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def windows_of_one(x: Node) -> Node:
    """A reduction that has no axis longer than 1, as where a pool finds the size that it makes."""
    images = tg.reshape(x, (1, *x.shape))
    return tg.adaptive_avg_pool2d(images, images.shape[2:])


# from one array of three axes to some results, each in another order than it is read
WALKS = {
    "transpose": lambda x: [swap(x)],
    "function": lambda x: [tg.maximum(swap(x), 1)],
    "channels last": lambda x: [tg.transpose(x, (1, 2, 0))],
    "channels first": lambda x: [tg.transpose(x, (2, 0, 1))],
    "reversed": lambda x: [tg.transpose(x, (2, 1, 0))],
    "flipped": lambda x: [tg.flip(swap(x), (1, 2))],
    "shifted": lambda x: [tg.pad(swap(x), ((0, 0), (1, 2), (2, 1)))],
    "part": lambda x: [swap(x)[:, 1:, ::2]],
    "two results": lambda x: [swap(x), x + x],
    "means of one": lambda x: [windows_of_one(swap(x))],
    "by another": lambda x: [swap(x) + tg.reshape(x, swap(x).shape)],
}
SIZES = [1, 3, 4, 5, 8, 9, 13]  # around the tile of SMALL, and around the axes that are unrolled


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return tg.astype(np.arange(prod(shape)).reshape(shape) % 97, dtype)


def check(walk: str, shape: tuple[int, ...], dtype: str = "float32") -> list[Nest]:
    """Compares compiled code with the reference; returns the program's nests."""
    x = tg.input("x", *shape, dtype=dtype)
    program = tg.compile([x], WALKS[walk](x))
    given = numbers(shape, dtype)
    for got, want in zip(program(given), tg.run(program.graph, given), strict=True):
        np.testing.assert_array_equal(got, want)
    return nests(program.inspection.plan)


def nests(plan: Plan) -> list[Nest]:
    return [m.work for x in plan.launches for m in x.members if isinstance(m.work, Nest)]


@pytest.mark.parametrize("walk", WALKS)
def test_small_tiles_in_python(walk) -> None:
    styles = set()
    for rows, columns in product(SIZES, SIZES):
        x = tg.input("x", 2, rows, columns)
        if walk == "part" and 1 in (rows, columns):
            continue
        graph = graph_of(*WALKS[walk](x))
        given = numbers(x.shape)
        for got, want in zip(
            run_python(graph, given, target=SMALL), tg.run(graph, given), strict=True
        ):
            np.testing.assert_array_equal(got, want)
        styles |= {nest.style for nest in nests(schedule(graph, target=SMALL))}
    assert styles & {"tiled", "unrolled"}


@pytest.mark.parametrize("walk", WALKS)
def test_at_the_edges_of_tiles(walk) -> None:
    for rows, columns in [(TILE, TILE), (TILE + 1, 2 * TILE - 1), (3, 2000), (2000, 8), (9, 700)]:
        check(walk, (3, rows, columns))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype) -> None:
    for shape in [(2, 65, 130), (1, 3, 1500), (2, 1500, 7)]:
        (nest,) = check("transpose", shape, dtype)
        assert nest.style == ("tiled" if min(shape[1:]) > 8 else "unrolled")


@pytest.mark.parametrize("shape", [(0, 65, 130), (2, 0, 130), (2, 65, 0), (1, 1, 5000), (1, 70, 1)])
def test_sizes_of_none_and_one(shape) -> None:
    for walk in ("transpose", "function", "channels last", "flipped"):
        check(walk, shape)


def test_parts_cover_every_tile() -> None:
    """With few outer steps, tiles are shared out."""
    (nest,) = check("transpose", (1, 1000, 700))
    assert nest.axes == (700, 1000)
    x = tg.input("x", 1000, 700)
    (launch,) = tg.compile([x], [swap(x)]).inspection.plan.launches
    assert launch.parts > 8


def test_what_agrees_stays_as_it_is() -> None:
    x, y = tg.input("x", 300, 200), tg.input("y", 200)
    for out in (x + x, x * y, tg.transpose(tg.reshape(x, (300, 4, 50)), (1, 0, 2))):
        assert [nest.style for nest in nests(schedule(graph_of(out)))] == ["row"]


@pytest.mark.parametrize("columns", [1, 2, 10, 63, 64, 65, 300, 1030])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_long_columns_are_added_up_in_wide_blocks(columns, dtype) -> None:
    x = tg.input("x", -(-(1 << 18) // columns) + 3, columns, dtype=dtype)
    given = numbers(x.shape, dtype)
    program = tg.compile([x], [tg.sum(x, 0), tg.max(x - 1, 0)])
    sums, most = program(given)
    np.testing.assert_array_equal(sums, given.astype("int64").sum(0))  # float32 holds all of them
    np.testing.assert_array_equal(most, given.max(0) - 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_sums_along_every_axis(axis, reverse) -> None:
    for shape in [(1, 1, 1), (2, 3, 5), (3, 130, 257), (40, 1, 1100), (700, 2, 129), (2, 900, 33)]:
        x, ints = tg.input("x", *shape), tg.input("ints", *shape, dtype="int64")
        program = tg.compile(
            [x, ints], [tg.cumsum(x, axis, reverse), tg.cumsum(ints, axis, reverse)]
        )
        given = np.random.default_rng(0).standard_normal(shape, "float32"), numbers(shape, "int64")
        for got, want in zip(program(*given), tg.run(program.graph, *given), strict=True):
            np.testing.assert_array_equal(got, want)  # one after the other, as NumPy adds them


def test_running_sums_of_values_in_another_order() -> None:
    x = tg.input("x", 70, 300)
    program = tg.compile([x], [tg.cumsum(tg.exp(swap(x)), 0), tg.cumsum(swap(x) * 2, 1)])
    given = np.random.default_rng(0).standard_normal(x.shape, "float32")
    for got, want in zip(program(given), tg.run(program.graph, given), strict=True):
        np.testing.assert_allclose(got, want, 1e-6)


def test_a_concatenation_of_inputs_is_one_copy() -> None:
    x, y, z = (tg.input(name, 3, 5 + (name == "z"), 40) for name in "xyz")
    joined = tg.concat([x, y, z, x, tg.exp(y)], 1)
    program = tg.compile([x, y, z], [joined])
    plan = program.inspection.plan
    assert plan.arena == 0 and len(plan.launches) <= 3  # x and y at once, z, the function
    given = [numbers(n.shape) / 97 for n in (x, y, z)]
    (got,) = program(*given)
    np.testing.assert_allclose(got, tg.run(program.graph, *given)[0], 1e-6)


def test_a_concatenation_that_is_read_again_is_kept() -> None:
    x, w = tg.input("x", 3, 40), tg.parameter(numbers((2, 40)), "w")
    joined = tg.concat([x, w], 0)
    for outputs in ([joined, tg.sum(joined, 0)], [joined, joined], [tg.concat([w, w], 0), x]):
        program = tg.compile([x], outputs)
        for got, want in zip(
            program(numbers(x.shape)), tg.run(program.graph, numbers(x.shape)), strict=True
        ):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("width", [1, 3, 16, 50, 64, 65, 130])
@pytest.mark.parametrize("count", [1, 5, 40, 300])
def test_bags_of_lookups_go_along_rows(width, count) -> None:
    table, places = tg.input("table", 500, width), tg.input("places", 7, count, dtype="int32")
    bags = tg.sum(tg.take(table, places, 0), 1)
    shifted = tg.mean(tg.exp(tg.take(table, places // 2 + 1, 0)), 1)
    program = tg.compile([table, places], [bags, shifted])
    rng = np.random.default_rng(width)
    given = (
        rng.standard_normal(table.shape, "float32"),
        rng.integers(-3, 500, places.shape, "int32"),
    )
    for got, want in zip(program(*given), tg.run(program.graph, *given), strict=True):
        np.testing.assert_allclose(got, want, 1e-5, 1e-5)
    styles = {nest.style for nest in nests(program.inspection.plan) if nest.reduce}
    assert width < 3 or count == 1 or styles == {"column"}
