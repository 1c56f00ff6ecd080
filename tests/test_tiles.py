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
from tinygraph.plan.records.plan import Nest, Plan
from tinygraph.plan.records.target import Shaping
from tinygraph_cpu.processor import CpuTarget

TILE = 64  # of CpuTarget
SMALL = CpuTarget(shaping=Shaping(unrolled=4, blocks=(4, 2, 1), tile=4))


def swap(x: Node) -> Node:
    return tg.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


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
    "by another": lambda x: [swap(x) + tg.reshape(x, swap(x).shape)],
}
SIZES = [1, 3, 4, 5, 8, 9, 13]  # around the tile of SMALL, and around the axes that are unrolled


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return (np.arange(prod(shape)).reshape(shape) % 97).astype(dtype)


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
