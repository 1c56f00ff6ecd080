"""Narrow integers in CUDA kernels, run from their PTX."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from emulated import kernels, run_emulated

import tinygraph as tg
from integer_cases import (
    FLOATS,
    INTEGERS,
    PAIRS,
    check,
    ends,
    expected_rows,
    pairs_expected,
    pairs_graph,
    rows,
    wrapped,
)
from tinygraph.graph.ir import Graph


@pytest.mark.parametrize("dtype", ["int8", "uint16"])
def test_pairs(dtype):
    arrays = ends(dtype)[:, None], ends(dtype)
    check(run_emulated(pairs_graph(dtype), *arrays), pairs_expected(dtype), PAIRS)


@pytest.mark.parametrize("dtype", ["int8", "uint16"])
def test_rows(dtype):
    x = tg.input("x", 5, 70, dtype=dtype)
    array = np.random.default_rng(0).choice(ends(dtype), (5, 70))
    check(run_emulated(Graph("rows", (x,), tuple(rows(x))), array), expected_rows(array))


def test_floats_are_cut_and_wrap():
    x, kinds = tg.input("x", len(FLOATS)), ["int8", "int16", "uint8", "uint16", "uint32"]
    graph = Graph("casts", (x,), tuple(tg.cast(x, d) for d in kinds))
    want = [np.array([wrapped(int(v), d) for v in FLOATS], d) for d in kinds]
    check(run_emulated(graph, FLOATS), want, kinds)


@pytest.mark.parametrize("dtype", ["int8", "uint16"])
def test_four_elements_of_one_access(dtype):
    a, b = (tg.input(name, 4096, dtype=dtype) for name in "ab")
    kinds = [d for d in INTEGERS if d != "int64"]
    graph = Graph("wide", (a, b), (a * b, tg.maximum(a, b), *(tg.cast(a + b, d) for d in kinds)))
    assert any("load4(" in made.text for made in kernels(graph))
    rng = np.random.default_rng(0)
    arrays = [rng.choice(ends(dtype), 4096) for _ in range(2)]
    check(run_emulated(graph, *arrays), tg.run(graph, *arrays))
