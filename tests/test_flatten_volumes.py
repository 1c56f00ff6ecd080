"""Convolutions of volumes as convolutions of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph.graph.ir import Node
from tinygraph.ops.conv import CONV3D, CONV3D_INPUT_GRADIENT, CONV3D_INTEGER, CONV3D_WEIGHT_GRADIENT
from tinygraph.passes.flatten_volumes import FLAT, flatten_volumes

PAD = ((1, 1), (1, 1), (1, 1))
NONE = ((0, 0), (0, 0), (0, 0))
# kernel, image, stride, padding, dilation: of every kind along each axis
WINDOWS: dict[str, tuple[Any, ...]] = {
    "same": ((3, 3, 3), (4, 5, 6), (1, 1, 1), PAD, (1, 1, 1)),
    "deep kernel": (
        (5, 2, 3),
        (2, 4, 3),
        (1, 1, 1),
        ((2, 3), (0, 1), (1, 0)),
        (1, 1, 1),
    ),
    "strides": ((3, 2, 3), (7, 6, 5), (2, 1, 2), PAD, (1, 1, 1)),
    "stride beyond the kernel": ((1, 2, 2), (7, 5, 5), (3, 3, 3), NONE, (1, 1, 1)),
    "stride that leaves slices over": ((2, 1, 1), (8, 2, 2), (3, 1, 1), NONE, (1, 1, 1)),
    "dilation": ((3, 2, 2), (9, 5, 5), (1, 2, 1), ((2, 0), (0, 0), (1, 1)), (2, 1, 3)),
    "stride and dilation": ((3, 1, 1), (9, 2, 2), (2, 1, 1), ((3, 2), (0, 0), (0, 0)), (2, 1, 1)),
    "one tap": ((1, 1, 1), (3, 4, 5), (1, 1, 1), NONE, (1, 1, 1)),
    "along depth": ((3, 1, 1), (4, 3, 2), (1, 1, 1), ((1, 1), (0, 0), (0, 0)), (1, 1, 1)),
    "along rows": ((1, 1, 3), (4, 3, 5), (1, 1, 2), ((0, 0), (0, 0), (1, 1)), (1, 1, 1)),
    "slices": ((1, 3, 3), (4, 5, 5), (1, 1, 1), ((0, 0), (1, 1), (1, 1)), (1, 1, 1)),
    "one slice": ((1, 3, 3), (1, 5, 5), (1, 1, 1), ((0, 0), (1, 1), (1, 1)), (1, 1, 1)),
}


def convolution(window: tuple[Any, ...], batch: int, groups: int) -> tuple[Node, Node, Node, dict]:
    """The convolution, its inputs and attributes."""
    kernel, image, stride, padding, dilation = window
    x, w = tg.input("x", batch, groups, 3, *image), tg.input("w", groups, 2, 3, *kernel)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return CONV3D(x, w, **attrs), x, w, attrs


def input_gradient(window: tuple[Any, ...], batch: int, groups: int) -> Node:
    y, x, w, attrs = convolution(window, batch, groups)
    return CONV3D_INPUT_GRADIENT(tg.input("g", *y.shape), w, size=x.shape[3:], **attrs)


def weight_gradient(window: tuple[Any, ...], batch: int, groups: int) -> Node:
    y, x, w, attrs = convolution(window, batch, groups)
    return CONV3D_WEIGHT_GRADIENT(x, tg.input("g", *y.shape), kernel=w.shape[3:], **attrs)


def integers(window: tuple[Any, ...], batch: int, groups: int) -> Node:
    _, x, w, attrs = convolution(window, batch, groups)
    x, w = (tg.input(n.name, *n.shape, dtype=d) for n, d in ((x, "uint8"), (w, "int8")))
    return CONV3D_INTEGER(x, w, **attrs)


OPERATORS: dict[str, Callable[..., Node]] = {
    "forward": lambda *a: convolution(*a)[0],
    "input gradient": input_gradient,
    "weight gradient": weight_gradient,
    "integers": integers,
}


def values(n: Node, seed: int) -> np.ndarray:
    """Whole numbers, whose sums are exact in any order."""
    drawn = np.random.default_rng([seed, *n.shape]).integers(0, 8, n.shape)
    return (drawn - 4 * (n.dtype != "uint8")).astype(n.dtype)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("window", WINDOWS)
def test_values(window: str, operator: str) -> None:
    for batch, groups in ((1, 1), (2, 1), (2, 3)):
        graph = graph_of(OPERATORS[operator](WINDOWS[window], batch, groups))
        flat = flatten_volumes(graph)
        assert not FLAT.keys() & {n.op for n in flat.nodes}
        arrays = [values(n, i) for i, n in enumerate(graph.inputs)]
        (expected,), (actual,) = tg.run(graph, *arrays), tg.run(flat, *arrays)
        np.testing.assert_array_equal(actual, expected)


def test_axes_of_one_tap_cost_nothing() -> None:
    moves = {"concat", "pad", "slice", "transpose"}
    for window in ("one tap", "along depth", "along rows"):
        graph = flatten_volumes(graph_of(OPERATORS["forward"](WINDOWS[window], 2, 1)))
        assert not moves & {n.op.name for n in graph.nodes}, window


@pytest.mark.parametrize("window", ["same", "strides"])
def test_a_step_needs_no_plain_loops(window: str) -> None:
    y, x, w, _ = convolution(WINDOWS[window], 2, 1)
    program = tg.compile([x, w], [y, *tg.grad(tg.mean(y * y), [x, w])])
    assert not [r for r in program.remarks if "plain loops" in r]
