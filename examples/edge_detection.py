"""Edges by a filter of two taps: what sparse interaction and parameter sharing save.

Each pixel minus its left neighbour, on a picture 320 wide and 280 high (Goodfellow et al., Deep
Learning, 2016, figure 9.6). The same map as a dense matrix takes 4 billion times the entries and
60,000 times the operations.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.data import digits
from tinygraph.pictures import gallery, page, save, stretched

HEIGHT, WIDTH = 280, 320
TAPS = np.array([-1, 1], np.float32).reshape(1, 1, 1, 2)


def detector(height: int, width: int) -> tuple[tg.Program, tg.Parameter]:
    """Pictures [height, width] -> edges [height, width - 1], and the filter."""
    x = tg.input("picture", 1, 1, height, width)
    taps = tg.parameter(TAPS, "taps")
    return tg.compile([x], [tg.conv2d(x, taps)], name="edges"), taps


def dense(height: int, width: int) -> tg.Program:
    """The same as (picture [1, pixels], matrix [pixels, edges]) -> edges; nothing is allocated."""
    pixels, edges = height * width, height * (width - 1)
    x, matrix = tg.input("picture", 1, pixels), tg.input("matrix", pixels, edges)
    return tg.compile([x, matrix], [x @ matrix], name="dense")


def matrix_of(height: int, width: int) -> np.ndarray:
    """The filter as float32 [pixels, edges]: two entries in every column, zeros elsewhere."""
    matrix = np.zeros((height, width, height, width - 1), np.float32)
    y, x = np.mgrid[:height, : width - 1]
    matrix[y, x, y, x], matrix[y, x + 1, y, x] = TAPS.ravel()
    return matrix.reshape(height * width, -1)


def seconds(program: tg.Program, *arrays: np.ndarray) -> float:
    """The best of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        program(*arrays)
        times.append(time.perf_counter() - start)
    return min(times)


def operations() -> dict[str, float]:
    """Both forms by the cost model; the dense one is compiled, not run."""
    filtered = detector(HEIGHT, WIDTH)[0].cost()["flops"]
    whole = dense(HEIGHT, WIDTH)
    entries = whole.graph.inputs[1].type.size
    return {
        "operations of the filter": filtered,
        "operations of the matrix": whole.cost()["flops"],
        "times more operations": whole.cost()["flops"] / filtered,
        "entries of the matrix": entries,
        "times more entries": entries / TAPS.size,
    }


def parameters() -> dict[str, float]:
    """Layers from a million pixels to a million units: how many weights. None is ever drawn."""
    million = 10**6
    full = nn.Linear(million, million, bias=False)
    local = tg.parameter((million, 10 * 10), "local", initial=lambda: 0.0)  # a field for each unit
    shared = nn.Conv2d(1, 10**4, 10, bias=False)  # ten thousand maps of one 10x10 filter each
    return {
        "weights, fully connected": full.weight.type.size,
        "weights, connected to 10x10 pixels": local.type.size,
        "weights, 10x10 shared in each of 10,000 maps": shared.weight.type.size,
    }


def ideas(picture: np.ndarray) -> dict[str, float]:
    """Sparse interaction, parameter sharing and equivariance, each as a number."""
    x = tg.input("picture", 1, 1, HEIGHT, WIDTH)
    taps = tg.parameter(TAPS, "taps")
    edges = tg.conv2d(x, taps)
    seen, uses = tg.compile([x], [
        tg.grad(edges[0, 0, 140, 160], [x])[0],  # how one edge depends on each pixel
        tg.grad(tg.sum(edges), [taps])[0],  # each weight's gradient sums over all its uses
    ])(np.ones_like(picture))  # fmt: skip
    program, _ = detector(HEIGHT, WIDTH)
    moved_first = program(np.roll(picture, (3, 5), (2, 3)))[0][..., 3:, 5:]
    moved_last = program(picture)[0][..., :-3, :-5]
    return {
        "pixels that one edge depends on": int(np.count_nonzero(seen)),
        "uses of each weight": float(uses.min()),
        "move then filter, less filter then move": float(np.abs(moved_first - moved_last).max()),
    }


def timed(height: int = 28, width: int = 32) -> dict[str, float]:
    """Both forms on a size that fits in memory."""
    picture = np.random.default_rng(0).normal(size=(1, 1, height, width)).astype(np.float32)
    filtered, whole = detector(height, width)[0], dense(height, width)
    flat = picture.reshape(1, -1), matrix_of(height, width)
    return {
        "difference of the two": float(
            np.abs(filtered(picture)[0].ravel() - whole(*flat)[0]).max()
        ),
        "microseconds of the filter": 1e6 * seconds(filtered, picture),
        "microseconds of the matrix": 1e6 * seconds(whole, *flat),
    }


def main(folder: Path = Path("pictures")) -> dict[str, float]:
    picture = page(digits()[0].images[:120, 0], columns=12)[None, None, :HEIGHT, :WIDTH]
    found = operations() | parameters() | ideas(picture) | timed()
    for name, number in found.items():
        print(f"{name:45} {number:>21,.6g}" if number % 1 else f"{name:45} {number:>21,.0f}")
    (edges,) = detector(HEIGHT, WIDTH)[0](picture)
    panels = [
        ("320 x 280 pixels", picture[0, 0]),
        ("each pixel minus its left neighbour", stretched(edges[0, 0], around=0)),
    ]
    print(save(folder / "edge_detection.svg", gallery(panels, columns=2)))
    return found


if __name__ == "__main__":
    main()
