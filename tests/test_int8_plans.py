"""Products of bytes in plans: depthwise convolutions, lines of small images, what is stored as
bytes, and remarks about what stays in floats.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan
from targets import AMX, NARROW, SMALL, WIDE, schedule
from tinygraph import nn
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS
from tinygraph.ops.conv import CONV2D_INTEGER
from tinygraph.passes.integer_products import bounds
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.work import Nest, Tile
from tinygraph.plan.verify import verify_plan

ENDS = {"int8": (-128, 128), "uint8": (0, 256)}


def drawn(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(*ENDS[dtype], shape).astype(dtype)


def tiles(plan: Plan) -> list[Tile]:
    return [m.work for launch in plan.launches for m in launch.members if isinstance(m.work, Tile)]


def calibrated(x: tg.Node, y: tg.Node, array: np.ndarray, **options: object) -> tg.Program:
    ranges = tg.calibrate(tg.compile([x], [y]), [array])
    return tg.compile([x], [y], quantize=ranges, **options)


# -- depthwise convolutions ------------------------------------------------------------------------

WINDOWS = [  # taps, stride, padding
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((5, 5), (2, 2), ((2, 1), (1, 2))),
    ((3, 1), (1, 2), ((0, 0), (0, 0))),
    ((7, 7), (1, 1), ((3, 3), (3, 3))),
]


@pytest.mark.parametrize("level", ["native", "x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_depthwise_convolutions_of_bytes(window, dtype, level, monkeypatch):
    """Bytes are read where they are, and the sums are those of integers; all numbers that bytes
    have, channels that do not fill a vector.
    """
    monkeypatch.setattr(tg.settings, "cpu", level)
    taps, stride, padding = window
    attrs = {"stride": stride, "padding": padding, "dilation": (1, 1)}
    for channels in (2, 19, 48):
        x = tg.input("x", 2, 9, 11, channels, dtype=dtype)
        w = drawn("int8", channels, 1, 1, *taps)
        images = tg.reshape(tg.transpose(x, (0, 3, 1, 2)), (2, channels, 1, 9, 11))
        program = tg.compile([x], [CONV2D_INTEGER(images, tg.constant(w), **attrs)])
        array = drawn(dtype, *x.shape)
        whole = array.transpose(0, 3, 1, 2).reshape(images.shape).astype(np.int64)
        want = OPS["conv2d"].ref(whole, w.astype(np.int64), **attrs)
        np.testing.assert_array_equal(program(array)[0], want)


class Separable(nn.Module):
    """An inverted bottleneck: what the depthwise convolution reads is at 0 or above, or not."""

    def __init__(self, signed: bool) -> None:
        self.wide, self.deep = nn.Conv2d(8, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.back, self.signed = nn.Conv2d(24, 8, 1), signed

    def forward(self, x, training=False):
        y = self.wide(x)
        y = self.deep(tg.silu(y) if self.signed else tg.relu6(y))
        return self.back(tg.relu6(y)) + x


@pytest.mark.parametrize("signed", [False, True])
def test_a_depthwise_network_is_in_bytes_throughout(signed, monkeypatch):
    tg.manual_seed(0)
    x = tg.input("x", 2, 8, 9, 10)
    y, array = Separable(signed)(x), np.random.default_rng(0).standard_normal(x.shape)
    array = array.astype(np.float32)
    program = calibrated(x, y, array)
    graph = program.inspection.compiled.graph
    assert sum(n.op is CONV2D_INTEGER for n in graph.nodes) == 3
    want = tg.run(graph, array)[0]
    for threads in (1, 2):
        monkeypatch.setattr(tg.settings, "threads", threads)
        np.testing.assert_array_equal(program(array)[0], want)
    for target in (WIDE, NARROW, SMALL, AMX):
        plan = verify_plan(schedule(graph, target=target))
        pairs = [t.contraction.factors for t in tiles(plan)]
        assert ("uint8", "float32") in pairs and len(pairs) == 3
        np.testing.assert_array_equal(execute_plan(plan, graph, array)[0], want)
    floats = tg.compile([x], [y])(array)[0]
    assert np.sqrt(np.mean((want - floats) ** 2)) < 0.03 * floats.std()


# -- products of int32 that are ones of bytes ------------------------------------------------------


def less(q: tg.Node, zero: object) -> tg.Node:
    """Bytes less their zero point, as operators of ONNX with integers have it."""
    return tg.cast(q, "int32") - tg.cast(zero, "int32")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 3, None])
def test_products_of_bytes_that_are_written_in_int32(dtype, zero):
    """With a zero point that is a number, or computed, as that of values rounded at run time."""
    x, at = tg.input("x", 3, 4, 10, dtype=dtype), tg.input("at", dtype=dtype)
    w, none = drawn("int8", 10, 7), tg.constant(np.zeros(7, np.int8))
    given = at if zero is None else tg.constant(np.array(zero, dtype))
    y = tg.matmul(less(x, given), less(tg.constant(w), none))
    array = drawn(dtype, *x.shape)
    program = tg.compile([x, at], [y])
    assert any(n.op.name == "matmul_integer" for n in program.inspection.compiled.graph.nodes)
    move = np.array(5 if zero is None else zero, dtype)
    want = (array.astype(np.int32) - move.astype(np.int32)) @ w.astype(np.int32)
    np.testing.assert_array_equal(program(array, move)[0], want)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("groups", [1, 8])
def test_convolutions_of_bytes_that_are_written_in_int32(dtype, zero, groups):
    x, w = tg.input("x", 2, 8, 6, 5, dtype=dtype), drawn("int8", 8, 8 // groups, 3, 3)
    given = less(x, tg.constant(np.array(zero, dtype))), tg.cast(tg.constant(w), "int32")
    y = tg.conv2d(*given, padding=1, groups=groups)
    array = drawn(dtype, *x.shape)
    program = tg.compile([x], [y])
    assert any(n.op is CONV2D_INTEGER for n in program.inspection.compiled.graph.nodes)
    whole = tg.input("whole", *x.shape, dtype="int32")
    plain = tg.conv2d(whole, given[1], padding=1, groups=groups)
    want = tg.run(Graph("plain", (whole,), (plain,)), array.astype(np.int32) - zero)[0]
    np.testing.assert_array_equal(program(array)[0], want)


def test_products_of_int32_that_are_no_bytes_stay():
    x, w = tg.input("x", 4, 8, dtype="uint8"), tg.constant(drawn("int8", 8, 5))
    wide, at = tg.cast(w, "int32"), tg.input("at", 4, 1, dtype="uint8")
    cases = (tg.cast(x, "int32") * 3, wide), (less(x, at), wide), (tg.cast(x, "int32"), wide + 1)
    for left, right in cases:
        program = tg.compile([x, at], [tg.matmul(left, right)])
        graph = program.inspection.compiled.graph
        assert not any(n.op.name == "matmul_integer" for n in graph.nodes)
        arrays = drawn("uint8", 4, 8), drawn("uint8", 4, 1)
        np.testing.assert_array_equal(program(*arrays)[0], tg.run(program.graph, *arrays)[0])


# -- tiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 7), (6, 9), (14, 14)])
def test_tiles_have_several_lines_of_small_images(size):
    """Rows of matrix registers go on from one line of a picture to the next, over its padding."""
    x = tg.input("x", 3, 1, 64, *size, dtype="uint8")
    w = drawn("int8", 1, 96, 64, 3, 3)
    attrs = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    other = tg.input("other", 3, 1, 96, *size, dtype="int32")
    program = tg.compile([x, other], [CONV2D_INTEGER(x, tg.constant(w), **attrs) + other])
    arrays = drawn("uint8", *x.shape), drawn("int8", *other.shape).astype(np.int32)
    want = OPS["conv2d"].ref(arrays[0].astype(np.int64), w.astype(np.int64), **attrs) + arrays[1]
    np.testing.assert_array_equal(program(*arrays)[0], want)
    graph = program.inspection.compiled.graph
    plan = verify_plan(schedule(graph, target=AMX))
    (tile,) = tiles(plan)
    assert tile.contraction.lines > 1 and tile.contraction.pitch == size[1] + 2
    np.testing.assert_array_equal(execute_plan(plan, graph, *arrays)[0], want)


def test_pictures_of_few_channels_are_padded_in_whole_vectors():
    x, conv = tg.input("x", 1, 3, 64, 80), nn.Conv2d(3, 16, 3, stride=2, padding=1)
    array = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    plan = calibrated(x, conv(x), array).inspection.compiled.plan
    (pad,) = (launch.work for launch in plan.launches if launch.name == "pad")
    assert isinstance(pad, Nest) and pad.style == "unrolled"


# -- what is stored --------------------------------------------------------------------------------


def test_a_shortcut_with_a_layer_is_stored_as_bytes():
    """The first of two results that are added is rounded; a kernel reads a byte of it."""
    tg.manual_seed(0)
    x = tg.input("x", 2, 8, 6, 6)
    left, right, norms = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(8, 16, 1), [nn.BatchNorm2d(16)]
    y = nn.Conv2d(16, 8, 1)(tg.relu(norms[0](left(x)) + right(x)))
    array = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    floats = tg.compile([x], [y])
    ranges = tg.calibrate(floats, [array])
    (added,) = (entry["result"] for entry in ranges.values() if "result" in entry)
    assert added["low"] < 0 < added["high"]
    program = tg.compile([x], [y], quantize=ranges)
    graph, plan = program.inspection.compiled.graph, program.inspection.compiled.plan
    first, second, _ = tiles(plan)
    assert [o.dtype for o in first.contraction.operands if o.rows] == ["uint8"]
    assert [o.dtype for o in second.contraction.operands if o.rows] == ["uint8"] * 2
    np.testing.assert_array_equal(program(array)[0], tg.run(graph, array)[0])
    want = floats(array)[0]
    assert np.sqrt(np.mean((program(array)[0] - want) ** 2)) < 0.02 * want.std()


def test_activations_that_integers_bound_anyway_are_left_out():
    x = tg.input("x", 4)
    assert bounds(tg.relu6(x)) == (x, 0.0, 6.0) == bounds(tg.clip(x, 0.0, 6.0))
    assert bounds(tg.relu(x)) == (x, 0.0, None)
    assert bounds(tg.hardtanh(x, -2.0, 3.0)) == (x, -2.0, 3.0)
    assert bounds(tg.where(x <= 1.0, 0.0, x)) is None and bounds(x) is None
    assert bounds(tg.where(tg.input("other", 4) <= 1.0, 1.0, x)) is None
    values = np.array([-9, -0.25, 7, np.nan], np.float32)
    for scale, zero, kept in ((6 / 255, 0, False), (6 / 255, 9, True), (0.1, 0, True)):
        y = tg.dequantize(tg.quantize(tg.relu6(x), scale, zero), scale, zero)
        program = tg.compile([x], [y])
        found = program.inspection.compiled.graph.nodes
        assert any(n.op.name == "where" for n in found) == kept
        np.testing.assert_array_equal(program(values)[0], tg.run(program.graph, values)[0])


def test_what_stays_in_floats_has_a_remark_with_its_reason():
    tg.manual_seed(0)
    x = tg.input("x", 2, 8, 6, 6)
    one, two, three = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1, groups=4)
    flat = tg.reshape(three(two(one(x))), (2, 4, 36))
    y = tg.matmul(flat, tg.transpose(flat, (0, 2, 1)))
    array = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    names = list(tg.calibrate(tg.compile([x], [y]), [array]))
    assert len(names) == 2
    remarks = calibrated(x, y, array, keep=[names[1]]).remarks
    for why in (
        "it is kept, or has no range",
        "its groups have one output channel",
        "both of its operands depend on the inputs",
    ):
        assert sum("a product of floats, because" in r and why in r for r in remarks) == 1, why
    assert not any("product of floats" in r for r in tg.compile([x], [y]).remarks)
