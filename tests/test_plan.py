"""Plans of random and of hard graphs, generated and run as plain Python, compute what the reference
computes: bit for bit, since all values are small integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from random_networks import Network, integers, networks
from tinygraph import ops
from tinygraph.codegen.assemble import assemble
from tinygraph.codegen.module import module_text
from tinygraph.codegen.python import execute
from tinygraph.interpret import run
from tinygraph.ir import Graph, Node, Parameter
from tinygraph.op import INPUT, constant, input
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.ops.view import BROADCAST_TO, PAD, RESHAPE, TRANSPOSE
from tinygraph.ops.window import WINDOW_MAX, WINDOW_SUM
from tinygraph.parameter import parameter
from tinygraph.plan import tiling
from tinygraph.plan.plan import SLACK, Plan
from tinygraph.plan.schedule import schedule
from tinygraph.plan.tiling import Target
from tinygraph.plan.verify import verify_plan

SMALL = Target(lanes=4, registers=12)  # tiles whose edges small shapes straddle
EXACT = {"": "implicit"}  # Winograd's transforms round
WITHOUT = [(), ("fuse",), ("contract",)]
IDS = ["all", "no fusion", "no contraction"]


def planned(net: Network, without: Sequence[str] = (), conv: dict[str, str] | None = None) -> Plan:
    plan = schedule(
        net.graph, net.updates, target=SMALL, without=frozenset(without), conv=conv or EXACT
    )
    return verify_plan(plan)


def results(net: Network, plan: Plan) -> list[np.ndarray]:
    """The outputs, then the new values of the updated parameters."""
    graph, code = net.graph, assemble(plan)
    parameters = tuple(dict.fromkeys((*graph.parameters, *net.updates)))
    count = len(graph.outputs) - len(net.updates)
    outputs = [np.zeros(o.shape, o.dtype) for o in graph.outputs[:count]]
    states = [
        np.array(p.state.read().transpose(p.state.order), order="C", ndmin=1) for p in parameters
    ]
    blocks = {("input", i): np.ascontiguousarray(a) for i, a in enumerate(net.arrays)}
    blocks |= {("output", i): o.reshape(-1) for i, o in enumerate(outputs)}
    blocks |= {
        ("constant", i): np.array(c.attr("value").data) for i, c in enumerate(plan.constants)
    }
    blocks |= {("parameter", i): s for i, s in enumerate(states)}
    execute(module_text(code, plan, graph), code, blocks)
    for p in net.updates:
        physical = states[parameters.index(p)].reshape([p.shape[a] for a in p.state.order])
        outputs.append(physical.transpose(np.argsort(p.state.order)) if p.shape else physical)
    return outputs


def agree(net: Network, without: Sequence[str] = (), **options: Any) -> Plan:
    plan = planned(net, without, **options)
    for got, want in zip(results(net, plan), run(net.graph, *net.arrays), strict=True):
        np.testing.assert_array_equal(got, want)
    return plan


def network(*outputs: Node, updates: dict[Parameter, Node] | None = None) -> Network:
    """A network of these outputs and updates, with integers for its inputs."""
    pairs = updates or {}
    whole = (*outputs, *pairs.values())
    inputs = tuple(n for n in Graph("", (), whole).nodes if n.op is INPUT)
    arrays = [integers(i.shape, i.dtype, seed) for seed, i in enumerate(inputs)]
    return Network(Graph("g", inputs, whole), tuple(pairs), arrays)


def state(*shape: int, order: tuple[int, ...] | None = None) -> Parameter:
    return parameter(integers(shape, "float32", len(shape)), name="p", order=order)


# -- random graphs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("without", WITHOUT, ids=IDS)
@settings(max_examples=max(150, settings.default.max_examples))
@given(net=networks())
def test_random_graphs(net, without):
    agree(net, without)


@given(net=networks(dtypes=("int32", "float64")))
def test_random_graphs_of_other_dtypes(net):
    agree(net)


# -- graphs that once went wrong -------------------------------------------------------------------


def x(*shape: int, name: str = "x") -> Node:
    return input(name, *shape)


def window(n: Node, **changes: Any) -> dict[str, Any]:
    rank = n.ndim
    return {
        "kernel": (1,) * rank,
        "stride": (1,) * rank,
        "padding": (0,) * rank,
        "size": n.shape,
    } | changes


def conv(n: Node, w: Node, **changes: Any) -> Node:
    return CONV2D(
        n, w, **({"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)} | changes)
    )


def view_is_output_and_operand() -> Network:
    t = TRANSPOSE(x(1, 5), axes=(1, 0))
    return network(x(3, 5, name="y") @ t, t)


def view_beside_a_reader_that_came_first() -> Network:
    h = ops.neg(x(3, 4))
    v = ops.flip(h, 0)
    return network(v + 1, RESHAPE(v, shape=(12,)), ops.reshape(v, 2, 6) * 2, v)


def concat_is_output() -> Network:
    h = ops.neg(x(3, 5))
    return network(ops.concat([h, ops.abs(h)], 0))


def concat_of_one_value_twice() -> Network:
    h = conv(x(1, 1, 1, 3, 5), constant(integers((1, 1, 1, 1, 2), "float32", 1)))
    return network(ops.concat([h, h], 0), h)


def concat_of_a_view() -> Network:
    p = PAD(x(2, 3, 5), widths=((0, 0, 0), (0, 0, 0), (0, 0, 1)), value=0)
    return network(ops.concat([p, p], 0))


def concat_of_fixed_and_run() -> Network:
    p = state(2, 5) * 2
    return network(ops.concat([p, x(3, 5)], 0), p + 1)


def part_of_a_concat_read_as_another_shape() -> Network:
    h = ops.neg(x(4, 6))
    return network(ops.concat([h, x(4, 2, name="y")], 1), RESHAPE(h, shape=(3, 8)) * 2)


def template_to_two_outputs() -> Network:
    c = ops.cumsum(x(3, 5), 0)
    return network(c, c, ops.concat([x(1, 5, name="y"), c], 0))


def template_of_a_padded_value() -> Network:
    return network(ops.cumsum(PAD(ops.neg(x(3, 5)), widths=((1, 1, 0), (0, 0, 0)), value=1), 0))


def gather_from_a_padded_value() -> Network:
    p = PAD(x(3, 5), widths=((1, 1, 0), (2, 0, 0)), value=2)
    return network(ops.take(p, np.array([0, 4, 2]), 0))


def padded_ramp() -> Network:
    r = PAD(ops.cast(ops.arange(5), "float32"), widths=((2, 1, 0),), value=-1)
    i = PAD(ops.arange(5), widths=((2, 1, 1),), value=-1)
    return network(r * x(8), i, ops.flip(i, 0))


def product_with_a_ramp() -> Network:
    return network(x(3, 5) @ ops.axis_index((5, 2), 0, "float32"))


def ramp_of_another_shape() -> Network:
    r = ops.axis_index((4, 6), 0, "float32")
    return network(RESHAPE(r, shape=(3, 8)) + x(3, 8), RESHAPE(r, shape=(24,)))


def padded_fill() -> Network:
    ones = BROADCAST_TO(constant(3.0), shape=(2, 3))
    return network(PAD(ones, widths=((1, 0, 0), (0, 2, 1)), value=0) * x(3, 7))


def padding_of_padding() -> Network:
    p = PAD(x(2, 3, 5), widths=((0, 0, 0), (0, 0, 0), (0, 0, 1)), value=0)
    w = constant(integers((1, 1, 2, 1, 1), "float32", 1))
    return network(conv(RESHAPE(p, shape=(1, 1, 2, 3, 9)), w, padding=((0, 0), (0, 1))))


def maxima_beyond_another_edge() -> Network:
    p = PAD(x(4, 4), widths=((1, 1, 0), (1, 1, 0)), value=0)
    return network(WINDOW_MAX(p, **window(p, kernel=(3, 3), padding=(1, 1))))


def two_paddings_of_one_image() -> Network:
    n, w = x(1, 1, 2, 5, 5), constant(integers((1, 3, 2, 3, 3), "float32", 1))
    near = conv(n, w, padding=((1, 1), (1, 1)))
    return network(near, conv(n, w, padding=((1, 3), (1, 2))))


def window_of_one_tap() -> Network:
    h = x(3, 4, 4) * 2
    s = WINDOW_SUM(h, **window(h))
    return network(s, ops.sum(WINDOW_SUM(x(3, 4, 4), **window(h)), 2))


def windows_of_one_tap_on_each_other() -> Network:
    y = TRANSPOSE(WINDOW_SUM(x(5), **window(x(5))), axes=(0,))
    return network(WINDOW_SUM(y, **window(y)))


def window_that_skips() -> Network:
    h = x(2, 3, 5)
    return network(h + WINDOW_SUM(h, **window(h, stride=(2, 1, 1), size=(1, 3, 5))))


def strided_transpose_without_taps() -> Network:
    n, w = x(1, 1, 1, 3, 5), constant(integers((1, 1, 1, 1, 1), "float32", 1))
    wide = {"stride": (1, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    g = CONV2D_INPUT_GRADIENT(n, w, size=(3, 9), **wide)
    return network(ops.concat([g, g], 0), ops.relu(g))


def parameter_in_another_shape() -> Network:
    p = state(3, 5, order=(1, 0))
    return network(ops.reshape(p, 5, 3), RESHAPE(p, shape=(5, 3)) @ x(3, 2))


def update_and_old_value() -> Network:
    p = state(3, 5)
    return network(p, p + 1, updates={p: ops.neg(p)})


def swapped() -> Network:
    p, q = state(3, 5), parameter(integers((3, 5), "float32", 9), name="q", order=(1, 0))
    return network(updates={p: q, q: p})


def rotated() -> Network:
    a, b, c = (parameter(integers((2, 2), "float32", i), name=n) for i, n in enumerate("abc"))
    return network(a + b, updates={a: b + 1, b: c @ a, c: ops.transpose(a)})


def transposed_in_place() -> Network:
    p = state(4, 4)
    return network(updates={p: ops.transpose(p) + 1})


def product_in_place() -> Network:
    p = state(4, 4)
    return network(ops.sum(p), updates={p: p @ p})


def reduced_in_place() -> Network:
    p = state(3, 5)
    total = ops.sum(p, 1, keepdims=True)
    return network(p - total, updates={p: ops.relu(p)})


def prefix_in_place() -> Network:
    p = state(3, 5)
    return network(p * 2, updates={p: ops.cumsum(p, 0)})


def gathered_in_place() -> Network:
    p = state(3, 5)
    return network(updates={p: ops.take(p, np.array([2, 0, 0]), 0)})


def two_updates_in_one_kernel() -> Network:
    p, q, n = state(3, 5), parameter(integers((3, 5), "float32", 8), name="q"), x(3, 5)
    return network(p - q, updates={p: n - p, q: q + (n - p)})


def two_parameters_of_one_new_value() -> Network:
    p, q = state(3, 5), parameter(integers((3, 5), "float32", 8), name="q")
    return network(updates={p: p + q, q: p + q})


def output_that_is_broadcast() -> Network:
    p = state(5)
    return network(p + p + x(3, 5), updates={p: p + p})


def output_that_is_read_in_part() -> Network:
    h = ops.neg(x(2, 2))
    return network(h, h[:, 0] + x(2, 2, name="y"))


HARD = [
    output_that_is_broadcast,
    output_that_is_read_in_part,
    view_is_output_and_operand,
    view_beside_a_reader_that_came_first,
    concat_is_output,
    concat_of_one_value_twice,
    concat_of_a_view,
    concat_of_fixed_and_run,
    part_of_a_concat_read_as_another_shape,
    template_to_two_outputs,
    template_of_a_padded_value,
    gather_from_a_padded_value,
    padded_ramp,
    product_with_a_ramp,
    ramp_of_another_shape,
    padded_fill,
    padding_of_padding,
    maxima_beyond_another_edge,
    two_paddings_of_one_image,
    window_of_one_tap,
    windows_of_one_tap_on_each_other,
    window_that_skips,
    strided_transpose_without_taps,
    parameter_in_another_shape,
    update_and_old_value,
    swapped,
    rotated,
    transposed_in_place,
    product_in_place,
    reduced_in_place,
    prefix_in_place,
    gathered_in_place,
    two_updates_in_one_kernel,
    two_parameters_of_one_new_value,
]


@pytest.mark.parametrize("without", WITHOUT, ids=IDS)
@pytest.mark.parametrize("make", HARD, ids=lambda f: f.__name__)
def test_hard_graphs(make, without):
    agree(make(), without)


def test_outputs_may_be_sources_and_repeat():
    n, p, c = x(3), state(2, 2), constant(integers((2,), "float32", 1))
    agree(network(n, p, c, n, ops.transpose(p), ops.neg(n), ops.neg(n)))


def test_large_outputs_that_are_broadcast_are_not_written_by_every_part():
    n, p = x(300, 1000), state(1000)
    assert any(launch.parts > 1 for launch in planned(network(n + (p + p), p + p)).launches)


# -- contractions ----------------------------------------------------------------------------------

GEOMETRIES = [
    # batch, groups, channels in, out, image, kernel, stride, padding, dilation
    (1, 1, 1, 1, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (1, 1, 3, 5, (7, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (2, 1, 3, 4, (6, 7), (3, 2), (2, 1), ((0, 1), (1, 0)), (1, 1)),
    (1, 2, 3, 3, (5, 6), (2, 3), (1, 2), ((1, 0), (0, 2)), (1, 1)),
    (2, 3, 1, 1, (5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),  # depthwise
    (1, 1, 2, 9, (8, 8), (3, 3), (3, 3), ((0, 0), (0, 0)), (1, 1)),
    (2, 1, 1, 8, (9, 9), (5, 5), (2, 3), ((2, 2), (2, 1)), (1, 1)),
    (1, 1, 4, 3, (7, 7), (2, 2), (1, 1), ((1, 1), (1, 1)), (2, 3)),
    (1, 1, 3, 4, (9, 5), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),  # phases without taps
    (1, 1, 2, 3, (7, 9), (2, 1), (3, 3), ((0, 0), (1, 1)), (1, 1)),
    (3, 1, 5, 17, (4, 4), (4, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),  # the image is the kernel
    (1, 2, 2, 5, (6, 6), (3, 3), (2, 2), ((3, 2), (0, 3)), (2, 1)),
]


@pytest.mark.parametrize(
    "geometry", GEOMETRIES, ids=lambda g: "-".join(map(str, g)).replace(" ", "")
)
@pytest.mark.parametrize("way", ["forward", "input", "weight"])
def test_convolutions(geometry, way):
    """With a weight that is a parameter, and one that is not."""
    n, groups, c, o, image, kernel, stride, padding, dilation = geometry
    kind: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    a, w = x(n, groups, c, *image), input("w", groups, o, c, *kernel)
    out = CONV2D(a, w, **kind)
    g = input("g", *out.shape)
    p = state(groups, o, c, *kernel)
    if way == "forward":
        net = network(out, ops.relu(CONV2D(a, p, **kind) + 1))
    elif way == "input":
        net = network(*(CONV2D_INPUT_GRADIENT(g, v, size=image, **kind) * 2 for v in (w, p)))
    else:
        dw = CONV2D_WEIGHT_GRADIENT(a, g, kernel=kernel, **kind)
        net = network(dw, updates={p: p - dw})
    agree(net)


@pytest.mark.parametrize("batch, size", [(8, 4), (6, 5), (3, 6), (1, 9)])
@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 1), (3, 2)])
def test_long_reductions_in_pieces(monkeypatch, batch, size, kernel, stride):
    """The pieces of a gradient to the weights are images, or rows of the only one."""
    monkeypatch.setattr(tiling, "CACHE", 64)
    p = state(1, 3, 4, kernel, kernel, order=(0, 3, 4, 2, 1))
    around = ((kernel // 2, kernel // 2),) * 2
    kind: dict[str, Any] = {"stride": (stride,) * 2, "padding": around, "dilation": (1, 1)}
    a = TRANSPOSE(x(batch, size * stride, size * stride, 1, 4), axes=(0, 3, 4, 1, 2))
    out = CONV2D(a, p, **kind)
    g = ops.relu(input("g", *out.shape) - out)
    dw = CONV2D_WEIGHT_GRADIENT(a, g, kernel=(kernel, kernel), **kind)
    plan = agree(network(ops.sum(g), updates={p: p - 2 * dw}))
    (buffer,) = (b for b in plan.buffers if b.name == "pieces")
    pieces, rest = divmod(buffer.bytes - SLACK, 4 * p.type.size)
    assert pieces > 1 and max(batch, size) % pieces == 0 and rest == 0


@pytest.mark.parametrize("m", [3, 4, 5, 8, 9])
def test_products_around_the_edges_of_a_tile(m):
    for n, k in product((1, 3, 4, 5, 8, 9), (1, 2, 7)):
        a, b = x(m, k), input("b", k, n)
        agree(network(a @ b + 1))


@pytest.mark.parametrize("left", [False, True], ids=["a", "a.T"])
@pytest.mark.parametrize("right", [False, True], ids=["b", "b.T"])
@pytest.mark.parametrize("result", [False, True], ids=["c", "c.T"])
def test_products_in_all_transpositions(left, right, result):
    def swap(n: Node, yes: bool) -> Node:
        return ops.transpose(n, (*range(n.ndim - 2), n.ndim - 1, n.ndim - 2)) if yes else n

    for batch_a, batch_b in [
        ((), ()),
        ((2,), (2,)),
        ((2,), (1,)),
        ((), (3,)),
        ((2, 1), (1, 3)),
        ((2, 3), (2, 3)),
    ]:
        a = input("a", *batch_a, *((3, 5) if left else (5, 3)))
        b = input("b", *batch_b, *((6, 3) if right else (3, 6)))
        agree(network(ops.relu(swap(swap(a, left) @ swap(b, right), result))))


@pytest.mark.parametrize("heads", [2, 3, 5])
def test_batches_whose_axes_do_not_join_are_contractions_side_by_side(heads):
    """Attention: the batch is an image and a head, and rows lie between them in memory."""
    n, length, d = 3, 4, 5
    q, k, v = (
        ops.transpose(ops.reshape(part, n, length, heads, d), (0, 2, 1, 3))
        for part in ops.split(ops.neg(x(n, length, 3 * heads * d)), 3, axis=2)
    )
    scores = q @ ops.transpose(k, (0, 1, 3, 2))
    y = ops.reshape(ops.transpose(scores @ v, (0, 2, 1, 3)), n, length, heads * d)
    assert not any("plain loops" in remark for remark in agree(network(y)).remarks)


def test_a_batch_in_hundreds_of_pieces_is_left_to_loops():
    a, b = (ops.transpose(ops.neg(x(100, 2, 100, 2, name=s)), (0, 2, 1, 3)) for s in "ab")
    assert any("too many axes do not join" in remark for remark in agree(network(a @ b)).remarks)


def test_vectors_and_empty_products():
    agree(network(x(5) @ input("y", 5), x(5) @ input("w", 5, 3), input("v", 3, 5) @ x(5)))
