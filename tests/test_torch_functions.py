"""Functions against PyTorch's: golden/make_torch_functions.py has made the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygraph.ops as tg
from tinygraph.autodiff import grad
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import input
from torch_cases import FUNCTIONS, draw, weights

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_functions.npz"))


def test_every_golden_case_is_tested() -> None:
    assert {key.split("/")[0] for key in GOLDEN} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients_are_those_of_pytorch(name: str) -> None:
    arrays, call = draw(name), FUNCTIONS[name].call
    nodes = [input(f"x{i}", *a.shape) for i, a in enumerate(arrays)]
    y = call(tg, *nodes) if call else getattr(tg, name)(*nodes)
    weighed = tg.sum(tg.cast(y, "float32") * weights(y.shape))
    result, *gradients = run(Graph(name, tuple(nodes), (y, *grad(weighed, nodes))), *arrays)
    np.testing.assert_allclose(result, GOLDEN[f"{name}/y"], rtol=2e-5, atol=2e-6)
    for i, g in enumerate(gradients):
        np.testing.assert_allclose(g, GOLDEN[f"{name}/g{i}"], rtol=1e-4, atol=1e-5)
