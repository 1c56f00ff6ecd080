"""Gradients to weights by Winograd's transforms: compiled code and twin against the reference.

Their errors are measured in test_accuracy.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan
from tinygraph.ir import Graph
from tinygraph.ops.conv import CONV2D_WEIGHT_GRADIENT
from tinygraph.plan.plan import Plan
from tinygraph.plan.schedule import schedule
from tinygraph.plan.tiling import Target
from tinygraph.plan.verify import verify_plan
from tinygraph_cpu.features import detect

NATIVE = [
    # batch, groups, input and output channels of each, image, filter, padding, tile
    (2, 1, 17, 33, (13, 6), 3, 1, 4),
    (1, 2, 40, 20, (7, 10), 3, 0, 3),
    (3, 1, 3, 70, (9, 8), 5, 2, 4),
]
SIZES = [
    *NATIVE,
    (1, 1, 1, 1, (5, 5), 3, 1, 4),
    (3, 1, 1, 16, (4, 9), 3, 1, 2),
    (1, 1, 32, 1, (6, 6), 3, 2, 4),
    (2, 3, 5, 3, (3, 3), 3, 1, 4),
    (2, 1, 3, 19, (5, 4), 3, 2, 3),
    (1, 1, 8, 8, (7, 7), 5, 0, 2),
]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def gradient(batch, groups, cin, cout, size, r, padding) -> tuple[Graph, list[np.ndarray]]:
    """Images and gradients channels last, weights with output channels last. The epilogue is a
    step of momentum and tells where it went down.
    """
    out = tuple(n + 2 * padding - r + 1 for n in size)
    x = tg.input("x", batch, *size, groups * cin)
    g = tg.input("g", batch, *out, groups * cout)
    old = tg.input("old", groups, r, r, cin, cout)
    five = [
        tg.transpose(tg.reshape(n, (*n.shape[:3], groups, c)), (0, 3, 4, 1, 2))
        for n, c in ((x, cin), (g, cout))
    ]
    dw = CONV2D_WEIGHT_GRADIENT(
        *five, kernel=(r, r), stride=(1, 1), padding=((padding,) * 2,) * 2, dilation=(1, 1)
    )
    dw = tg.transpose(dw, (0, 3, 4, 2, 1))
    graph = Graph("g", (x, g, old), (old * 0.5 + dw, dw < 0.0))
    return graph, [normal(*n.shape, seed=i) for i, n in enumerate(graph.inputs)]


def planned(graph: Graph, way: str | None, target: Target | None = None) -> Plan:
    conv = {"": way} if way else {}
    return verify_plan(schedule(graph, target=target, conv=conv))


def names(plan: Plan) -> list[str]:
    return [m.name for call in plan.launches for m in call.members]


def is_winograd(plan: Plan) -> bool:
    return any("_winograd" in name for name in names(plan))


def check(actual, graph: Graph, arrays) -> None:
    value, mask = tg.run(graph, *arrays)
    np.testing.assert_allclose(actual[0], value, atol=5e-5 * np.abs(value).max())
    assert np.mean(actual[1] != mask) < 0.01


def compiled(graph: Graph, arrays, way: str) -> list[np.ndarray]:
    return list(tg.compile(graph.inputs, graph.outputs, conv=way)(*arrays))


@pytest.mark.parametrize("batch, groups, cin, cout, size, r, padding, m", SIZES)
@pytest.mark.parametrize("lanes, registers", [(16, 32), (4, 16)])
def test_twin(batch, groups, cin, cout, size, r, padding, m, lanes, registers) -> None:
    graph, arrays = gradient(batch, groups, cin, cout, size, r, padding)
    plan = planned(graph, f"winograd({m})", Target(lanes, registers))
    assert is_winograd(plan)
    check(execute_plan(plan, graph, *arrays), graph, arrays)


@pytest.mark.parametrize("batch, groups, cin, cout, size, r, padding, m", SIZES)
def test_compiled(batch, groups, cin, cout, size, r, padding, m) -> None:
    graph, arrays = gradient(batch, groups, cin, cout, size, r, padding)
    check(compiled(graph, arrays, f"winograd({m})"), graph, arrays)
