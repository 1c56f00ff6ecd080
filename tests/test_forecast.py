"""Forecasts: parts of launches on any number of threads, in thought."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph import models, nn, optim
from tinygraph.inspect.forecast import forecast
from tinygraph.plan.records.plan import Launch, Loop, Plan
from tinygraph.plan.records.work import Nest
from tinygraph.plan.schedule import schedule
from tinygraph_cpu.forecast import part_cycles
from tinygraph_cpu.processor import CpuTarget

TARGET = CpuTarget()


def plan(*launches: tuple[list[float], tuple[int, ...]], loops=(), devices=()):
    """A plan of launches with parts of these times, and what they wait for."""
    made, times = [], {}
    for number, (parts, waits) in enumerate(launches):
        made.append(Launch(f"l{number}", Nest((), (), (), ()), (), len(parts), waits))
        times[id(made[-1])] = parts
    return Plan("p", [], [], made, list(loops), devices=devices), lambda x: times[id(x)]


def test_parts_are_claimed_in_order_by_the_thread_that_is_free() -> None:
    one = plan(([3, 1, 1, 1], ()))
    assert [forecast(*one, n).time for n in (1, 2, 3, 4, 64)] == [6, 3, 3, 3, 3]
    assert forecast(*one, 4).utilization == 0.5
    assert forecast(*plan(([1, 1, 1, 3], ())), 2).time == 4  # the long one comes last


def test_a_part_waits_for_the_launches_that_its_own_waits_for() -> None:
    chain = plan(([2, 1], ()), ([2, 2], (0,)), ([5], ()))
    assert forecast(*chain, 2).time == 9  # the third launch is claimed after the second
    assert forecast(*chain, 3).time == 7  # the first thread is free at 2
    assert forecast(*plan(([1, 1], ()), ([1, 1], (0,))), 8).utilization == 0.25


def test_a_loop_is_run_step_by_step() -> None:
    loop = plan(([1], ()), ([2, 2], (0,)), ([1], (1,)), loops=[Loop(1, 2, 5)])
    loop[0].launches[1].back = (1,)
    assert forecast(*loop, 1).work == 22
    assert forecast(*loop, 2).time == 12
    assert forecast(*loop, 9).time == 12


def step_of_a_network() -> tuple[list[tg.Node], list]:
    net, x = models.lenet5(), tg.input("x", 8, 1, 28, 28)
    label = tg.input("label", 8, dtype="int32")
    loss = nn.cross_entropy(net(x), label)
    return [loss], optim.SGD(lr=0.1).updates(loss, net.parameters())


def test_every_part_of_every_launch_has_a_time() -> None:
    x = tg.input("x", 8, 3, 64, 64)
    text = tg.input("text", 2, 16, dtype="int32")
    outputs, updates = step_of_a_network()
    graphs = [
        ([models.googlenet(auxiliary=False)(tg.input("image", 2, 3, 224, 224))], []),
        ([models.mobilenet_v2(10)(x)], []),
        ([models.TransformerLanguageModel(62, 64)(text)], []),
        ([models.lstm(32, 48, 10)(tg.input("s", 4, 5, 32))], []),
        (outputs, updates),
    ]
    for outs, pairs in graphs:
        whole = graph_of(*outs, *(new for _, new in pairs))
        found = schedule(whole, [p for p, _ in pairs], target=TARGET)
        for launch in (m for x in found.launches for m in x.members):
            times = part_cycles(launch, TARGET.core)
            assert len(times) == launch.parts and min(times) > 0
        shares = [forecast(found, TARGET.part_times, n) for n in (1, 2, 4, 16, 64)]
        assert shares[0].utilization == pytest.approx(1)
        assert all(0 < f.utilization <= 1 + 1e-9 for f in shares)
        assert all(a.time >= b.time * (1 - 1e-9) for a, b in pairwise(shares))


def test_a_large_convolution_fills_sixteen_threads() -> None:
    x = tg.input("x", 8, 64, 56, 56)
    out = nn.Conv2d(64, 192, 3, padding=1)(x)
    found = schedule(graph_of(out), target=TARGET)
    assert forecast(found, TARGET.part_times, 16).utilization > 0.8


def test_cost_tells_the_forecast() -> None:
    x = tg.input("x", None, 64)
    program = tg.compile([x], [tg.tanh(x @ tg.parameter(np.ones((64, 64)), "w"))])
    program(np.ones((4, 64), np.float32))
    cost = program.cost(threads=16)
    assert cost["threads"] == 16 and 0 < cost["utilization_percent"] <= 100
    assert program.cost(threads=1)["utilization_percent"] == 100
    assert "threads" not in program.cost()
    with pytest.raises(ValueError, match="at least one thread, got 0"):
        program.cost(threads=0)


def test_refuses_what_threads_do_not_share() -> None:
    with pytest.raises(ValueError, match="p is placed on devices"):
        forecast(*plan(([1], ()), devices=("cpu:0",)), 2)
    x = tg.input("x", 8, 8)
    with pytest.raises(ValueError, match=r"cost\(threads=4\) requires .* not 'cuda:emulate'"):
        tg.compile([x], [x + 1], backend="cuda:emulate").cost(threads=4)
