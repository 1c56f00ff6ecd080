"""Dilated convolutions as plain ones of every d-th pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from targets import NO_WINOGRAD, WIDE
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.passes.split_dilation import SPLIT, split_dilation

CHANNELS = 32
# size, taps, dilation, padding
LAYERS: dict[str, tuple[Any, ...]] = {
    "same": ((16, 12), 3, 2, ((2, 2), (2, 2))),
    "no padding": ((16, 17), 3, 3, ((0, 0), (0, 0))),
    "no multiple": ((19, 14), 3, 2, ((1, 3), (0, 2))),
    "more padding than it takes": ((13, 14), 3, 2, ((5, 3), (4, 4))),
    "five taps": ((16, 16), 5, 2, ((4, 4), (4, 4))),
}


def layer(name: str, batch: int = 2, **options: Any) -> tuple[Node, Node, Node, dict[str, Any]]:
    size, taps, d, padding = LAYERS[name]
    channels = options.pop("channels", CHANNELS)
    x, w = (
        tg.input("x", batch, 1, channels, *size),
        tg.input("w", 1, CHANNELS, channels, taps, taps),
    )
    attrs = {"stride": (1, 1), "padding": padding, "dilation": (d, d)} | options
    return CONV2D(x, w, **attrs), x, w, attrs


def graphs(name: str, **options: Any) -> list[Graph]:
    y, x, w, attrs = layer(name, **options)
    g = tg.input("g", *y.shape)
    return [
        graph_of(y),
        graph_of(CONV2D_INPUT_GRADIENT(g, w, size=x.shape[3:], **attrs)),
        graph_of(CONV2D_WEIGHT_GRADIENT(x, g, kernel=w.shape[3:], **attrs)),
    ]


def values(n: Node, seed: int) -> np.ndarray:
    """Whole numbers, whose sums are exact in any order."""
    return np.random.default_rng([seed, *n.shape]).integers(-4, 4, n.shape).astype(n.dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_values(name: str) -> None:
    for graph in graphs(name):
        remarks: list[str] = []
        split = split_dilation(graph, target=WIDE, remarks=remarks)
        assert all(n.attr("dilation") == (1, 1) for n in split.nodes if n.op in SPLIT)
        assert "pixel" in remarks[0]
        arrays = [values(n, i) for i, n in enumerate(graph.inputs)]
        (expected,), (actual,) = tg.run(graph, *arrays), tg.run(split, *arrays)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    "options",
    [{"stride": (2, 2)}, {"dilation": (2, 1)}, {"dilation": (1, 1)}, {"channels": CHANNELS - 1},
     {"dilation": (7, 7), "padding": ((7, 7), (7, 7))}],
    ids=str,
)  # fmt: skip
def test_what_stays_as_it_is(options: dict[str, Any]) -> None:
    for graph in graphs("same", **options):
        assert split_dilation(graph, target=WIDE).digest == graph.digest


def test_it_follows_the_target_and_the_user() -> None:
    graph = graphs("same")[0]
    for kept in (
        split_dilation(graph, target=NO_WINOGRAD),
        split_dilation(graph),
        split_dilation(graph, target=WIDE, conv={"": "implicit"}),
    ):
        assert kept.digest == graph.digest


def test_a_layer_runs_by_winograd() -> None:
    rng = np.random.default_rng(0)
    y, x, w, _ = layer("same")
    arrays = [rng.standard_normal(n.shape).astype(np.float32) for n in (x, w)]
    program = tg.compile([x, w], [y])
    assert any("pixels 2 apart" in r for r in program.remarks)
    (expected,) = tg.run(graph_of(y), *arrays)
    np.testing.assert_allclose(program(*arrays)[0], expected, atol=1e-5 * np.abs(expected).max())
