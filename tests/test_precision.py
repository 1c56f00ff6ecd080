"""precision="bfloat16": what is rounded, what is not, and that it trains."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.graph.dtype import astype, name_of
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import OPS, Kind
from tinygraph.inspect.profile import Profile, Timing
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.ops.linalg import MATMUL, OUTER_SUM
from tinygraph.plan.records.device import Roofline
from tinygraph_cpu.machine.features import detect

BF16 = "bfloat16"
LEVELS = ("native", "x86-64-v3")
WINDOW = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
STRIDED = WINDOW | {"stride": (2, 2)}
NONE = WINDOW | {"padding": ((0, 0), (0, 0))}


def wide(name: str, *shape: int) -> Node:
    """An input of bfloat16, as float32."""
    return tg.cast(tg.input(name, *shape, dtype=BF16), "float32")


def last(name: str, n: int, height: int, width: int, channels: int) -> Node:
    """Images whose channels are innermost, as [n, group, channels, height, width]."""
    return tg.transpose(wide(name, n, height, width, 1, channels), (0, 3, 4, 1, 2))


PRODUCTS = {
    "matmul": lambda: wide("a", 37, 64) @ wide("b", 64, 50),
    "matmul of odd depth": lambda: wide("a", 3, 15, 33) @ wide("b", 3, 33, 17),
    "matmul of transposes": lambda: tg.transpose(wide("a", 64, 9)) @ tg.transpose(wide("b", 7, 64)),
    "row": lambda: wide("a", 1, 64) @ wide("b", 64, 50),
    "column": lambda: wide("a", 37, 64) @ wide("b", 64, 1),
    "outer sum": lambda: OUTER_SUM(wide("a", 3, 5, 37), wide("b", 3, 5, 50)),
    "long sum": lambda: wide("a", 3, 40_002) @ wide("b", 40_002, 5),
    "convolution": lambda: CONV2D(last("x", 2, 9, 7, 6), wide("w", 1, 17, 6, 3, 3), **WINDOW),
    "convolution, 3 channels": lambda: CONV2D(
        wide("x", 2, 1, 3, 9, 7), wide("w", 1, 5, 3, 3, 3), **STRIDED
    ),
    "groups": lambda: CONV2D(wide("x", 2, 2, 4, 9, 7), wide("w", 2, 5, 4, 3, 3), **WINDOW),
    "gradient to images": lambda: CONV2D_INPUT_GRADIENT(
        last("g", 2, 9, 7, 16), wide("w", 1, 16, 5, 3, 3), size=(9, 7), **WINDOW
    ),
    "gradient to images, strided": lambda: CONV2D_INPUT_GRADIENT(
        last("g", 2, 5, 4, 16), wide("w", 1, 16, 5, 3, 3), size=(9, 7), **STRIDED
    ),
    "gradient to weights": lambda: CONV2D_WEIGHT_GRADIENT(
        last("x", 3, 9, 7, 6), last("g", 3, 9, 7, 17), kernel=(3, 3), **WINDOW
    ),
    "gradient to weights, strided": lambda: CONV2D_WEIGHT_GRADIENT(
        last("x", 3, 9, 7, 6), last("g", 3, 5, 4, 17), kernel=(3, 3), **STRIDED
    ),
    "gradient to weights, 1x1": lambda: CONV2D_WEIGHT_GRADIENT(
        last("x", 3, 9, 7, 6), last("g", 3, 9, 7, 17), kernel=(1, 1), **NONE
    ),
}


def draws(inputs: list[Node]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [astype(rng.standard_normal(i.shape), i.dtype) for i in inputs]


def compiled(node: Node, **options) -> tuple[tg.Program, np.ndarray, np.ndarray]:
    """The program of a node, what it gives for random inputs, and what NumPy gives."""
    inputs = [n for n in Graph("", (), (node,)).nodes if n.op.name == "input"]
    program, arrays = tg.compile(inputs, [node], **options), draws(inputs)
    return program, program(*arrays)[0], run(Graph("", tuple(inputs), (node,)), *arrays)[0]


def of(program: tg.Program, kind: Kind = Kind.ANCHOR) -> list[Node]:
    return [n for n in program.inspection.compiled.graph.nodes if n.op.kind is kind]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_widened_operands_are_narrow(name, monkeypatch):
    """With the instruction and without, and as plain loops."""
    for level in LEVELS:
        monkeypatch.setenv("TINYGRAPH_CPU", level)
        program, got, want = compiled(PRODUCTS[name]())
        (product,) = of(program)
        assert {x.dtype for x in product.inputs} == {BF16} and product.dtype == "float32"
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())
    monkeypatch.setenv("TINYGRAPH_CPU", "native")
    _, plain, want = compiled(PRODUCTS[name](), without=["contract"])
    np.testing.assert_allclose(plain, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


def test_accumulate_is_an_argument_of_products():
    a, b = (tg.input(n, 6, 6, dtype=BF16) for n in "ab")
    exact, once = tg.matmul(a, b, accumulate="float32"), tg.matmul(a, b)
    assert exact.dtype == "float32" and once.dtype == BF16
    (x, w), arrays = (a, b), draws([a, b])
    got = run(exact, *arrays)
    assert np.array_equal(astype(got, BF16), run(once, *arrays))
    image, kernel = tg.input("x", 1, 2, 6, 6, dtype=BF16), tg.input("w", 3, 2, 3, 3, dtype=BF16)
    y = tg.conv2d(image, kernel, accumulate="float32")
    assert y.dtype == "float32" and tg.grad(tg.sum(y), [kernel])[0].dtype == BF16
    assert tg.grad(tg.sum(exact), [x, w])[1].dtype == BF16
    with pytest.raises(tg.ShapeError, match="bfloat16 for accumulate='float32', got f32"):
        tg.matmul(tg.zeros((2, 2)), tg.zeros((2, 2)), accumulate="float32")
    with pytest.raises(tg.ShapeError, match="'int32', 'float32' or None, got 'float64'"):
        tg.matmul(a, b, accumulate="float64")
    narrow = MATMUL(a, b, accumulate="float32")
    assert tg.grad(tg.sum(narrow), [a])[0].dtype == BF16
    assert np.array_equal(run(narrow, *arrays), got)
    assert tg.dump(tg.parse(tg.dump(Graph("f", (a, b), (narrow,))))) == tg.dump(
        Graph("f", (a, b), (narrow,))
    )


# -- networks --------------------------------------------------------------------------------------


class Small(nn.Module):
    """Convolutions with batch normalization, a branch and a join, pools, a residual, a softmax."""

    def __init__(self):
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x, training=False):
        x = tg.max_pool2d(tg.relu(self.norm(self.first(x), training=training)), 2)
        x = tg.concat([self.left(x), tg.relu(self.right(x))], 1)
        x = tg.max_pool2d(tg.relu(x + self.depthwise(x)), 2)
        return self.last(tg.reshape(x, x.shape[0], -1))


def step_of(net: nn.Module, batch: int = 8, size: int = 16, **options) -> tg.Program:
    x, y = tg.input("x", batch, 3, size, size), tg.input("y", batch, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(0.05, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, y], [loss], updates=updates, **options)


def examples(batch: int = 8, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, batch).astype(np.int32)
    return rng.standard_normal((batch, 3, size, size), np.float32), labels


@pytest.fixture(autouse=True)
def small_values(monkeypatch):
    """Values of few elements are rounded, too."""
    monkeypatch.setattr(sys.modules["tinygraph.passes.mixed_precision"], "SMALL", 16)


def test_a_step_keeps_what_must_be_float32():
    program = step_of(Small(), precision=BF16, verify="values")
    anchors = of(program)
    narrow = [n for n in anchors if n.inputs[0].dtype == BF16]
    assert len(narrow) == 11 and len(anchors) == 14  # depthwise: forward and two gradients
    assert all(n.dtype == "float32" for n in anchors)
    sums = [n for n in of(program, Kind.REDUCE) if n.op.fold == "sum"]
    assert sums and all(n.dtype == "float32" for n in sums)
    assert all(o.dtype == "float32" for o in program.graph.outputs)
    text = "\n".join(program.remarks)
    assert "precision: 11 products in bfloat16" in text
    assert "a softmax normalizes it" in text and "it has few channels" in text
    assert "mixed_precision" in program.stages and "bf16[" in program.dump("mixed_precision")
    plan = program.dump("plan")
    assert "matmul" in plan


def test_gradients_of_greatest_elements_find_them():
    """A window's greatest element is rounded with all others, or its gradient is lost."""
    net = Small()
    x, y = tg.input("x", 8, 3, 16, 16), tg.input("y", 8, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    gradients = tg.grad(loss, net.parameters())
    arrays = examples()
    exact = tg.compile([x, y], gradients)(*arrays)
    got = tg.compile([x, y], gradients, precision=BF16)(*arrays)
    for p, a, b in zip(net.parameters(), exact, got, strict=True):
        if p.name != "first.bias":  # which batch normalization takes away
            assert np.linalg.norm(a - b) < 0.3 * np.linalg.norm(a), p.name


def test_training_ends_where_float32_does():
    losses = {}
    for precision in (None, BF16):
        tg.manual_seed(0)
        net = Small()
        step, batch = step_of(net, precision=precision), examples()
        losses[precision] = [float(step(*batch)[0]) for _ in range(30)]
    assert losses[BF16][-1] < 0.05 * losses[BF16][0]
    assert abs(losses[BF16][5] - losses[None][5]) < 0.05 * losses[None][0]


def test_inference_rounds_folded_weights_once():
    """Batch normalization's scales go into the weights before these are rounded."""
    net = Small()
    x = tg.input("x", 2, 3, 16, 16)
    program = tg.compile([x], [net(x)], precision=BF16)
    (image,) = examples(2)[:1]
    exact = tg.compile([x], [net(x)])(image)[0]
    got = program(image)[0]
    assert name_of(got.dtype) == "float32"
    assert 0 < np.linalg.norm(got - exact) < 0.02 * np.linalg.norm(exact)
    images = [n for n in program.inspection.compiled.graph.nodes if n.shape == (2, 8, 16, 16)]
    assert images and not any(n.op in (OPS["div"], OPS["rsqrt"]) for n in images)


def test_bits_do_not_depend_on_threads():
    found = []
    for threads in (1, 2, 3):
        tg.settings.threads = threads
        tg.manual_seed(0)
        step = step_of(Small(), precision=BF16)
        found.append([step(*examples())[0] for _ in range(3)])
    tg.settings.threads = None
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_programs_of_other_precisions_are_other_programs():
    x, net = tg.input("x", 4, 64), nn.Linear(64, 64)
    one, other = (tg.compile([x], [net(x)], precision=p) for p in ("float32", BF16))
    array = draws([x])[0]
    assert not np.array_equal(one(array)[0], other(array)[0])
    with pytest.raises(ValueError, match="precision requires one of float32, bfloat16"):
        tg.compile([x], [net(x)], precision="float16")
    with pytest.raises(ValueError, match="requires the pass mixed_precision"):
        tg.compile([x], [net(x)], precision=BF16, passes=[])


def test_programs_are_compared_layer_by_layer():
    x, net = tg.input("x", 2, 3, 16, 16), Small()
    exact, half = (tg.compile([x], [net(x)], precision=p) for p in (None, BF16))
    found = half.compare(exact, examples(2)[0])
    names = [each.name for each in found.layers]
    assert {"first", "last", "output 0"} <= set(names) and "output 0" in str(found)
    assert 0 < found.worst.error < 0.05
    assert max(each.error for each in exact.compare(exact, examples(2)[0]).layers) == 0
    other = tg.input("x", 3)
    with pytest.raises(ValueError, match="no layer and no output in common"):
        half.compare(tg.compile([other], [other * 2]), examples(2)[0])


def test_a_profile_knows_how_fast_narrow_products_are():
    """Products of bfloat16 have a peak of their own; what is done to their sums has not."""
    x, w = tg.input("x", 64, 256, dtype=BF16), tg.input("w", 256, 64, dtype=BF16)
    program = tg.compile([x, w], [tg.relu(tg.matmul(x, w, accumulate="float32"))])
    costs = program.inspection.costs
    seconds = [1e-3] * len(costs)
    product = 64 * 64 * (2 * 256 - 1)
    for times, slow in (({}, product + 64 * 64), ({BF16: 16.0}, product / 16 + 64 * 64)):
        found = Profile("f", Timing(seconds, 1e-3, Roofline(1, 1e9, 1e12, times)), costs)
        assert sum(row.roofline * 1e-3 for row in found.launches) == pytest.approx(slow / 1e9, 0.01)
        assert ("16 in bfloat16" in str(found)) == bool(times)
    peak = program.profile(*draws([x, w])).peak
    assert set(peak.times) == ({BF16} if detect().dot_bfloat16 else set()) | (
        {"uint8", "int8"} if detect().dot == "vpdpbusd" else set()
    )
