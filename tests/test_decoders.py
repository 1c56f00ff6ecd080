"""Networks of several resolutions, planned and run as plain Python, with each pass left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from exact_plans import planned, results
from random_decoders import decoders
from random_networks import Network
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.interpret import run
from tinygraph.passes import PIPELINE

EXAMPLES = 6 if settings.default.max_examples < 1000 else 200


@pytest.mark.parametrize(
    "without", ["", "fuse", "contract", *dict.fromkeys(p.__name__ for p in PIPELINE)]
)
@settings(max_examples=EXAMPLES)
@given(net=decoders())
def test_random_decoders(net: Network, without: str):
    """Values are integers; where sums leave what float32 holds exactly, they are close."""
    graph = run_passes(net.graph, without=frozenset({without}))[-1].graph
    optimized = Network(graph, net.updates, net.arrays)
    got = results(optimized, planned(optimized, [without]))
    for a, b in zip(got, run(net.graph, *net.arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1, np.abs(b).max(initial=0)))
