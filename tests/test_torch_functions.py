"""Functions against PyTorch's: golden/make_torch_functions.py has made the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph.ops as tg
from tinygraph.autodiff import grad
from tinygraph.compile import compile
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import input
from tinygraph.graph.parameter import parameter
from tinygraph.ops import ctc, distance, loss
from tinygraph.optim import SGD
from torch_cases import FUNCTIONS, LOSSES, draw, weights

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_functions.npz"))


def test_every_golden_case_is_tested() -> None:
    assert {key.split("/")[0] for key in GOLDEN} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients_are_those_of_pytorch(name: str) -> None:
    arrays = draw(name)
    nodes = [input(f"x{i}", *a.shape) for i, a in enumerate(arrays)]
    y = made(tg, name, nodes)
    weighed = tg.sum(tg.cast(y, "float32") * weights(y.shape))
    result, *gradients = run(Graph(name, tuple(nodes), (y, *grad(weighed, nodes))), *arrays)
    np.testing.assert_allclose(result, GOLDEN[f"{name}/y"], rtol=2e-5, atol=2e-6)
    for i, g in enumerate(gradients):
        np.testing.assert_allclose(g, GOLDEN[f"{name}/g{i}"], rtol=1e-4, atol=1e-5)


class Spy:
    """The functions of ops, and which of them were asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(tg, name)


def made(spy: Any, name: str, nodes: Sequence[Node]) -> Node:
    call = FUNCTIONS[name].call
    return call(spy, *nodes) if call else getattr(spy, name)(*nodes)


def test_every_loss_has_a_golden_case() -> None:
    spy = Spy()
    for name in LOSSES:
        made(spy, name, [input(f"x{i}", *a.shape) for i, a in enumerate(draw(name))])
    without = {"l2_penalty"}  # no loss of PyTorch's: its optimizers have weight decay
    assert {*loss.__all__, *distance.__all__, *ctc.__all__} - spy.asked == without


@pytest.mark.parametrize("name", LOSSES)
def test_three_compiled_steps_are_those_of_pytorch(name: str) -> None:
    trained = [parameter(a, f"x{i}") for i, a in enumerate(draw(name))]
    y = made(tg, name, trained)
    weighed = tg.sum(y * weights(y.shape))
    updates = SGD(0.1, momentum=0.9).updates(weighed, trained)
    step = compile([], [weighed], updates=updates, backend="cpu:quick")
    losses = [float(step()[0]) for _ in range(4)]
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=1e-4, atol=1e-5)
