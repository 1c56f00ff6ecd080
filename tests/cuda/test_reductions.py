"""Who shares a reduction, what is computed in fours, sums in a fixed order: from real PTX in the
emulator with race checks.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from emulated import compile_kernel, kernels, run_emulated

import tinygraph as tg
from compiled import graph_of
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import input
from tinygraph.ops.random import dropout
from tinygraph_cuda.kernels import wide


def agree(*outputs: Node, tolerance: float = 2e-5) -> list[np.ndarray]:
    graph = graph_of(*outputs)
    rng = np.random.default_rng(0)
    arrays = [draw(i.type, rng) for i in graph.inputs]
    found, again = run_emulated(graph, *arrays), run_emulated(graph, *arrays)
    for got, same, want in zip(found, again, run(graph, *arrays), strict=True):
        np.testing.assert_array_equal(got, same)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return found


def text_of(graph: Graph) -> str:
    (kernel,) = kernels(graph)
    return kernel.text


# ---------------------------------------------------------------------- teams


@pytest.mark.parametrize("shape", [(1500,), (3, 1031)])
def test_a_block_shares_few_long_sums(shape):
    x = input("x", *shape)
    assert "cuda.syncthreads" in text_of(graph_of(ops.sum(x, axis=-1)))
    agree(ops.sum(x * x, axis=-1), ops.max(x, axis=-1))


@pytest.mark.parametrize("columns", [1, 7, 8, 20])
def test_a_block_shares_sums_of_columns(columns):
    """As a bias' gradient: many rows, few columns; what follows sees the whole sum."""
    x = input("x", 5, 60, columns)
    total = ops.sum(x, axis=(0, 1), keepdims=True)
    agree(total, ops.sum(x * (x - total / 300.0), axis=(0, 1)))


@pytest.mark.parametrize("columns", [7, 8])
def test_what_is_summed_is_stored_once(columns):
    """Columns that a block has too many of store nothing, in the loop either."""
    doubled = input("x", 5, 60, columns) * 2.0
    graph = graph_of(doubled, ops.sum(doubled, axis=(0, 1)))
    assert "busy" in text_of(graph)
    agree(*graph.outputs)


def test_columns_share_where_they_are_few():
    text = text_of(graph_of(ops.sum(input("x", 300, 20), axis=0)))
    assert "half" in text and "cuda.syncthreads" in text
    text = text_of(graph_of(ops.sum(input("x", 300, 1 << 15), axis=0)))
    assert "cuda.syncthreads" not in text


def test_nan_passes_through_a_block():
    graph = graph_of(ops.max(input("x", 1500), axis=0), ops.max(input("y", 300, 5), axis=0))
    x, y = np.zeros(1500, np.float32), np.zeros((300, 5), np.float32)
    x[1499] = y[299, 3] = np.nan
    whole, columns = run_emulated(graph, x, y)
    assert np.isnan(whole) and np.isnan(columns).tolist() == [False] * 3 + [True, False]


# ---------------------------------------------------------------------- fours


def test_elements_in_fours():
    x, bias, scale = input("x", 6, 5, 8), input("bias", 8), input("scale", 5, 1)
    mask = input("mask", 6, 5, 8, dtype="bool")
    y = ops.where(mask, tg.relu(x * scale + bias), x)
    graph = graph_of(y, y > 0.5)
    (kernel,) = kernels(graph)
    ptx = compile_kernel(kernel)
    for access in ("ld.global.v4.f32", "ld.global.v4.u8", "st.global.v4.f32", "st.global.v4.u8"):
        assert access in ptx
    agree(y, y > 0.5)


def test_what_is_not_in_fours_is_computed_one_by_one():
    for x in (input("x", 6, 7), input("x", 6, 9)[:, 1:], input("x", 6, 8)[:, ::2]):
        assert "load4" not in text_of(graph_of(x * 2.0))
        agree(x * 2.0)


def test_dropout_in_fours_has_the_masks_of_the_reference():
    x, seed, step = input("x", 16, 12), input("seed", dtype="int32"), input("step", dtype="int32")
    graph = Graph("dropout", (x, seed, step), (dropout(x, 0.5, seed, step, "stream"),))
    assert "load4" in text_of(graph)
    values = np.random.default_rng(0).random((16, 12), np.float32), np.int32(7), np.int32(3)
    (found,), (want,) = run_emulated(graph, *values), run(graph, *values)
    assert 0 < np.count_nonzero(found) < found.size
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("pool", [tg.max_pool2d, tg.avg_pool2d])
def test_windows_in_fours(monkeypatch, pool):
    monkeypatch.setattr(wide, "FILLS", 0)
    x = input("x", 2, 7, 6, 8)
    y = pool(ops.transpose(x, (0, 3, 1, 2)), kernel_size=3, stride=2, padding=1)
    graph = graph_of(y, *grad(ops.sum(y * input("direction", *y.shape)), [x]))
    assert any("load4" in kernel.text for kernel in kernels(graph))
    agree(*graph.outputs)


# ---------------------------------------------------------------------- carried from step to step


@pytest.mark.parametrize("width", [1, 3, 40])
def test_scatter_add_in_the_order_of_the_indices(width):
    """More indices than a warp looks at at once, many of them the same, some out of range."""
    rng = np.random.default_rng(0)
    index = rng.integers(-2, 9, (5, 15)).astype(np.int32)
    updates = rng.standard_normal((2, 5, 15, width)).astype(np.float32)
    y = ops.scatter_add(
        input("i", 5, 15, dtype="int32"), input("u", 2, 5, 15, width), axis=1, size=7
    )
    graph = graph_of(y)
    found, again = (run_emulated(graph, index, updates)[0] for _ in range(2))
    np.testing.assert_array_equal(found, again)
    want = np.zeros((2, 7, width), np.float32)
    for at, update in zip(
        np.clip(index, 0, 6).reshape(-1),
        np.moveaxis(updates.reshape(2, 75, width), 1, 0),
        strict=True,
    ):
        want[:, at] += update
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(reverse):
    x = input("x", 3, 37, 5)
    agree(ops.cumsum(x, axis=1, reverse=reverse), ops.cumsum(x, axis=0, reverse=reverse))
