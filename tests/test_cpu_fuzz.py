"""Random graphs, compiled for the CPU, compute what the reference computes, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from random_networks import Network, networks
from tinygraph.graph.interpret import run

EXAMPLES = 15 if settings.default.max_examples < 1000 else 300


@settings(max_examples=EXAMPLES)
@given(
    net=networks(size=6, dtypes=("float32", "float32", "int32")),
    backend=st.sampled_from(["cpu", "cpu", "cpu:quick"]),
)
def test_random_graphs(net: Network, backend: str):
    graph, count = net.graph, len(net.graph.outputs) - len(net.updates)
    want = run(graph, *net.arrays)
    updates = list(zip(net.updates, graph.outputs[count:], strict=True))
    program = tg.compile(
        graph.inputs, graph.outputs[:count], updates=updates, conv="implicit", backend=backend
    )
    got = [*program(*net.arrays), *(p.value for p in net.updates)]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
