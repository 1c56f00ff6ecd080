"""Loop nests as CUDA kernels, run from their PTX, agree with the reference interpreter."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from emulated import compile_kernel, kernels, run_emulated

from compiled import graph_of
from tinygraph import models, nn, ops
from tinygraph.autodiff import grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS, Kind, input
from tinygraph_cuda.compile.budget import REGISTERS
from tinygraph_cuda.compile.toolchain import link

RECORDS = [o for o in OPS.values() if o.example and o.kind is not Kind.COMPOSITE]


def agree(graph, **options) -> None:
    rng = np.random.default_rng(0)
    arrays = [draw(i.type, rng) for i in graph.inputs]
    for got, want in zip(run_emulated(graph, *arrays, **options), run(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("op", RECORDS, ids=lambda o: o.name)
def test_examples(op):
    agree(graph_of(op.example()))


@pytest.mark.parametrize(
    "op", [o for o in RECORDS if o.kind in (Kind.REDUCE, Kind.VIEW)], ids=lambda o: o.name
)
def test_gradients(op):
    y = op.example()
    wrt = [i for i in graph_of(y).inputs if i.dtype.startswith("float")]
    if op.vjp is None or not wrt or not y.dtype.startswith("float"):
        pytest.skip("no gradient")
    agree(graph_of(*grad(ops.sum(y * input("weight", *y.shape)), wrt)))


@pytest.mark.parametrize("shape", [(7, 100), (3, 5, 33), (1, 1000)])
def test_softmax_by_warps(shape):
    x = input("x", *shape)
    exponential = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
    agree(graph_of(exponential / ops.sum(exponential, axis=-1, keepdims=True)))


@pytest.mark.parametrize("rows, unrolled", [(8, True), (32, False)])
def test_short_reductions_take_few_registers(rows, unrolled):
    """Unrolled, the compiler would do all loads first, those of the second sum as well."""
    x, y = input("x", rows, 512), input("y", rows, 512)
    centred = x - ops.mean(x, 0)
    graph = graph_of(ops.sum(centred * centred, 0) + ops.sum(y, 0))
    made = kernels(graph)
    assert any(f"range({rows})" in kernel.text for kernel in made) == unrolled
    for kernel in made:
        _, used = link(compile_kernel(kernel), "sm_80")
        assert used.registers * kernel.threads <= REGISTERS
    agree(graph)


def test_gradients_of_lenet():
    """Windows, packing, softmax and reductions of a whole network, forward and backward."""
    x, label = input("image", 2, 1, 28, 28), input("label", 2, dtype="int32")
    net = models.lenet5()
    loss = nn.cross_entropy(net(x), label)
    agree(Graph("lenet", (x, label), (loss, *grad(loss, net.parameters()))))


def test_division_of_floats_that_rounds_down_is_numpys() -> None:
    special = [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 7.5, -7.5, np.inf, -np.inf, np.nan, 3.0]
    a, b = np.array(list(product(special, special)), "float32").T.copy()
    x, y = input("x", *a.shape), input("y", *b.shape)
    with np.errstate(all="ignore"):
        for f, want in ((ops.floor_divide, a // b), (ops.mod, a % b)):
            (got,) = run_emulated(graph_of(f(x, y)), a, b)
            np.testing.assert_array_equal(got, want)
