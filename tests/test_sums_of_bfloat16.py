"""The bits of products of bfloat16: of instructions, of what stands in for them, at any threads."""

from __future__ import annotations

import numpy as np
import pytest
from test_precision import PRODUCTS, compiled, draws, step_of

import tinygraph as tg
from tinygraph import nn
from tinygraph.graph.dtype import astype
from tinygraph_cpu.machine.features import detect

BF16 = "bfloat16"


@pytest.mark.skipif(not detect().dot_bfloat16, reason="the processor has no vdpbf16ps")
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_instruction_has_the_bits_of_what_stands_in_for_it(name, monkeypatch):
    """Two multiply-adds, the odd element first; none of these numbers is a denormal."""
    found = []
    for level in ("cooperlake", "x86-64-v4"):
        monkeypatch.setenv("TINYGRAPH_CPU", level)
        program, got, _ = compiled(PRODUCTS[name]())
        assert "matrix tile" not in program.dump("plan")
        found.append(got)
    np.testing.assert_array_equal(*found)


def in_matrix_registers(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sums of a matrix register: of 16 words at a time the even elements one after the other,
    the odd ones, then both, and that is added to the sum.
    """
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(0, a.shape[1], 32):
        halves = np.zeros((2, *total.shape), np.float32)
        for i in range(k, min(k + 32, a.shape[1])):
            halves[i % 2] += a[:, i : i + 1] * b[i]
        total += halves[0] + halves[1]
    return total


@pytest.mark.skipif(not detect().matrix, reason="the processor has no matrix registers")
@pytest.mark.parametrize("shape", [(16, 64, 16), (37, 96, 50), (64, 72, 64), (33, 34, 100)])
def test_matrix_registers_add_up_in_the_order_that_is_documented(shape):
    """Whole squares of four blocks, and what remains of rows, columns and channels."""
    m, k, n = shape
    a, b = tg.input("a", m, k, dtype=BF16), tg.input("b", k, n, dtype=BF16)
    program = tg.compile([a, b], [tg.matmul(a, b, accumulate="float32")])
    assert "matrix tile" in program.dump("plan")
    arrays = draws([a, b])
    want = in_matrix_registers(*(astype(x, "float32") for x in arrays))
    np.testing.assert_array_equal(program(*arrays)[0], want)
