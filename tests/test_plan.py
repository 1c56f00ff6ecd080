"""Plans of random and of hard graphs, generated and run as plain Python, compute what the reference
computes: bit for bit, since all values are small integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import sampled_from

from exact_plans import agree, network, planned, state, x
from random_networks import Network, integers, networks
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.graph.ir import Node
from tinygraph.graph.op import constant
from tinygraph.graph.parameter import parameter
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT
from tinygraph.ops.view import BROADCAST_TO, FLIP, PAD, RESHAPE, TRANSPOSE
from tinygraph.ops.window import WINDOW_MAX, WINDOW_SUM
from tinygraph.plan.records.steps import CHOICES, OPTIONAL

WITHOUT = [(), *((name,) for name in (*CHOICES, *OPTIONAL))]
IDS = ["all", *(f"no {name}" for (name,) in WITHOUT[1:])]


# -- random graphs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("without", WITHOUT[:3], ids=IDS[:3])
@settings(max_examples=max(150, settings.default.max_examples))
@given(net=networks())
def test_random_graphs(net, without):
    agree(net, without)


@given(net=networks(), without=sampled_from(OPTIONAL))
def test_random_graphs_without_a_step(net, without):
    agree(net, (without,))


@given(net=networks(dtypes=("int32", "float64")))
def test_random_graphs_of_other_dtypes(net):
    agree(net)


# -- graphs that once went wrong -------------------------------------------------------------------


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


def concat_of_single_elements():
    """Its parts are one group's, which its reader must not join: it is not whole there yet."""
    s = ops.sum(x(2), 0, True)
    joined = ops.concat([s, FLIP(s, axis=(0,))], 0)
    return network(joined * 2, joined + 1, ops.max(joined))


def pads_that_cut_as_much_off():
    """Of the size of what they are pads of, whose loops do not reach all of them."""
    y = ops.relu(x(4, 3))
    moved = [PAD(y, widths=((by, -by, 0), (0, 0, 0)), value=0) for by in (-1, 1, 2)]
    return network(y, *moved, ops.sum(y, 1), ops.cumsum(y, 0))


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


def columns_that_are_looked_up() -> Network:
    """A result whose columns are contiguous, so that the sum over its rows goes in blocks."""
    y = ops.take(x(6, 5), constant(np.array([3, 0, 2], "int32")), 1)
    shifted = y + 1  # twice over the rows: the position is read before the first time only
    return network(shifted, ops.sum(y, 0), ops.max(y - ops.sum(y, 0), 0))


def reductions_that_read_each_others_results() -> Network:
    """Of two groups over one axis, the one that was formed first reads what the other computes."""
    n = x(3)
    return network(ops.min(n, 0, keepdims=True) - ops.cast(ops.argmax(n, 0), "float32"))


def looked_up_and_computed_again() -> Network:
    """What the sum's other operand is made of is looked up in the same kernel."""
    y, i = x(2, 3) * 2, x(2, 3, name="i")
    found = ops.take_along_axis(y, ops.cast(i, "int32"), 0)
    return network(ops.where(i < 0, y, 0) + found)


def parts_of_a_concat_that_are_read_together() -> Network:
    """What reads the parts does not join what writes them: the whole is in memory first."""
    n = x(1, 1, 8, 8)
    y = ops.relu(n)
    both = ops.concat([y, y * 2], 1)
    gated = both[:, :1] * ops.clip(both[:, 1:], 0, 2)
    result = ops.clip(gated / (y * y + 1), 0, 2)
    return network(result, *grad(ops.sum(result * result), [n]))


HARD = [
    parts_of_a_concat_that_are_read_together,
    looked_up_and_computed_again,
    columns_that_are_looked_up,
    reductions_that_read_each_others_results,
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
    concat_of_single_elements,
    pads_that_cut_as_much_off,
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
