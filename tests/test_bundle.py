"""Launches that do not depend on each other go out as one, in no more memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from targets import WIDE, schedule
from tinygraph import models, nn, ops, optim
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import input
from tinygraph.passes import Update, strip_effects
from tinygraph.plan.launches.side_by_side import duration
from tinygraph.plan.records.plan import Bundle, Plan
from tinygraph.plan.verify import verify_plan


def planned(inputs: Sequence[Node], output: Node, updates: Sequence[Update] = ()) -> Plan:
    stripped, pairs = strip_effects(Graph("g", tuple(inputs), (output,)), updates)
    graph = Graph("g", tuple(inputs), (*stripped.outputs, *(new for _, new in pairs)))
    return verify_plan(schedule(run_passes(graph)[-1].graph, [p for p, _ in pairs]))


def inference() -> Plan:
    image = input("image", 1, 3, 224, 224)
    return planned([image], models.googlenet("batch_norm", auxiliary=False)(image))


def training() -> Plan:
    image, label = input("image", 8, 3, 224, 224), input("label", 8, dtype="int32")
    net = models.googlenet("batch_norm", auxiliary=False)
    loss = nn.cross_entropy(net(image, training=True), label)
    updates = optim.SGD(lr=0.01, momentum=0.9).updates(loss, net.parameters())
    return planned([image, label], loss, updates)


@pytest.mark.parametrize("network, most", [(inference, 60), (training, 330)])
def test_googlenet_is_few_launches_and_little_memory(network, most):
    plan = network()
    assert len(plan.launches) <= most
    assert len(plan.prepare) <= 30
    assert plan.live_bound <= plan.arena <= 1.10 * plan.live_bound


def lstm_inference() -> Plan:
    x = input("x", 32, 64, 256)
    return planned([x], models.lstm(256, 256, 10)(x))


def lstm_training() -> Plan:
    x, label = input("x", 32, 64, 256), input("label", 32, dtype="int32")
    net = models.lstm(256, 256, 10)
    loss = nn.cross_entropy(net(x, training=True), label)
    return planned([x, label], loss, optim.SGD(lr=0.01).updates(loss, net.parameters()))


@pytest.mark.parametrize("network", [lstm_inference, lstm_training])
def test_an_lstm_needs_little_memory(network):
    plan = network()
    assert plan.live_bound <= plan.arena <= 1.10 * plan.live_bound


def towers(count: int, size: int) -> Plan:
    """A sum of so many products of matrices, each behind three others."""
    x = input("x", size, size)
    inputs, total = [x], None
    for tower in range(count):
        y = x
        for layer in range(4):
            inputs.append(input(f"w{tower}_{layer}", size, size))
            y = y @ inputs[-1]
        total = y if total is None else total + y
    return planned(inputs, ops.tanh(total))


def test_branches_go_out_side_by_side():
    assert len(towers(2, 64).launches) <= 6


def test_what_is_live_does_not_grow():
    """Beyond what a cache holds: many towers are computed in the memory of a few."""
    assert towers(20, 512).live_bound == towers(3, 512).live_bound


def test_what_waits_for_nothing_goes_out_just_before_it_is_needed():
    x, w = (input(name, 256, 256) for name in "xw")
    y = x
    for _ in range(5):
        y = ops.tanh(y @ x)
    plan = planned([x, w], y @ w)
    (packed,) = [b for b in plan.buffers if b.name == "w_packed"]
    assert (packed.first, packed.last) == (len(plan.launches) - 2, len(plan.launches) - 1)


def test_long_parts_come_first():
    x, y = input("x", 64, 64), input("y", 8, 8)
    plan = planned([x, y], ops.sum(y @ y) + ops.sum(x @ x))
    bundles = [launch.work.launches for launch in plan.launches if isinstance(launch.work, Bundle)]
    assert bundles
    for members in bundles:
        lengths = [duration(m, WIDE) / m.parts for m in members]
        assert lengths == sorted(lengths, reverse=True)
