"""Products without columns, such as depthwise convolutions: the batch is across the lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractions import LEVELS, close, lanes_of, sums_of_batch, windows_of_picture
from exact_plans import agree, network
from random_networks import integers
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.graph.op import input
from tinygraph.graph.parameter import parameter
from tinygraph.plan.records.work import Tile


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("tile", [(1, 1), (5, 2), (12, 1)])
def test_sizes_around_the_edges_of_a_tile(level: str, tile: tuple[int, int], pack: bool) -> None:
    rows, vectors = tile
    width = vectors * lanes_of(level)
    for m in {1, rows, 2 * rows + 1}:
        for n in {1, width - 1, width, 2 * width + 3}:
            arena, expected = sums_of_batch(level, tile, m, n, 9, pack=pack, parts=(2, 1))
            close(arena["c"], expected, 9)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((1, 1), (1, 1), 1), ((3, 3), (2, 1), 2), ((2, 5), (1, 2), 3)],
)
def test_pictures_are_read_within_their_edges(level, kernel, stride, dilation) -> None:
    """Pictures narrower and wider than a tile, padding of nothing, of less and of more than taps
    reach: then rows and whole tiles have no tap inside.
    """
    n = lanes_of(level) + 3
    for tile, image in (((4, 2), (3, 9)), ((5, 1), (6, 4)), ((2, 1), (1, 1))):
        for padding in ((0, 0), (1, 2), (7, 11)):
            arena, expected = windows_of_picture(
                level, tile, n, image=image, kernel=kernel, stride=stride, dilation=dilation,
                padding=padding, parts=(2, 1),
            )  # fmt: skip
            close(arena["c"], expected, 9)


def depthwise(channels: int, kernel: int, stride: int, dilation: int, bias: bool, size: int):
    """A depthwise convolution of images stored channels-last, and its gradients."""
    x = input("x", 2, size, size + 1, channels)
    w = parameter(integers((channels, 1, kernel, kernel), "float32", 3), "w")
    image = ops.transpose(x, (0, 3, 1, 2))
    pad = dilation * (kernel // 2)
    y = ops.conv2d(image, w, stride=stride, padding=pad, dilation=dilation, groups=channels)
    if bias:
        y = ops.relu(y + parameter(integers((channels, 1, 1), "float32", 4), "b"))
    y = ops.transpose(y, (0, 2, 3, 1))
    loss = ops.sum(y * input("g", *y.shape))
    return y, *grad(loss, [x, w]), w


@given(
    channels=st.sampled_from([2, 3, 4, 5, 8, 9]),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    bias=st.booleans(),
    size=st.sampled_from([4, 5]),
)
def test_depthwise_convolutions_and_their_gradients(**options) -> None:
    y, to_image, to_weights, w = depthwise(**options)
    agree(network(y, to_image, updates={w: w - to_weights}))


def test_the_batch_fills_the_lanes() -> None:
    """Forward and both gradients: no tile has one column of many lanes, none is plain loops."""
    y, to_image, to_weights, w = depthwise(8, 3, 1, 1, True, 5)
    plan = agree(network(y, to_image, updates={w: w - to_weights}))
    tiles = [m.work for launch in plan.launches for m in launch.members if isinstance(m.work, Tile)]
    assert len(tiles) == 3 and {t.contraction.lanes_along for t in tiles} == {"batch"}
    assert all(t.sizes["n"] == 8 for t in tiles)


@pytest.mark.parametrize(("channels", "kernel", "size"), [(16, 3, 7), (33, 3, 7), (33, 5, 9)])
def test_compiled(channels: int, kernel: int, size: int) -> None:
    import tinygraph as tg

    y, to_image, to_weights, _ = depthwise(channels, kernel, 1, 1, True, size)
    inputs = [n for n in tg.Graph("", (), (y, to_image, to_weights)).nodes if n.op.name == "input"]
    arrays = [
        np.random.default_rng(i).normal(size=n.shape).astype("f4") for i, n in enumerate(inputs)
    ]
    got = tg.compile(inputs, [y, to_image, to_weights])(*arrays)
    graph = tg.Graph("g", tuple(inputs), (y, to_image, to_weights))
    for a, b in zip(got, tg.run(graph, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-4)
