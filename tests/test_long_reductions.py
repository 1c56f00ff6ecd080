"""Long reductions keep their digits: sums are put aside in blocks, on every vector width."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from contractions import LEVELS, matmul
from tinygraph.plan.records.contraction import BLOCK, LONG, blocked


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "loop, loops, k",
    [("r", (50, 4), 1000), ("s", (2, 50), 2000), ("k", (1, 1), 200_003), ("k", (2, 1), BLOCK)],
)
def test_blocks_of_a_reduction(level: str, loop: str, loops: tuple[int, int], k: int) -> None:
    """Sums of positive numbers: one running sum over 200,000 is off by 3e-5."""
    depth = loops[0] * loops[1] * k
    arena, expected = matmul(level, (3, 1), 4, 5, depth, loops=loops, blocked=loop, positive=True)
    assert np.abs(arena["c"] / expected - 1).max() < 4e-6


@pytest.mark.parametrize("level", LEVELS)
def test_chunks_of_a_reduction(level: str) -> None:
    """A chunk's sums are added to those before it."""
    arena, expected = matmul(level, (3, 1), 4, 5, 200_000, chunk=800, positive=True)
    assert np.abs(arena["c"] / expected - 1).max() < 4e-6


@pytest.mark.parametrize(
    "sizes, loop",
    [
        ((1, 1, LONG), ""),
        ((1, 1, LONG + 1), "k"),
        ((2, LONG, 1), "r"),
        ((2, 2, LONG), "s"),
        ((LONG, 3, 3), "r"),
    ],
)
def test_where_sums_are_put_aside(sizes: tuple[int, int, int], loop: str) -> None:
    assert blocked(*sizes) == loop


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape, "float32")


@pytest.mark.parametrize("depth", [100_003, 2**17])
def test_a_product_has_the_error_of_numpy(depth: int) -> None:
    a, b = positive(2, depth), positive(depth, 3)
    x, y = tg.input("x", 2, depth), tg.input("y", depth, 3)
    want = a.astype("float64") @ b
    error, numpy = (
        np.abs(got / want - 1).max() for got in (tg.compile([x, y], [x @ y])(a, b)[0], a @ b)
    )
    assert error < max(4 * numpy, 4e-6)


def test_the_gradient_to_weights_over_many_pixels_has_the_error_of_a_dot() -> None:
    image, gradient = positive(2, 4, 256, 256), positive(2, 4, 256, 256)
    x, g = tg.input("x", *image.shape), tg.input("g", *gradient.shape)
    w = tg.parameter(np.zeros((4, 4, 3, 3), "float32"), "w")
    (found,) = tg.grad(tg.sum(tg.conv2d(x, w, padding=1) * g), [w])
    (got,) = tg.compile([x, g], [found])(image, gradient)
    want = np.einsum("nchw,nohw->oc", image.astype("float64"), gradient)
    assert np.abs(got[:, :, 1, 1] / want - 1).max() < 4e-6
