"""The planner's steps can be seen: their times, and what each left."""

from __future__ import annotations

import re

import pytest

import tinygraph as tg
from tinygraph import models
from tinygraph.plan.schedule import STEPS


@pytest.fixture(scope="module")
def program() -> tg.Program:
    x = tg.input("image", 1, 1, 28, 28)
    return tg.compile([x], [models.lenet5()(x)], name="lenet")


def test_each_step_has_a_line_with_its_time(program):
    head, *lines = program.planning().splitlines()
    assert re.fullmatch(rf"planning lenet: {len(STEPS)} steps, [\d.]+ ms", head)
    for step, line in zip(STEPS, lines, strict=True):
        assert re.fullmatch(rf"  {step.__name__} +[\d.]+ ms  \d+ (groups|launches.*)", line)
    assert f"{program.cost()['launches']} launches" in lines[-1]


def test_what_a_step_left(program):
    formed, absorbed = (program.planning(step) for step in ("form_groups", "absorb"))
    assert formed.startswith("after form_groups: ") and "conv2d" in formed
    assert len(absorbed.splitlines()) <= len(formed.splitlines())
    assert "launches" in program.planning("lower").splitlines()[0]


def test_a_step_that_is_not_there_is_named(program):
    with pytest.raises(ValueError, match="no step 'fuse'; there is form_groups, absorb, "):
        program.planning("fuse")
    x = tg.input("x", 4)
    without = tg.compile([x], [tg.exp(x) + 1], without=["absorb"])
    with pytest.raises(ValueError, match="no step 'absorb'"):
        without.planning("absorb")


def test_planning_again_leaves_the_plan_as_it_is(program):
    before = program.dump("plan")
    program.planning()
    assert program.dump("plan") == before
