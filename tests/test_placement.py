"""Placement: nodes stay on their devices through passes, gradients and plans; values that cross are
named; devices run side by side, with the same bits on any number of threads.
"""

from __future__ import annotations

import re
import time
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from compiled import execute_plan
from random_networks import Network, networks
from test_plan import agree
from tinygraph import nn, optim
from tinygraph.compiler.backend import check_devices
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import PLACE, Kind, place
from tinygraph.graph.placement import device_of
from tinygraph.graph.rebuild import rebuild
from tinygraph.plan.fusion.devices import assign
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.reason import Reason
from tinygraph.plan.touched import PlanError
from tinygraph.plan.verify import verify_plan

TWO = ("cpu:0", "cpu:1")
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(0, 0.1, (64, 32)).astype(np.float32) for _ in range(8)]
DATA = RNG.normal(size=(48, 64)).astype(np.float32)


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    tg.settings.threads = request.param
    yield request.param
    tg.settings.threads = None


def towers(devices, weights):
    """Two towers that exchange their values in every second layer."""
    x = tg.input("x", *DATA.shape)
    halves = [x[:, :32], x[:, 32:]]
    for layer in range(0, len(weights), 2):
        made = []
        for number, device in enumerate(devices):
            own = [halves[number]] * 2 if layer % 4 else halves
            with tg.device(device):
                made.append(tg.tanh(tg.concat(own, axis=1) @ weights[layer + number]))
        halves = made
    return x, halves


def training(devices):
    """A step of gradient descent on the towers."""
    weights = [tg.parameter(v, name=f"w{i}") for i, v in enumerate(WEIGHTS)]
    x, (a, b) = towers(devices, weights)
    loss = tg.mean(a * b)
    updates = optim.SGD(0.5, momentum=0.9).updates(loss, weights)
    return tg.compile([x], [loss], updates=updates), weights


def trained(devices, steps=3):
    program, weights = training(devices)
    return [float(program(DATA)[0]) for _ in range(steps)], [w.value for w in weights]


@pytest.fixture(scope="module")
def program():
    return training(TWO)[0]


# ---------------------------------------------------------------------- graphs


def test_equal_nodes_on_two_devices_are_two():
    x = tg.input("x", 4)
    with tg.device("cpu:0"):
        a = tg.exp(x)
    with tg.device("cpu:1"):
        b = tg.exp(x)
        again = tg.exp(x)
    assert a is not b and again is b
    assert (device_of(a), device_of(b), device_of(x)) == ("cpu:0", "cpu:1", None)


def test_a_node_without_a_device_follows_its_largest_input():
    x, y = tg.input("x", 4), tg.input("y", 4, 4)
    with tg.device("cpu:0"):
        a = tg.exp(x)
    with tg.device("cpu:1"):
        b = tg.exp(y)
    both = a + b
    assert device_of(both) == "cpu:1"
    assert [i.op is PLACE for i in both.inputs] == [True, False]


def test_gradients_are_where_their_primals_are():
    x, w = tg.input("x", 4, 4), [tg.parameter(np.eye(4, dtype=np.float32)) for _ in range(2)]
    with tg.device("cpu:0"):
        a = tg.exp(x @ w[0])
    with tg.device("cpu:1"):
        b = tg.exp(a @ w[1])
    loss = tg.mean(b)
    with tg.device("cpu:7"):  # where grad() is called does not count
        gradients = tg.grad(loss, w)
    assert [device_of(g) for g in gradients] == ["cpu:0", "cpu:1"]
    devices = {device_of(n) for n in Graph("g", (), tuple(gradients)).nodes}
    assert "cpu:7" not in devices


def test_a_value_that_returns_does_not_go():
    x = tg.input("x", 4)
    with tg.device("cpu:0"):
        a = tg.exp(x)
    with tg.device("cpu:1"):
        b = tg.stop_gradient(a)
    assert b.inputs[0].op is PLACE
    with tg.device("cpu:0"):
        (back,) = tg.exp(b.inputs[0]).inputs
    assert back is a


def test_what_has_no_place_goes_to_its_reader():
    x = tg.input("x", 4)
    free = tg.exp(x)
    with tg.device("cpu:3"):
        y = tg.tanh(free)
    assert assign(Graph("g", (x,), (y,)))[free] == 3
    assert assign(Graph("g", (x,), (free,))) == {}


def test_dumps_parse_back(program):
    text = program.dump()
    assert "place(" in text and "device='cpu:1'" in text
    graph = program.inspection.compiled.graph
    assert tg.parse(text, env=graph).outputs == graph.outputs


@pytest.mark.parametrize("name", ["cpu", "cpu:", "1", "cpu:x", "CPU 1"])
def test_names(name):
    with pytest.raises(ValueError, match="name:number"):
        tg.device(name)


def test_a_device_that_the_backend_has_not():
    with tg.device("cuda:1"):
        y = tg.exp(tg.input("x", 4))
    message = r"cuda:1 \(test_placement.py:\d+\) is not a device of .*cpu"
    with pytest.raises(tg.BackendError, match=message):
        tg.compile([tg.input("x", 4)], [y])


def test_as_many_devices_as_the_backend_has():
    x = tg.input("x", 4)
    with tg.device("cuda:0"):
        y = tg.exp(x)
    with tg.device("cuda:1"):
        z = tg.exp(y)
    check_devices(Graph("g", (x,), (y,)), "cuda:emulate", 1)
    check_devices(Graph("g", (x,), (z,)), "cuda", 2)
    with pytest.raises(tg.BackendError, match=r"cuda:1 .* backend 'cuda', which has cuda:0 only"):
        check_devices(Graph("g", (x,), (z,)), "cuda", 1)


# ---------------------------------------------------------------------- plans


def test_no_launch_is_on_two_devices(program):
    plan = program.inspection.plan
    devices = assign(program.inspection.compiled.graph)
    assert plan.devices == TWO
    for launch in plan.launches:
        for member in launch.members:
            assert member.device == launch.device
            assert {devices.get(n, launch.device) for n in member.nodes} == {launch.device}


def test_transfers_are_what_crosses(program):
    plan = program.inspection.plan
    written: dict[int, set[int]] = {}
    crossing = set()
    for launch in plan.launches:
        for i, access in enumerate(launch.accesses):
            key = id(access.buffer)
            if i in launch.writes:
                written.setdefault(key, set()).add(launch.device)
            elif access.buffer.home == "arena":
                crossing |= {(key, d, launch.device) for d in written[key] - {launch.device}}
    named = {(id(t.buffer), t.source, t.target) for t in plan.transfers}
    assert named and crossing <= named
    # Both halves at the third layer, one at the loss; their gradients go back.
    assert [t.bytes for t in plan.transfers] == [48 * 32 * 4] * 6
    assert program.cost()["transferred_bytes"] == 6 * 48 * 32 * 4


def test_transfers_are_shown(program):
    text, remarks = program.dump("plan"), "\n".join(program.remarks)
    assert re.search(r"^run: \d+ launches on cpu:0 and cpu:1$", text, re.M)
    assert re.search(r"^ +6,144 bytes, cpu:0 to cpu:1, \w+.*: f32\[48,32\]$", text, re.M)
    assert re.search(r" on cpu:1: contraction", text)
    assert "goes from cpu:0 to cpu:1: 6,144 bytes" in remarks
    assert "# cpu:1" in program.dump("source")


def test_neighbours_on_two_devices_have_that_reason():
    x = tg.input("x", 64, 64)
    with tg.device("cpu:0"):
        a = tg.exp(x)
    with tg.device("cpu:1"):
        b = tg.tanh(a)
    program = tg.compile([x], [b])
    assert program.cost()["launches"] == 2
    assert any(Reason.DEVICE.value in r for r in program.remarks)


def test_devices_do_not_wait_for_each_others_memory():
    """Two chains that have nothing in common have no wait in common, and no memory."""
    x = tg.input("x", 64, 64)
    ends = []
    for device in TWO:
        with tg.device(device):
            y = x
            for _ in range(4):
                y = tg.tanh(y @ y)
            ends.append(y)
    plan = tg.compile([x], ends).inspection.plan
    for launch in plan.launches:
        assert all(plan.launches[w].device == launch.device for w in launch.waits)


def test_a_plan_that_crosses_without_waiting_is_caught(program):
    source = program.source.translate()
    plan: Plan = source.plan
    late = next(
        launch
        for launch in plan.launches
        if any(plan.launches[w].device != launch.device for w in launch.waits)
    )
    late.waits = tuple(w for w in late.waits if plan.launches[w].device == late.device)
    with pytest.raises(PlanError):
        verify_plan(plan)


@given(net=networks(), places=st.lists(st.integers(-1, 2), min_size=1, max_size=8))
def test_random_placements(net, places):
    """Identities strewn over random graphs: plans that compute the same, without races."""
    numbers = cycle(places)

    def strewn(n: Node) -> Node | None:
        number = next(numbers)
        return place(n, f"cpu:{number}") if number >= 0 and n.op.kind is not Kind.SOURCE else None

    agree(Network(rebuild(net.graph, strewn), net.updates, net.arrays))


# ---------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def unplaced():
    return trained((None, None))


@pytest.fixture(scope="module")
def placed():
    return trained(TWO)


def test_placement_changes_no_value(unplaced, placed):
    np.testing.assert_allclose(placed[0], unplaced[0], rtol=1e-5)
    for a, b in zip(placed[1], unplaced[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_same_bits_on_any_number_of_threads(threads, placed):
    losses, weights = trained(TWO)
    assert losses == placed[0]
    for a, b in zip(weights, placed[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_devices_may_be_numbered_at_will(threads, placed):
    np.testing.assert_allclose(trained(("cpu:3", "cpu:1"))[0], placed[0], rtol=1e-6)


def test_runs_after_pauses(placed):
    """Workers that have parked, or are just parking, are not missed."""
    tg.settings.threads = 2
    try:
        x, halves = towers(TWO, [tg.parameter(v) for v in WEIGHTS])
        program = tg.compile([x], halves)
    finally:
        tg.settings.threads = None
    want = program(DATA)
    for pause in (0.0, 0.001, 0.002, 0.003, 0.005, 0.02) * 5:
        time.sleep(pause)
        for a, b in zip(program(DATA), want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_from_the_cache(program):
    first, again = program.built.code, training(TWO)[0].built
    assert again.compiled is None
    assert again.code.devices == first.devices == TWO
    assert [c.device for c in again.code.calls] == [c.device for c in first.calls]


def test_generated_module(program):
    graph = Graph("g", *_forward())
    plan = tg.compile(graph.inputs, graph.outputs).inspection.plan
    for got, want in zip(execute_plan(plan, graph, DATA), tg.run(graph, DATA), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def _forward():
    x, halves = towers(TWO, [tg.constant(v) for v in WEIGHTS])
    return (x,), tuple(halves)


def test_profile_has_devices():
    x, halves = towers(TWO, [tg.parameter(v) for v in WEIGHTS])
    program = tg.compile([x], [halves[0].named("left"), halves[1].named("right")])
    profile = program.profile(DATA, repeat=1)
    assert [r.name for r in profile.devices] == list(TWO)
    assert {r.device for r in profile.launches} == set(TWO)
    assert re.search(r"bound by +on +from", str(profile))
    assert re.search(r"run \d+ matmul_tanh on cpu:1: \d", program.explain("right"))


def looping(devices):
    """Two recurrent nets that read each other's history, and a loss of both."""
    x, w = tg.input("x", 6, 4, 8), [tg.input(f"w{k}", 16, 8) for k in range(4)]
    histories = [x, x]
    for layer in (0, 2):
        made = []
        for k, device in enumerate(devices):
            with tg.device(device):

                def step(h, x, w=w[layer + k]):
                    h = tg.tanh(tg.concat([h, tg.exp(-x * x)], 1) @ w)
                    return h, h

                _, outs = tg.scan(step, tg.zeros((4, 8)), histories[k - layer // 2])
                made.append(outs[0])
        histories = made
    loss = tg.mean(histories[0] * histories[1])
    return Graph("loops", (x, *w), (loss, *tg.grad(loss, w)))


def test_loops(threads):
    rng, results = np.random.default_rng(1), []
    for devices in (TWO, (None, None)):
        graph = looping(devices)
        arrays = [rng.normal(0, 0.3, n.shape).astype(np.float32) for n in graph.inputs]
        program = tg.compile(graph.inputs, graph.outputs)
        results.append(program(*arrays))
        for got, want in zip(results[-1], tg.run(graph, *arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
        assert (program.cost()["transferred_bytes"] > 0) == (devices is TWO)


def test_a_loop_is_where_what_it_reads_is():
    x, w = tg.input("x", 6, 4), tg.input("w", 4, 4)
    with tg.device("cpu:1"):
        rows = tg.exp(x)
    (h,), _ = tg.scan(lambda h, row: tg.tanh(h @ w + row), tg.zeros((1, 4)), rows)
    plan = tg.compile([x, w], [h]).inspection.plan
    assert plan.loops and {x.device for x in plan.launches} == {1}


def test_one_device_does_not_idle_behind_another():
    """What could run at once stands before what has to wait for the other device."""
    graph = looping(TWO)
    plan = tg.compile(graph.inputs, graph.outputs[:1]).inspection.plan
    first = {x.first: plan.launches[x.first].device for x in plan.loops}
    assert list(first.values())[:2] in ([0, 1], [1, 0])


def test_a_batch_that_is_bound_at_the_call():
    x, w = tg.input("x", None, 8), tg.parameter(np.eye(8, dtype=np.float32))
    with tg.device("cpu:0"):
        a = tg.exp(x @ w)
    with tg.device("cpu:1"):
        b = tg.tanh(x @ w)
    program = tg.compile([x], [tg.mean(a + b, axis=0)])
    for n in (3, 8):
        rows = RNG.normal(size=(n, 8)).astype(np.float32)
        (got,) = program(rows)
        np.testing.assert_allclose(got, (np.exp(rows) + np.tanh(rows)).mean(0), rtol=1e-5)
        assert program.cost()["transferred_bytes"] == 4 * 8 * n


def test_layers_dropout_and_effects():
    """Modules with state inside of devices."""
    x = tg.input("image", 4, 2, 8, 8)
    norm, conv, fc = nn.BatchNorm2d(4), nn.Conv2d(2, 4, 3, padding=1), nn.Linear(256, 3)
    drop = nn.Dropout(0.5)
    with tg.device("cpu:0"):
        h = tg.relu(norm(conv(x), training=True))
    with tg.device("cpu:1"):
        y = fc(drop(tg.reshape(h, (4, 256)), training=True))
    images = RNG.normal(size=x.shape).astype(np.float32)
    loss = tg.mean(y * y)
    updates = optim.SGD(0.1).updates(loss, [*conv.parameters(), *fc.parameters()])
    program = tg.compile([x], [loss], updates=updates, seed=3)
    before = norm.state_dict()["running_mean"].copy()
    first, second = program(images), program(images)
    assert np.isfinite(first).all() and first != second
    assert (norm.state_dict()["running_mean"] != before).any()
