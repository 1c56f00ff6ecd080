"""Graphs of any depth and width: no recursion over what users write, kernels of bounded size."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.plan.fusion.group import LIMIT
from tinygraph.plan.schedule import schedule
from tinygraph.plan.verify import verify_plan

A = np.linspace(-0.5, 0.5, 8).astype("float32")


def chain(x: Node, length: int) -> Node:
    for _ in range(length):
        x = tg.tanh(x) * 1.01
    return x


def agree(inputs: list[Node], outputs: list[Node], *arrays: np.ndarray) -> None:
    graph = Graph("deep", tuple(inputs), tuple(outputs))
    for got, want in zip(tg.compile(inputs, outputs)(*arrays), run(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT, LIMIT + 1, 2000])
def test_chains_of_fused_operators(length: int) -> None:
    x = tg.input("x", 8)
    agree([x], [chain(x, length)], A)


def test_gradients_of_long_chains() -> None:
    x = tg.input("x", 8)
    agree([x], tg.grad(tg.sum(chain(x, 200)), x), A)


def test_kernels_are_bounded() -> None:
    x = tg.input("x", 8)
    side_by_side = [tg.exp(x * k) for k in range(2 * LIMIT)]
    plan = verify_plan(schedule(graph_of(tg.sum(chain(x, 1000)), *side_by_side)))
    assert max(len(n.nodes) for launch in plan.launches for n in launch.members) <= LIMIT
    assert len(plan.launches) > 2000 // LIMIT


def test_loops_with_long_steps() -> None:
    x, w = tg.input("x", 3, 8), tg.input("w", 8)

    def step(s: Node, row: Node) -> Node:
        return chain(s * w, 120) + row

    (last,), _ = tg.scan(step, x[0], x)
    agree([x, w], [last, *tg.grad(tg.sum(last), [x, w])], np.stack([A, A, A]), A)


def test_gradients_of_weights_that_a_step_reads_a_thousand_times() -> None:
    x, w = tg.input("x", 2, 2, 4), tg.input("w", 4, 4)

    def step(s: Node, row: Node) -> Node:
        for _ in range(600):
            s = (s + row) @ w
        return s

    (last,), _ = tg.scan(step, x[0], x)
    (before, *_, after) = run_passes(graph_of(*tg.grad(tg.sum(last), [w])))
    assert max(len(b.nodes) for n in before.graph.nodes for b in n.bodies) > 1000
    assert any(n.op.name == "outer_sum" for n in after.graph.nodes)


@pytest.mark.parametrize("count", [2, 500])
def test_wide_graphs(count: int) -> None:
    nodes = [tg.input(f"x{k}", 3) for k in range(count)]
    total = nodes[0]
    for n in nodes[1:]:
        total = total + n
    arrays = [np.full(3, k, "float32") for k in range(count)]
    agree(nodes, [tg.concat([n * 2 for n in nodes]), total, *nodes[:3]], *arrays)


def test_layers_one_after_the_other() -> None:
    x, w = tg.input("x", 4, 16), tg.input("w", 16, 16)
    y = x
    for _ in range(200):
        y = tg.softmax(y @ w)
    agree([x, w], [y], np.ones((4, 16), "float32"), np.eye(16, dtype="float32"))
