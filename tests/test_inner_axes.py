"""Functions along an axis that is not contiguous: the contiguous one runs across the lanes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from targets import schedule
from tinygraph.graph.ir import Node
from tinygraph.plan.records.work import Nest

FUNCTIONS: dict[str, tuple[Callable[..., Node], Callable[[np.ndarray, int], np.ndarray]]] = {
    "softmax": (tg.softmax, lambda x, a: np.exp(x) / np.exp(x).sum(a, keepdims=True)),
    "log_softmax": (tg.log_softmax, lambda x, a: x - np.log(np.exp(x).sum(a, keepdims=True))),
    "logsumexp": (tg.logsumexp, lambda x, a: np.log(np.exp(x).sum(a))),
    "layer_norm": (
        tg.layer_norm,
        lambda x, a: (x - x.mean(a, keepdims=True)) / np.sqrt(x.var(a, keepdims=True) + 1e-5),
    ),
}
SHAPES = [(n, c, inner) for n, c, inner in product((0, 1, 2), (1, 5, 11, 33), (1, 15, 17, 80))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_along_inner_axes(name: str) -> None:
    """At the edges of vectors and blocks, of what is unrolled, and of size 0 and 1."""
    function, reference = FUNCTIONS[name]
    nodes = [tg.input(f"x{i}", *shape) for i, shape in enumerate(SHAPES)]
    arrays = [np.random.default_rng(i).standard_normal(x.shape) for i, x in enumerate(nodes)]
    program = tg.compile(nodes, [function(x, 1) for x in nodes])
    for x, got in zip(arrays, program(*(a.astype(np.float32) for a in arrays)), strict=True):
        np.testing.assert_allclose(got, reference(x, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_long_reductions_go_in_blocks_of_columns(name: str) -> None:
    """21 channels that are passed over several times would not stay in registers."""
    x = tg.input("x", 8, 21, 128, 128)
    assert styles(FUNCTIONS[name][0](x, 1)) == ["column"]


def test_short_reductions_and_single_passes_are_unrolled() -> None:
    x = tg.input("x", 8, 21, 128, 128)
    assert styles(tg.sum(x, 1)) == styles(tg.softmax(x[:, :8], 1)) == ["literal"]


def styles(n: Node) -> list[str]:
    works = (launch.work for launch in schedule(graph_of(n)).launches)
    return [work.style for work in works if isinstance(work, Nest)]
