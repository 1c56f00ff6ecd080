"""Contractions as CUDA kernels: shapes around every tile's edges, operands in every order, real PTX
in the emulator with race checks against the reference interpreter.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from emulated import compile_kernel, kernels, run_emulated
from sass import disassembled, loops, needs_disassembler

import tinygraph as tg
from compiled import graph_of
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import input
from tinygraph_cuda.kernels import blocking
from tinygraph_cuda.kernels.blocking import BLOCKINGS, Blocking, Sizes, choose


def agree(graph: Graph, tolerance: float = 3e-5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [draw(i.type, rng) for i in graph.inputs]
    found = run_emulated(graph, *arrays)
    for got, want in zip(found, run(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return found


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Allows one blocking, and no splits of the reduction."""

    def allow(way: Blocking) -> None:
        monkeypatch.setattr(blocking, "ways", lambda sizes, blockings: iter([(way, 1)]))

    return allow


def product(m: int, k: int, n: int, a_across: bool = False, b_across: bool = False) -> Node:
    """Rows times columns; ``across`` gives an operand's axes in the other order."""
    a = ops.transpose(input("a", k, m), (1, 0)) if a_across else input("a", m, k)
    b = ops.transpose(input("b", n, k), (1, 0)) if b_across else input("b", k, n)
    return a @ b


@pytest.mark.parametrize(
    "m, k, n",
    [(1, 1, 1), (31, 15, 33), (33, 33, 31), (32, 16, 32), (36, 48, 28), (4, 20, 68)],
)
def test_edges(m, k, n):
    agree(graph_of(product(m, k, n)))


@pytest.mark.parametrize("m, k, n", [(36, 20, 44), (35, 18, 33)])
@pytest.mark.parametrize("a_across, b_across", [(True, False), (False, True), (True, True)])
def test_transpositions(m, k, n, a_across, b_across):
    agree(graph_of(product(m, k, n, a_across, b_across)))


@pytest.mark.parametrize("way", BLOCKINGS, ids=lambda w: f"{w.rows}x{w.columns}x{w.depth}")
@pytest.mark.parametrize("m, k, n", [(132, 32, 260), (127, 21, 66)])
def test_blockings(only, way, m, k, n):
    only(way)
    agree(graph_of(product(m, k, n)))


def test_batches():
    agree(graph_of(input("a", 3, 5, 20, 12) @ input("b", 3, 5, 12, 24)))
    agree(graph_of(input("a", 3, 5, 20, 12) @ input("b", 12, 24)))


def test_split_reductions_give_the_same_bits_again():
    graph = graph_of(tg.relu(product(8, 1000, 12) + input("bias", 12)))
    first, second = kernels(graph)
    assert "split" in first.text and "accumulate" in second.text
    np.testing.assert_array_equal(agree(graph), agree(graph))


@pytest.mark.parametrize("n", [24, 23])
def test_epilogues(n):
    """Bias, residual, mask, functions, several results; columns in fours and one by one."""
    bias, rest, mask = input("bias", n), input("rest", 20, n), input("mask", 20, n, dtype="bool")
    y = product(20, 16, n) + bias
    agree(graph_of(tg.relu(y) + rest, ops.where(mask, y, rest), y > rest))
    agree(graph_of(tg.gelu(product(20, 16, n) * input("scale", 20, 1)) + rest))


CONVOLUTIONS = {
    "plain": ((2, 8, 7, 9), (12, 8, 3, 3), {"padding": 1}),
    "one channel": ((1, 1, 9, 8), (6, 1, 5, 5), {}),
    "three channels, stride": ((2, 3, 11, 10), (8, 3, 3, 3), {"stride": 2, "padding": 1}),
    "groups": ((2, 8, 6, 5), (12, 4, 3, 3), {"groups": 2, "padding": 1}),
    "dilation": ((1, 4, 9, 11), (5, 4, 3, 2), {"dilation": 2, "stride": (1, 2)}),
    "pointwise": ((2, 16, 5, 6), (20, 16, 1, 1), {}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    """Forward and both gradients, their images channels-last as in the middle of a network."""
    (b, c, h, w), kernel, options = CONVOLUTIONS[name]
    x, weight = input("x", b, h, w, c), input("w", *kernel)
    y = tg.conv2d(ops.transpose(x, (0, 3, 1, 2)), weight, **options)
    agree(graph_of(y, *grad(ops.sum(y * input("direction", *y.shape)), [x, weight])), 1e-4)


# ---------------------------------------------------------------------- what is chosen, and emitted


@pytest.mark.parametrize(
    "sizes, way, splits",
    [
        (Sizes(1, 4096, 4096, 1, 1, 1024), (128, 128, 16), 1),
        (Sizes(1, 4096, 4096, 3, 3, 64), (128, 64, 16), 1),
        (Sizes(1, 64, 64, 1, 1, 20_000), (32, 32, 16), 32),
        (Sizes(1, 10, 10, 1, 1, 16), (32, 32, 16), 1),
    ],
)
def test_choices(sizes, way, splits):
    chosen, count = choose(sizes)
    assert (chosen.rows, chosen.columns, chosen.depth) == way and count == splits


def test_kernels_are_shared_between_sizes():
    bodies = {kernels(graph_of(tg.relu(product(*s))))[0].key for s in [(36, 48, 28), (96, 16, 40)]}
    assert len(bodies) == 1


def test_accesses_are_128_bits_wide():
    (kernel,) = kernels(graph_of(product(64, 64, 64) + input("bias", 64)))
    ptx = compile_kernel(kernel)
    for access in ("ld.global.v4.f32", "st.global.v4.f32", "ld.shared.v4.f32"):
        assert access in ptx
    assert not re.search(r"(ld|st)\.global\.f32", ptx)


@needs_disassembler
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_the_inner_loop_is_multiply_adds(tmp_path, arch):
    """At least 0.90 of the instructions between the loop's label and the branch back."""
    pytest.importorskip("cuda.core")
    from tinygraph_cuda.compile.toolchain import link

    (kernel,) = kernels(graph_of(product(4096, 4096, 4096)))
    cubin, card = link(compile_kernel(kernel), arch)
    assert card.registers <= 128 and card.spill_stores == card.spill_loads == 0
    found = loops(disassembled(cubin, tmp_path))
    share = max(loop["FFMA"] / loop.total() for loop in found if loop["FFMA"])
    assert share >= 0.90
