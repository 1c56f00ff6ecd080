"""Batch normalization in training: its statistics, its gradients, and what its kernels move."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from targets import schedule
from tinygraph import nn, ops, optim
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.float64 import in_float64
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.normalization import channel_moments
from tinygraph.passes import strip_effects
from tinygraph.plan.records.work import Nest


@pytest.mark.parametrize("shape", [(3, 2), (1, 5, 9), (2, 3, 7, 5), (2, 40, 40, 30)], ids=str)
def test_moments_are_those_of_float64(shape: tuple[int, ...]) -> None:
    """Far from 0, and with an outlier in the first place, where shifted sums would cancel."""
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(shape) + 3e3).astype("float32")
    values[(0,) * len(shape)] -= 1e3
    axes = (0, *range(2, len(shape)))
    for chunked in (tg.run, run_python):
        graph = graph_of(*channel_moments(tg.input("x", *shape)))
        mean, variance = chunked(graph, values)
        np.testing.assert_allclose(mean, values.mean(axes, dtype="float64"), rtol=1e-6)
        np.testing.assert_allclose(variance, values.var(axes, dtype="float64"), rtol=2e-4)
        if np.prod(shape) > 10_000:
            break  # as plain Python it would take long


def by_the_rules(x: Node, scale: Node | None, shift: Node | None) -> Node:
    """The same from its definition, whose gradient the rules of its parts give."""
    axes = (0, *range(2, x.ndim))
    mean = tg.mean(x, axes)
    spread = tg.reshape(mean, (x.shape[1],) + (1,) * (x.ndim - 2))
    return ops.batch_norm(x, scale, shift, mean, tg.mean((x - spread) * (x - spread), axes))


@pytest.mark.parametrize("given", ["neither", "scale", "shift", "both"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 4), (2, 3, 4, 5)], ids=str)
def test_first_and_second_gradients(shape: tuple[int, ...], given: str) -> None:
    x, w = tg.input("x", *shape), tg.input("w", *shape)
    scale, shift = (
        tg.input(name, shape[1]) if given in (name, "both") else None for name in ("scale", "shift")
    )
    wrt = [n for n in (x, scale, shift) if n is not None]
    outputs = []
    for y in (ops.batch_norm_training(x, scale, shift)[0], by_the_rules(x, scale, shift)):
        first = tg.grad(tg.sum(tg.tanh(y) * w), wrt)
        outputs += [y, *first, *tg.grad(tg.sum(tg.tanh(first[0])), wrt)]
    graph, _ = in_float64(Graph("g", (*wrt, w), tuple(outputs)))
    rng = np.random.default_rng(1)
    found = tg.run(graph, *(rng.standard_normal(n.shape) for n in graph.inputs))
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_a_training_step_moves_what_it_must() -> None:
    """A layer between two others: each kernel's accesses of the size of the image."""

    class Net(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = (nn.Conv2d(16, 16, 1, bias=False) for _ in range(2))
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x: Node, training: bool = False) -> Node:
            return self.second(tg.relu(self.norm(self.first(x), training=training)))

    net, x = Net(), tg.input("x", 4, 16, 32, 32)
    loss = tg.mean(net(x, training=True) * tg.input("w", 4, 16, 32, 32))
    wanted = optim.SGD(lr=0.1).updates(loss, net.parameters())
    graph, updates = strip_effects(graph_of(loss), wanted)
    whole = Graph("step", graph.inputs, (*graph.outputs, *(new for _, new in updates)))
    plan = schedule(run_passes(whole)[-1].graph, tuple(p for p, _ in updates))
    moved = [
        Counter(
            ("write" if number in launch.writes else "read", access.dtype)
            for number, access in enumerate(launch.work.operands)
            if access.buffer.bytes >= 4 * 16 * 32 * 32
        )
        for top in plan.launches
        for launch in top.members
        if isinstance(launch.work, Nest) and {"sub"} & {n.op.name for n in launch.nodes}
    ]
    moved = [found for found in moved if found]
    image, mask = "float32", "bool"
    assert moved == [
        {("read", image): 1},  # statistics of chunks
        {("read", image): 1, ("write", image): 1, ("write", mask): 1},  # normalized, and its mask
        {("read", image): 2},  # sums of the gradient, and of it times the distance
        {("read", image): 2, ("write", image): 1},  # the gradient to the image
    ]
