"""Winograd convolutions as nodes, for backends without kernels of their own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan, graph_of
from targets import NO_WINOGRAD, WIDE
from tinygraph.codegen.assemble import assemble
from tinygraph.compiler.pipeline import Compiled, translate
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.passes.expand_winograd import expand_winograd
from tinygraph.plan.records.target import Target


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def arrays_of(graph: Graph) -> list[np.ndarray]:
    return [normal(*n.shape, seed=i) for i, n in enumerate(graph.inputs)]


def expanded(graph: Graph, way: str, key: str = "") -> tuple[Graph, list[str]]:
    remarks: list[str] = []
    return expand_winograd(graph, conv={key: way}, remarks=remarks), remarks


def compiled(graph: Graph, way: str, target: Target, *without: str) -> Compiled:
    left_out, conv = frozenset(without), {"": way}
    return translate(graph, (), graph.parameters, target, assemble, without=left_out, conv=conv)


def check_same_values(before: Graph, after: Graph) -> None:
    arrays = arrays_of(before)
    (expected,), (actual,) = tg.run(before, *arrays), tg.run(after, *arrays)
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max())


def layer(padding: Any = 1, **options: Any) -> Node:
    x, w = tg.input("x", 2, 4, 7, 6), tg.input("w", 6, 4 // options.get("groups", 1), 3, 3)
    return tg.conv2d(x, w, padding=padding, **options)


@pytest.mark.parametrize("m, r", [(2, 3), (4, 3), (2, 5), (4, 5), (6, 3)])
@pytest.mark.parametrize("size", [(7, 7), (8, 5)])
def test_values(size: tuple[int, int], m: int, r: int) -> None:
    for padding, batch, channels in product((0, 1, 2), (1, 2), ((1, 5), (3, 1), (5, 3))):
        x, w = tg.input("x", batch, channels[0], *size), tg.input("w", *channels[::-1], r, r)
        graph = graph_of(tg.conv2d(x, w, padding=padding))
        after, (remark,) = expanded(graph, f"winograd({m})")
        assert f"winograd({m}) as transforms and products" in remark
        check_same_values(graph, after)


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 1)), ((2, 2), (2, 2))])
def test_gradient_to_the_input_turns_the_filter_round(padding: Any) -> None:
    x = tg.input("x", 2, 1, 3, 9, 6)
    w = tg.input("w", 1, 5, 3, 3, 3)
    options: dict[str, Any] = {"stride": (1, 1), "padding": padding, "dilation": (1, 1)}
    g = tg.input("g", *CONV2D(x, w, **options).shape)
    graph = graph_of(CONV2D_INPUT_GRADIENT(g, w, size=x.shape[3:], **options))
    after, _ = expanded(graph, "winograd(4)")
    assert all(n.op is not CONV2D_INPUT_GRADIENT for n in after.nodes)
    check_same_values(graph, after)


REASONS: dict[str, Callable[[], Node]] = {
    "its stride or dilation is not one": lambda: layer(stride=2),
    "it has groups": lambda: layer(groups=2),
    "its filter is not square": lambda: tg.conv2d(
        tg.input("x", 1, 2, 7, 7), tg.input("w", 3, 2, 3, 5)
    ),
    "there are no points for filters of 8": lambda: tg.conv2d(
        tg.input("x", 1, 2, 9, 9), tg.input("w", 3, 2, 8, 8)
    ),
    "its windows slide over the reduction": lambda: CONV2D_WEIGHT_GRADIENT(
        tg.input("x", 1, 1, 2, 7, 7), tg.input("g", 1, 1, 3, 5, 5), kernel=(3, 3),
        stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1),
    ),
    "its padding is wider than its filter": lambda: CONV2D_INPUT_GRADIENT(
        tg.input("g", 1, 1, 3, 7, 7), tg.input("w", 1, 3, 2, 2, 2), size=(2, 2),
        stride=(1, 1), padding=((3, 3), (3, 3)), dilation=(1, 1),
    ),
    "it computes in int32": lambda: tg.conv2d(
        tg.input("x", 1, 2, 7, 7, dtype="int32"), tg.input("w", 3, 2, 3, 3, dtype="int32")
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_left_alone_says_why(reason: str) -> None:
    graph = graph_of(REASONS[reason]())
    after, (remark,) = expanded(graph, "winograd")
    assert f"implicit, because {reason}" in remark and after.digest == graph.digest


def test_only_where_it_is_asked_for() -> None:
    with tg.scope("block1"):
        y = layer().named("first")
    graph = graph_of(tg.relu(y).named("second"))
    for key in ("block1", "first", "second", ""):
        after, remarks = expanded(graph, "winograd(2)", key)
        assert after.digest != graph.digest and "block1" in remarks[0]
    for key, way in (("block2", "winograd"), ("", "implicit")):
        assert expanded(graph, way, key)[1] == []
    with pytest.raises(ValueError, match="conv requires"):
        expanded(graph, "fft")


def test_tiles_follow_the_number_of_channels() -> None:
    """Few multiplications in the products, but many in the transforms of large tiles."""
    for channels, m in ((8, 2), (256, 4)):
        x, w = tg.input("x", 1, 1, channels, 24, 24), tg.input("w", 1, channels, channels, 3, 3)
        y = CONV2D(x, w, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1))
        assert f"winograd({m})" in expanded(graph_of(y), "winograd")[1][0]


def test_a_loop_has_it_in_its_body() -> None:
    w = tg.input("w", 3, 3, 3, 3)
    state, steps = tg.input("s", 1, 3, 5, 6), tg.input("xs", 4, 1, 3, 5, 6)
    (y,), _ = tg.scan(lambda s, x: (tg.tanh(tg.conv2d(s, w, padding=1)) + x,), state, steps)
    graph = graph_of(y)
    after, (remark,) = expanded(graph, "winograd(2)")
    assert "winograd(2)" in remark
    check_same_values(graph, after)


def test_a_program_shows_it_as_a_stage_and_prepares_its_weights() -> None:
    w, bias = tg.parameter(normal(5, 3, 3, 3), "w"), tg.parameter(normal(5, 1, 1), "bias")
    x = tg.input("x", 2, 3, 7, 6)
    graph = graph_of(tg.relu(tg.conv2d(x, w, padding=1) + bias))
    there = compiled(graph, "winograd(2)", NO_WINOGRAD)
    assert there.steps[-1].name == "expand_winograd" and len(there.steps[-1].events) == 1
    assert "winograd(2) as transforms and products" in there.plan.remarks[0]
    assert any("matmul" in m.name for call in there.plan.prepare for m in call.members)
    assert not any("matmul" in m.name for call in there.plan.launches for m in call.members)
    (array,) = arrays_of(graph)
    (actual,) = execute_plan(there.plan, there.graph, array)
    np.testing.assert_allclose(actual, tg.run(graph, array)[0], atol=2e-5)


def test_kernels_come_first() -> None:
    """A target with Winograd kernels gets the graph as it was."""
    graph = graph_of(layer())
    steps = compiled(graph, "winograd(2)", WIDE).steps
    assert steps[-1].graph.digest == compiled(graph, "implicit", WIDE).graph.digest


def test_it_can_be_left_out_and_the_plan_says_so() -> None:
    graph = graph_of(layer())
    made = compiled(graph, "winograd(2)", NO_WINOGRAD, "expand_winograd")
    assert all(s.name != "expand_winograd" for s in made.steps)
    assert "no kernels" in made.plan.remarks[0] and "left out" in made.plan.remarks[0]
