"""Gradients to weights by Winograd's transforms: compiled code and twin against the reference.

Their errors are measured in test_accuracy.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan
from targets import schedule
from tinygraph.graph.ir import Graph
from tinygraph.ops.conv import CONV2D_WEIGHT_GRADIENT
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Target
from tinygraph.plan.verify import verify_plan
from tinygraph_cpu.machine.features import detect
from tinygraph_cpu.processor import CpuTarget

NATIVE = [
    # batch, groups, input and output channels of each, image, filter, padding, tile
    (2, 1, 17, 33, (13, 6), 3, 1, 4),
    (1, 2, 40, 20, (7, 10), 3, 0, 3),
    (3, 1, 3, 70, (9, 8), 5, 2, 3),
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


STRIDED = [
    # batch, input and output channels, image, filter, stride, padding, groups
    (1, 3, 20, (19, 16), (7, 7), 2, 3, 1),
    (2, 3, 33, (56, 61), (11, 11), 4, 0, 1),
    (2, 6, 10, (9, 13), (3, 3), 2, 1, 2),
    (3, 1, 1, (25, 27), (5, 6), 3, 2, 1),
]


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("batch, cin, cout, size, kernel, stride, padding, groups", STRIDED)
def test_strides(batch, cin, cout, size, kernel, stride, padding, groups, last: bool) -> None:
    """Images that no block divides, odd padding, groups; NaN where no output looks."""
    x = tg.input("x", batch, *((*size, cin) if last else (cin, *size)))
    w = tg.input("w", cout, cin // groups, *kernel)
    image = tg.transpose(x, (0, 3, 1, 2)) if last else x
    y = tg.conv2d(image, w, stride=stride, padding=padding, groups=groups)
    g = tg.input("g", *(y.shape[i] for i in (0, 2, 3, 1)))
    (dw,) = tg.grad(tg.sum(tg.transpose(y, (0, 2, 3, 1)) * g), [w])
    graph = Graph("g", (x, g, w), (w - 0.1 * dw,))
    arrays = [normal(*n.shape, seed=i) for i, n in enumerate(graph.inputs)]
    pixels = arrays[0] if last else arrays[0].transpose(0, 2, 3, 1)
    bottom, right = (stride * (y.shape[2 + a] - 1) + kernel[a] - padding for a in (0, 1))
    pixels[:, bottom:], pixels[:, :, right:] = np.nan, np.nan
    plan = planned(graph, "winograd")
    assert is_winograd(plan)
    (expected,) = tg.run(graph, *arrays)
    for (actual,) in (execute_plan(plan, graph, *arrays), compiled(graph, arrays, "winograd")):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


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
    plan = planned(graph, f"winograd({m})", CpuTarget(lanes, registers))
    assert is_winograd(plan)
    check(execute_plan(plan, graph, *arrays), graph, arrays)


@pytest.mark.parametrize("batch, groups, cin, cout, size, r, padding, m", SIZES)
def test_compiled(batch, groups, cin, cout, size, r, padding, m) -> None:
    graph, arrays = gradient(batch, groups, cin, cout, size, r, padding)
    check(compiled(graph, arrays, f"winograd({m})"), graph, arrays)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v2"])
def test_other_vector_widths(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if detect().lanes < detect(level).lanes:
        pytest.skip("this processor has narrower vectors")
    monkeypatch.setenv("TINYGRAPH_CPU", level)
    graph, arrays = gradient(2, 1, 9, 45, (8, 7), 3, 1)
    check(compiled(graph, arrays, "winograd(4)"), graph, arrays)


def layer(stride: int = 1, dilation: int = 1, r: int = 3, batch: int = 8, size: int = 28) -> Graph:
    """A step of gradient descent for a layer's weights alone."""
    x = tg.input("x", batch, size, size, 64)
    w = tg.parameter(normal(96, 64, r, r), "w")
    with tg.scope("block1"):
        options = {"stride": stride, "dilation": dilation, "padding": r // 2 * dilation}
        y = tg.conv2d(tg.transpose(x, (0, 3, 1, 2)), w, **options)
    g = tg.input("g", *(y.shape[i] for i in (0, 2, 3, 1)))
    (dw,) = tg.grad(tg.sum(tg.transpose(y, (0, 2, 3, 1)) * g), [w])
    return Graph("g", (x, g), (dw,))


def test_choices_and_remarks() -> None:
    plan = planned(layer(), None)
    assert is_winograd(plan)
    found = next(r for r in plan.remarks if "weight_gradient" in r and "winograd" in r)
    assert "winograd(4), 3x3 stride 1, 4.0 times fewer multiplications" in found
    assert not is_winograd(planned(layer(), "implicit"))
    assert not is_winograd(schedule(layer(), conv={"block1": "implicit"}))
    assert not is_winograd(planned(layer(batch=1, size=3), None))
    assert not is_winograd(planned(layer(stride=2), None))
    dilated = planned(layer(dilation=2), "winograd")
    assert not is_winograd(dilated)
    assert any("weight_gradient" in r and "implicit, because" in r for r in dilated.remarks)


def test_no_more_than_7_x_7_points() -> None:
    """Their errors are in tinygraph_cpu/winograd/gradient_cost.py."""
    for r in (3, 5):
        (found,) = (x for x in names(planned(layer(r=r), None)) if "_winograd" in x)
        assert int(found[-1]) + r - 1 <= 7
        refused = planned(layer(r=r), f"winograd({9 - r})")
        assert not is_winograd(refused)
        assert any("more than 8 times its error" in remark for remark in refused.remarks)


def test_pieces_are_added_up_in_order() -> None:
    """Few channels and many tiles: pieces; the same bits on any number of threads."""
    graph, arrays = gradient(2, 1, 16, 16, (40, 40), 3, 1)
    plan = planned(graph, "winograd(4)")
    assert any(b.name == "pieces" for b in plan.buffers)
    check(execute_plan(plan, graph, *arrays), graph, arrays)
    program = tg.compile(graph.inputs, graph.outputs, conv="winograd(4)")
    results = []
    for threads in (1, 2, 3):
        program._runner.threads = threads
        results.append([x.tobytes() for x in program(*arrays)])
        check(program(*arrays), graph, arrays)
    assert results[0] == results[1] == results[2]


def test_what_no_output_needs_cannot_be_nan() -> None:
    x, g = tg.input("x", 1, 12, 12, 4), tg.input("g", 1, 5, 5, 4)
    five = (tg.reshape(tg.transpose(n, (0, 3, 1, 2)), (1, 1, 4, *n.shape[1:3]))
            for n in (x[:, :7, :7], g))  # fmt: skip
    window = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    dw = CONV2D_WEIGHT_GRADIENT(*five, kernel=(3, 3), **window)
    graph = Graph("g", (x, g), (tg.transpose(dw, (0, 3, 4, 2, 1)),))
    image, given = normal(1, 12, 12, 4), normal(1, 5, 5, 4)
    image[:, 7:], image[:, :, 7:] = np.nan, np.nan
    (expected,) = tg.run(graph, image, given)
    plan = planned(graph, "winograd(4)")
    assert is_winograd(plan)
    ways = execute_plan(plan, graph, image, given), compiled(graph, [image, given], "winograd(4)")
    for (actual,) in ways:
        np.testing.assert_allclose(actual, expected, atol=2e-5)
