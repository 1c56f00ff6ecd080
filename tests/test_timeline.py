"""The log of a run: every part once, in the order that launches wait for, and nothing when off."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler.backend import Recorder
from tinygraph.compiler.fixed_program import FixedProgram
from tinygraph.plan.records.device import Timeline
from whole_networks import WHOLE


def program(name: str) -> tuple[FixedProgram, list[np.ndarray], list[np.ndarray]]:
    inputs, outputs, updates = WHOLE[name]()
    made = tg.compile(inputs, outputs, updates=updates, name=name)
    assert isinstance(made, FixedProgram)
    return made, [np.zeros(n.shape, n.dtype) for n in inputs], made.outputs.fresh()


def recorded(made: FixedProgram, inputs, outputs) -> Timeline:
    runner = made._runner
    assert isinstance(runner, Recorder)
    runner.refresh()
    return runner.timeline(inputs, outputs)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["lenet5_step", "lstm", "char"])
def test_every_part_is_run_once_and_after_what_it_waits_for(name, threads):
    made, inputs, outputs = program(name)
    made._runner.threads = threads
    run = recorded(made, inputs, outputs)
    code, plan = made.built.code, made.inspection.plan
    found = Counter((p.launch, p.part) for p in run.parts)
    assert found == {
        (number, part): plan.steps(number)
        for number, call in enumerate(code.calls)
        for part in range(call.parts)
    }
    in_loops = {k for x in code.loops for k in range(x.first, x.last)}
    for p in run.parts:
        assert 0 <= p.taken <= p.begin <= p.end <= run.seconds and 0 <= p.thread < threads
        for other in run.parts if p.launch not in in_loops else ():
            if other.launch in code.calls[p.launch].waits:
                assert other.end <= p.begin
    for thread in range(threads):
        mine = [p for p in run.parts if p.thread == thread]
        assert all(a.end <= b.taken for a, b in pairwise(mine))


def test_a_program_on_devices_has_a_thread_for_each():
    x = tg.input("x", 64, 64)
    with tg.device("cpu:0"):
        y = tg.tanh(x @ np.ones((64, 64), np.float32))
    with tg.device("cpu:1"):
        z = tg.tanh(y @ np.ones((64, 64), np.float32))
    made = tg.compile([x], [z])
    run = recorded(made, [np.ones((64, 64), np.float32)], made.outputs.fresh())
    devices = {number: launch.device for number, launch in enumerate(made.inspection.plan.launches)}
    assert {p.launch for p in run.parts} == set(devices)
    if made._runner.threads == 2 and len(made._runner.team.workers):
        assert all(p.thread == devices[p.launch] for p in run.parts)


def test_nothing_is_recorded_unless_asked_for():
    made, inputs, outputs = program("lenet5_step")
    table = made._runner.table
    recorded(made, inputs, outputs)
    began = table.began
    made(*inputs)
    made._runner.time(inputs, outputs)
    assert table.began == began


def test_a_profile_has_the_timeline_of_one_call():
    made, inputs, _ = program("lenet5_step")
    profile = made.profile(*inputs, repeat=1)
    assert profile.timing.timeline is not None
    assert len(profile.timing.timeline.parts) == sum(c.parts for c in made.built.code.calls)
