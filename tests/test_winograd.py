"""Winograd convolutions: exact matrices, compiled code and twin against the reference.

Their errors are measured in test_accuracy.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan, graph_of
from targets import NO_WINOGRAD, schedule
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.conv import CONV2D_INPUT_GRADIENT
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Target
from tinygraph.plan.verify import verify_plan
from tinygraph.plan.winograd.toom_cook import POINTS, transforms
from tinygraph_cpu.machine.features import detect
from tinygraph_cpu.processor import CpuTarget

NATIVE = [(1, 1, 3, (7, 9), 3, 0, 4), (2, 17, 33, (13, 6), 3, 1, 2), (1, 40, 20, (6, 6), 5, 2, 4)]
SIZES = [
    *NATIVE,
    (3, 3, 17, (5, 5), 3, 1, 3),
    (1, 32, 16, (11, 4), 3, 2, 5),
    (1, 5, 3, (12, 13), 3, 1, 6),
    (2, 3, 32, (6, 9), 5, 0, 2),
    (1, 1, 1, (10, 8), 5, 4, 3),
]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def convolution(
    batch: int, cin: int, cout: int, size: tuple[int, int], r: int, padding: int
) -> tuple[Graph, list[np.ndarray]]:
    """Bias, ReLU and a residual; a second result tells where the ReLU was at work. Channels
    last.
    """
    x = tg.input("x", batch, *size, cin)
    w, bias = tg.input("w", cout, cin, r, r), tg.input("b", cout)
    y = tg.conv2d(tg.transpose(x, (0, 3, 1, 2)), w, padding=padding)
    rest = tg.input("rest", *(y.shape[i] for i in (0, 2, 3, 1)))
    y = tg.transpose(y, (0, 2, 3, 1)) + bias
    graph = Graph("g", (x, w, bias, rest), (tg.relu(y) + rest, y > 0.0))
    return graph, [normal(*n.shape, seed=i) for i, n in enumerate(graph.inputs)]


def planned(graph: Graph, way: str, target: Target | None = None) -> Plan:
    return verify_plan(schedule(graph, target=target, conv={"": way}))


def is_winograd(plan: Plan) -> bool:
    return any("_winograd" in m.name for call in plan.launches for m in call.members)


def check(actual: Sequence[np.ndarray], graph: Graph, arrays: Sequence[np.ndarray]) -> None:
    value, mask = tg.run(graph, *arrays)
    np.testing.assert_allclose(actual[0], value, atol=3e-5 * np.abs(value).max())
    assert np.mean(actual[1] != mask) < 0.01


def compiled(graph: Graph, arrays: Sequence[np.ndarray], way: str | None) -> list[np.ndarray]:
    return list(tg.compile(graph.inputs, graph.outputs, conv=way)(*arrays))


@pytest.mark.parametrize("n", POINTS)
def test_matrices_are_exact(n: int) -> None:
    """Y = A^T [(G g) * (B^T d)] in rational numbers, for all splits of n + 1 into m and r."""
    for r in range(2, n):
        m = n - r + 1
        a_t, g, b_t = (np.array(x, object) for x in transforms(m, r))
        filter_, data = np.arange(1, r + 1), np.arange(n) ** 2 - 3
        expected = [sum(filter_ * data[i : i + r]) for i in range(m)]
        assert list(a_t @ ((g @ filter_) * (b_t @ data))) == expected
        assert np.all(b_t.astype(np.float32).astype(float) == b_t.astype(float))


@pytest.mark.parametrize("batch, cin, cout, size, r, padding, m", SIZES)
@pytest.mark.parametrize("lanes, registers", [(16, 32), (4, 16)])
def test_twin(batch, cin, cout, size, r, padding, m, lanes: int, registers: int) -> None:
    graph, arrays = convolution(batch, cin, cout, size, r, padding)
    plan = planned(graph, f"winograd({m})", CpuTarget(lanes, registers))
    assert is_winograd(plan)
    check(execute_plan(plan, graph, *arrays), graph, arrays)


@pytest.mark.parametrize("batch, cin, cout, size, r, padding, m", NATIVE)
def test_compiled(batch, cin, cout, size, r, padding, m) -> None:
    graph, arrays = convolution(batch, cin, cout, size, r, padding)
    check(compiled(graph, arrays, f"winograd({m})"), graph, arrays)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v2"])
def test_other_vector_widths(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if detect().lanes < detect(level).lanes:
        pytest.skip("this processor has narrower vectors")
    monkeypatch.setenv("TINYGRAPH_CPU", level)
    graph, arrays = convolution(1, 9, 21, (8, 7), 3, 1)
    check(compiled(graph, arrays, "winograd(4)"), graph, arrays)


def channels_last(x: Node) -> Node:
    return tg.transpose(x, (0, 3, 1, 2))


def test_gradient_to_the_input_turns_the_filter_round() -> None:
    g, w = tg.input("g", 2, 7, 6, 5), tg.input("w", 1, 5, 8, 3, 3)
    five = tg.reshape(channels_last(g), (2, 1, 5, 7, 6))
    x = CONV2D_INPUT_GRADIENT(
        five, w, size=(7, 6), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1)
    )
    y = tg.transpose(tg.reshape(x, (2, 8, 7, 6)), (0, 2, 3, 1))
    graph = Graph("g", (g, w), (y,))
    arrays = [normal(*n.shape) for n in graph.inputs]
    plan = planned(graph, "winograd(4)")
    assert is_winograd(plan)
    (expected,) = tg.run(graph, *arrays)
    for (actual,) in (execute_plan(plan, graph, *arrays), compiled(graph, arrays, "winograd(4)")):
        np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_groups() -> None:
    x, w = tg.input("x", 2, 9, 8, 8), tg.input("w", 10, 4, 3, 3)
    y = tg.conv2d(channels_last(x), w, padding=1, groups=2)
    graph = graph_of(tg.transpose(y, (0, 2, 3, 1)))
    arrays = [normal(*n.shape) for n in graph.inputs]
    plan = planned(graph, "winograd(2)")
    assert is_winograd(plan)
    (expected,) = tg.run(graph, *arrays)
    for (actual,) in (execute_plan(plan, graph, *arrays), compiled(graph, arrays, "winograd(2)")):
        np.testing.assert_allclose(actual, expected, atol=2e-5)


STRIDED = [
    # batch, input and output channels, image, filter, stride, padding, groups
    (1, 3, 20, (19, 16), (7, 7), 2, 3, 1),
    (2, 3, 33, (24, 29), (11, 11), 4, 0, 1),
    (2, 6, 10, (9, 13), (3, 3), 2, 1, 2),
    (1, 1, 1, (16, 11), (5, 6), 3, 2, 1),  # both filters have two blocks
    (2, 6, 5, (7, 9), (3, 3), 1, 1, 1),  # blocks of one pixel, if channels come first
    (1, 17, 16, (6, 6), (5, 5), 1, 2, 1),
    (1, 4, 6, (8, 5), (3, 3), 1, 0, 2),
    (3, 1, 33, (4, 4), (3, 3), 1, 2, 1),
]


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("batch, cin, cout, size, kernel, stride, padding, groups", STRIDED)
def test_strides(batch, cin, cout, size, kernel, stride, padding, groups, last: bool) -> None:
    """Images that no block divides, odd padding, groups, weights that change from run to run; NaN
    where no output looks.
    """
    x = tg.input("x", batch, *((*size, cin) if last else (cin, *size)))
    w = tg.input("w", cout, cin // groups, *kernel)
    image = channels_last(x) if last else x
    y = tg.conv2d(image, w, stride=stride, padding=padding, groups=groups)
    graph = graph_of(tg.transpose(y, (0, 2, 3, 1)))
    arrays = [normal(*n.shape) for n in graph.inputs]
    pixels = arrays[0] if last else arrays[0].transpose(0, 2, 3, 1)
    bottom, right = (stride * (y.shape[2 + a] - 1) + kernel[a] - padding for a in (0, 1))
    pixels[:, bottom:], pixels[:, :, right:] = np.nan, np.nan
    plan = planned(graph, "winograd")
    assert is_winograd(plan)
    (expected,) = tg.run(graph, *arrays)
    for (actual,) in (execute_plan(plan, graph, *arrays), compiled(graph, arrays, "winograd")):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "r, options",
    [
        (1, {"stride": 2}),
        (2, {"stride": 2}),
        (2, {"stride": 3}),
        (3, {"stride": 2, "dilation": 2}),
        (3, {"stride": (2, 1)}),
    ],
)
def test_strides_without_overlapping_windows_are_left_alone(r: int, options: dict) -> None:
    assert not is_winograd(planned(plain(8, 16, 13, r, **options), "winograd"))


def test_strided_convolutions_of_one_image_share_its_blocks() -> None:
    x = tg.input("x", 1, 3, 32, 32)
    both = [tg.input(name, 16, 3, 7, 7) for name in "vw"]
    ys = [tg.conv2d(x, w, stride=2, padding=3) for w in both]
    graph = graph_of(*(tg.transpose(y, (0, 2, 3, 1)) for y in ys))
    names = [m.name for call in planned(graph, "winograd").launches for m in call.members]
    assert names.count("space_to_depth") == 3  # of the image and of two weights


def plain(cin: int, cout: int, size: int, r: int, **options: int | tuple[int, int]) -> Graph:
    x = tg.input("x", 1, size, size, cin)
    w = tg.parameter(normal(cout, cin, r, r) / np.float32(r * cin**0.5), "w")
    with tg.scope("block1"):
        y = tg.conv2d(channels_last(x), w, **options)
    return Graph("g", (x,), (tg.transpose(y, (0, 2, 3, 1)),))


def test_choices_and_remarks() -> None:
    large = schedule(plain(96, 128, 28, 3, padding=1))
    assert is_winograd(large)
    found = next(r for r in large.remarks if "winograd" in r)
    assert "winograd(4), 3x3 stride 1, 4.0 times fewer multiplications" in found
    assert not is_winograd(schedule(plain(3, 4, 28, 3, padding=1)))
    assert not is_winograd(schedule(plain(96, 128, 28, 3, padding=1, stride=2)))
    assert not is_winograd(schedule(plain(96, 128, 28, 1)))
    assert not is_winograd(planned(plain(96, 128, 28, 3), "implicit"))
    dilated = planned(plain(96, 128, 28, 3, dilation=2), "winograd")
    assert any("implicit, because its windows have gaps" in r for r in dilated.remarks)


BETWEEN = {
    "reflected": lambda y: tg.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect"),
    "edges": lambda y: tg.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge"),
    "rows": lambda y: tg.take(y, [0, 2, 4, 6, 7, 9, 11, 20, 21], 2),
    "a grid of rows": lambda y: tg.reshape(
        tg.take(y, np.arange(24).reshape(6, 4), 2), (2, 96, 24, 28)
    ),
    "images": lambda y: tg.take(y, [1, 0, 1], 0),
    "channels": lambda y: tg.take(y, np.arange(96)[::-1], 1),
    "along": lambda y: tg.take_along_axis(y, tg.cast(y, "int32"), 2),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_gathered_images_are_stored_as_they_were(between: str) -> None:
    """Channels stay innermost, so that the next convolution is Winograd's, too."""
    x = tg.input("x", 2, 28, 28, 96)
    weights = [tg.parameter(normal(96, 96, 3, 3) / np.float32(30), name) for name in "vw"]
    y = BETWEEN[between](tg.conv2d(channels_last(x), weights[0], padding=1))
    y = tg.conv2d(y, weights[1], padding=1)
    plan = schedule(Graph("g", (x,), (tg.transpose(y, (0, 2, 3, 1)),)))
    names = [m.name for call in plan.launches for m in call.members]
    assert sum("winograd" in name for name in names) == 2, names


def test_stems_are_winograd_after_space_to_depth() -> None:
    stem = plain(3, 64, 224, 7, stride=2, padding=3)
    plan = schedule(stem)
    assert [m.name for call in plan.launches for m in call.members] == [
        "space_to_depth",
        "conv2d_transpose_winograd4",
    ]
    method = "winograd(4) after space to depth by 2, 7x7 stride 2, 4.0 times fewer multiplications"
    assert any(method in r for r in plan.remarks)
    assert is_winograd(schedule(plain(3, 96, 227, 11, stride=4)))
    assert not is_winograd(planned(stem, "implicit"))
    assert not is_winograd(schedule(stem, target=NO_WINOGRAD))
    remarks = schedule(plain(96, 128, 28, 3, padding=1, stride=2)).remarks
    assert any("implicit, 3x3 stride 2; winograd" in r for r in remarks)


def test_channels_that_come_first_are_put_last() -> None:
    """Only the image is copied; few channels are not worth it."""
    x = tg.input("x", 1, 96, 28, 28)
    w = tg.parameter(normal(128, 96, 3, 3), "w")
    plan = schedule(Graph("g", (x,), (tg.transpose(tg.conv2d(x, w, padding=1), (0, 2, 3, 1)),)))
    names = [m.name for call in plan.launches for m in call.members]
    assert names == ["channels_last", "conv2d_transpose_winograd4"]
    assert any("winograd(4) after channels were put last, 3x3 stride 1" in r for r in plan.remarks)
    assert [m.name for call in plan.prepare for m in call.members] == ["winograd_weights"]
    assert not is_winograd(schedule(graph_of(tg.conv2d(tg.input("x", 1, 3, 224, 224), w[:64, :3]))))


def test_a_backend_without_winograd_gets_none() -> None:
    """It gets a graph that does the same: see test_winograd_graph.py."""
    plan = planned(plain(32, 32, 16, 3), "winograd", NO_WINOGRAD)
    assert not is_winograd(plan) and not any("winograd" in r for r in plan.remarks)


def test_choices_by_scope() -> None:
    graph = plain(96, 128, 28, 3)
    assert not is_winograd(schedule(graph, conv={"block1": "implicit"}))
    assert is_winograd(schedule(graph, conv={"block2": "implicit"}))
    with pytest.raises(ValueError, match="conv requires"):
        schedule(graph, conv={"": "fft"})


def test_weights_that_stand_still_are_transformed_once() -> None:
    graph = plain(8, 8, 8, 3)
    plan = planned(graph, "winograd(2)")
    assert any(m.name == "winograd_weights" for call in plan.prepare for m in call.members)
    assert len(plan.launches) == 1


def test_nan_stays_and_does_not_come_from_outside() -> None:
    """A NaN spreads over its tile at most; what no output needs cannot be one."""
    x, w = tg.input("x", 1, 9, 9, 4), tg.input("w", 4, 4, 3, 3)
    y = tg.conv2d(channels_last(x[:, :7, :7]), w)
    graph = graph_of(tg.transpose(y, (0, 2, 3, 1)))
    image, weights = normal(1, 9, 9, 4), normal(4, 4, 3, 3)
    image[:, 7:], image[:, :, 7:] = np.nan, np.nan
    for way in ("twin", "compiled"):
        for place, count in ((8, 0), (3, 9)):
            image[0, place, place] = np.nan
            arrays = [image.copy(), weights]
            if way == "twin":
                (actual,) = execute_plan(planned(graph, "winograd(4)"), graph, *arrays)
            else:
                (actual,) = compiled(graph, arrays, "winograd(4)")
            nan = np.isnan(actual[0, :, :, 0])
            expected = np.isnan(tg.run(graph, *arrays)[0][0, :, :, 0])
            assert expected.sum() == count and nan[expected].all() and (count or not nan.any())
        image[0, 3, 3] = 0


@pytest.mark.parametrize(
    "cin, cout, size, r, options",
    [(40, 72, 21, 3, {"padding": 1}), (3, 40, 65, 7, {"stride": 2, "padding": 3})],
)
def test_same_bits_on_any_number_of_threads(cin, cout, size, r, options) -> None:
    graph = plain(cin, cout, size, r, **options)
    x = normal(*graph.inputs[0].shape)
    program = tg.compile(graph.inputs, graph.outputs, conv="winograd(4)")
    (many,) = program(x)
    program._runner.threads = 1
    (one,) = program(x)
    np.testing.assert_array_equal(many, one)
