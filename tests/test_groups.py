"""Convolutions in groups of few channels: columns of several groups are across the lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from contractions import LEVELS, close, lanes_of, sums_of_groups
from exact_plans import agree, network
from random_networks import integers
from targets import WIDE
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.work import Tile


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tile", [(1, 1), (5, 2), (9, 1), (2, 3)])
@pytest.mark.parametrize("group", [2, 4])
def test_sizes_around_the_edges_of_a_tile(level: str, tile: tuple[int, int], group: int) -> None:
    rows, vectors = tile
    width = vectors * lanes_of(level)
    for m in {1, rows, 2 * rows + 1}:
        for n in {group, width - group, width, 2 * width + group} - {0}:
            arena, expected = sums_of_groups(level, tile, m, n, 9, group, parts=(2, 1))
            close(arena["c"], expected, 9 * group)


def grouped(
    groups: int,
    each: int,
    kernel: int,
    stride: int,
    dilation: int,
    bias: bool,
    size: int,
    last: bool,
):
    """A convolution of images, stored channels last or first, and its gradients."""
    channels = groups * each
    shape = (2, size, size + 1, channels) if last else (2, channels, size, size + 1)
    x = tg.input("x", *shape)
    w = tg.parameter(integers((channels, each, kernel, kernel), "float32", 3), "w")
    image = tg.transpose(x, (0, 3, 1, 2)) if last else x
    pad = dilation * (kernel // 2)
    y = tg.conv2d(image, w, stride=stride, padding=pad, dilation=dilation, groups=groups)
    if bias:
        y = tg.relu(y + tg.parameter(integers((channels, 1, 1), "float32", 4), "b"))
    y = tg.transpose(y, (0, 2, 3, 1)) if last else y
    loss = tg.sum(y * tg.input("g", *y.shape))
    return y, *tg.grad(loss, [x, w]), w


def sizes_of_groups(plan: Plan) -> list[int]:
    members = (m.work for launch in plan.launches for m in launch.members)
    return [w.contraction.group for w in members if isinstance(w, Tile)]


@given(
    groups=st.sampled_from([2, 3, 4, 5, 9]),
    each=st.sampled_from([2, 4, 8]),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    bias=st.booleans(),
    size=st.sampled_from([4, 5]),
    last=st.booleans(),
)
def test_convolutions_in_groups_and_their_gradients(**options) -> None:
    y, to_image, to_weights, w = grouped(**options)
    agree(network(y), target=WIDE)
    agree(network(y, to_image, updates={w: w - to_weights}), target=WIDE)


@pytest.mark.parametrize(("each", "found"), [(2, 2), (4, 4), (8, 8), (3, 1)])
def test_groups_that_fill_a_vector_together(each: int, found: int) -> None:
    """Forward, with weights that are packed once, and the gradient to the image."""
    y, to_image, _, _ = grouped(6, each, 3, 1, 1, True, 5, True)
    assert sizes_of_groups(agree(network(y), target=WIDE)) == [found]
    assert sizes_of_groups(agree(network(to_image), target=WIDE))[-1] == found


@pytest.mark.parametrize(("groups", "each"), [(4, 4), (5, 4), (9, 4), (13, 2), (32, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_compiled(groups: int, each: int, stride: int) -> None:
    y, to_image, to_weights, _ = grouped(groups, each, 3, stride, 1, True, 9, True)
    inputs = [n for n in tg.Graph("", (), (y, to_image, to_weights)).nodes if n.op.name == "input"]
    arrays = [
        np.random.default_rng(i).normal(size=n.shape).astype("f4") for i, n in enumerate(inputs)
    ]
    got = tg.compile(inputs, [y, to_image, to_weights])(*arrays)
    graph = tg.Graph("g", tuple(inputs), (y, to_image, to_weights))
    for a, b in zip(got, tg.run(graph, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-4)
