"""Generated modules, run as plain Python, compute what the reference interpreter computes."""

from __future__ import annotations

import numpy as np
import pytest

from compiled import graph_of, run_python
from targets import schedule
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.codegen.assemble import assemble
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS, Kind, input

RECORDS = [o for o in OPS.values() if o.example is not None]


def agree(graph: Graph, seed: int = 0, **options) -> None:
    rng = np.random.default_rng(seed)
    arrays = [draw(i.type, rng) for i in graph.inputs]
    for got, want in zip(run_python(graph, *arrays, **options), run(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("op", RECORDS, ids=lambda o: o.name)
@pytest.mark.parametrize(
    "without", [(), ("fuse",), ("contract",)], ids=["all", "no fusion", "no contraction"]
)
def test_examples(op, without):
    agree(graph_of(op.example()), without=without)


@pytest.mark.parametrize(
    "op",
    [o for o in RECORDS if o.vjp is not None and o.kind is not Kind.SOURCE],
    ids=lambda o: o.name,
)
def test_gradients(op):
    y = op.example()
    wrt = [i for i in graph_of(y).inputs if i.dtype.startswith("float")]
    if not wrt or not y.dtype.startswith("float"):
        pytest.skip("no float input")
    loss = ops.sum(y * input("weight", *y.shape))
    agree(graph_of(*grad(loss, wrt)))


def test_layers_that_differ_in_size_share_a_kernel():
    """What a mean divides by is an argument; short numbers stay in the text."""
    x, y = input("x", 70, 9), input("y", 110, 9)
    both = [ops.mean(a, 0) + 0.5 for a in (x, y)]
    graph = Graph("g", (x, y), tuple(both))
    agree(graph)
    kernels = assemble(schedule(graph)).kernels
    assert len(kernels) == 1
    assert "float32(0.5)" in kernels[0].text and "literal0_bits = args[" in kernels[0].text


@pytest.mark.parametrize(
    "op", [o for o in RECORDS if o.kind is Kind.ELEMENTWISE], ids=lambda o: o.name
)
def test_every_scalar_function_in_an_epilogue(op):
    """Python's twin of a product knows all that compiled code does."""
    example = op.example()
    x, w = input("x", 4, 5), input("w", 5, 7)
    args = [
        ops.less(x @ w, 0.2) if i.dtype == "bool" else ops.cast(x @ w, i.dtype)
        for i in example.inputs
    ]
    graph = graph_of(op(*args, **dict(example.attrs)))
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.1, 0.4, i.shape).astype("float32") for i in graph.inputs]
    for got, want in zip(run_python(graph, *arrays), run(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
