"""verify_plan: plans that were made wrong are caught, with a message that says what is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from targets import schedule
from tinygraph import ops
from tinygraph.compiler import pipeline
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT, input
from tinygraph.graph.parameter import parameter
from tinygraph.plan.records.plan import Launch, Plan
from tinygraph.plan.records.work import Buffer, Nest
from tinygraph.plan.touched import PlanError
from tinygraph.plan.verify import verify_plan


def plan_of(*outputs: Node, without: tuple[str, ...] = ()) -> Plan:
    inputs = tuple(n for n in Graph("", (), outputs).nodes if n.op is INPUT)
    return verify_plan(schedule(Graph("g", inputs, outputs), without=frozenset(without)))


def chain() -> Plan:
    """Products, each of which reads what the one before it wrote: arena buffers take turns."""
    x = input("x", 40, 40)
    for _ in range(5):
        x = ops.relu(x @ x)
    return plan_of(x)


def padded() -> Plan:
    """A convolution whose input, a value in the arena, needs a padded copy."""
    x = ops.tanh(input("x", 2, 3, 8, 8))
    return plan_of(ops.conv2d(x, parameter(np.ones((4, 3, 3, 3))), padding=1, stride=2))


def prepared() -> Plan:
    """A product with a weight that is packed before the run."""
    w = parameter(np.ones((40, 40)), name="w")
    return plan_of(input("x", 40, 40) @ (w * 2))


def arena(plan: Plan) -> list[Buffer]:
    return [b for b in plan.buffers if b.home == "arena" and b.first >= 0]


def without_launch(plan: Plan, gone: int) -> None:
    """Takes a launch away; what waited for it waits for what it waited for."""
    waits = plan.launches.pop(gone).waits
    for launch in plan.launches[gone:]:
        kept = {w - (w > gone) for w in launch.waits if w != gone}
        launch.waits = tuple(sorted(kept | (set(waits) if gone in launch.waits else set())))


def overlap() -> Plan:
    plan = chain()
    a, b = (x for x in arena(plan) if x.first <= 2 <= x.last)
    b.offset = a.offset
    return plan


def out_of_bounds() -> Plan:
    plan = chain()
    plan.buffers[0].bytes -= 4096
    return plan


def out_of_bounds_below() -> Plan:
    plan = plan_of(ops.flip(input("x", 64), 0) + 1)
    nest = plan.launches[0].work
    assert isinstance(nest, Nest)
    first = next(i for i, o in enumerate(nest.operands) if min(o.strides) < 0)
    moved = replace(nest.operands[first], offset=nest.operands[first].offset - 8)
    operands = tuple(moved if i == first else o for i, o in enumerate(nest.operands))
    plan.launches[0].work = replace(nest, operands=operands)
    return plan


def racing_launches() -> Plan:
    plan = chain()
    plan.launches[2].waits = ()
    return plan


def racing_parts() -> Plan:
    plan = plan_of(ops.tanh(input("x", 1000, 100)))
    (launch,) = plan.launches
    assert isinstance(launch.work, Nest)
    rows = Nest((1000, 100), (), launch.work.operands, launch.work.stages)
    strides = [(100, 1), (50, 1)]  # the second row of each part's output begins within the first
    operands = [replace(o, strides=s) for o, s in zip(rows.operands, strides, strict=True)]
    launch.work, launch.parts = replace(rows, operands=tuple(operands)), 4
    return plan


def copy_missing() -> Plan:
    plan = padded()
    without_launch(plan, next(i for i, x in enumerate(plan.launches) if x.name == "pad"))
    return plan


def dirty_halo() -> Plan:
    """The padded copy is written but for its first rows."""
    plan = padded()
    launch = next(x for x in plan.launches if x.name == "pad")
    nest = launch.work
    assert isinstance(nest, Nest)
    (target,) = launch.writes
    operands = list(nest.operands)
    inside = replace(operands[target], offset=operands[target].offset + 64)
    size = list(nest.axes)
    size[int(np.argmax(inside.strides))] -= 1
    operands[target] = inside
    launch.work = replace(nest, axes=tuple(size), operands=tuple(operands))
    return plan


def early_reuse() -> Plan:
    """The third result takes the place of the first, which the last launch still reads."""
    x = input("x", 40, 40)
    a = x @ x
    b = a @ a
    plan = plan_of((b @ b) @ a)
    first, _, third = (x for x in arena(plan) if x.name == "matmul")
    third.offset = first.offset
    return plan


def stale_prepare() -> Plan:
    plan = prepared()
    plan.prepare.clear()
    return plan


def prepared_from_an_input() -> Plan:
    plan = prepared()
    next(b for b in plan.buffers if b.home == "parameter").home = "input"
    return plan


def prepared_from_what_the_run_updates() -> Plan:
    plan = prepared()
    (p,) = (b for b in plan.buffers if b.home == "parameter")
    (output,) = (b for b in plan.buffers if b.home == "output")
    last = plan.launches[-1]
    plan.launches.append(copied(last, output, p, len(plan.launches) - 1))
    return plan


def copied(like: Launch, source: Buffer, target: Buffer, after: int) -> Launch:
    nest = plan_of(ops.tanh(input("x", 1600))).launches[0].work
    assert isinstance(nest, Nest)
    buffers = (source, target)
    operands = tuple(replace(o, buffer=b) for o, b in zip(nest.operands, buffers, strict=True))
    return Launch("update", replace(nest, operands=operands), like.nodes, waits=(after,))


def written_in_the_run() -> Plan:
    plan = prepared()
    next(b for b in plan.buffers if b.home == "output").home = "prepared"
    return plan


def waits_for_what_comes_later() -> Plan:
    plan = chain()
    plan.launches[1].waits = (3,)
    return plan


def used_early() -> Plan:
    plan = plan_of(input("x", 40) - ops.sum(input("x", 40)))
    nest = plan.launches[-1].work
    assert isinstance(nest, Nest)
    plan.launches[-1].work = replace(nest, stages=nest.stages[::-1])
    return plan


WRONG: list[tuple[Callable[[], Plan], str]] = [
    (overlap, r"matmul_relu writes relu over relu, which it reads"),
    (out_of_bounds, r"touches bytes 0 to \d+ of x, which has \d+"),
    (out_of_bounds_below, r"touches bytes -32 to \d+ of x"),
    (racing_launches, r"and matmul_relu run at the same time and both touch"),
    (racing_parts, r"tanh: its parts write the same elements of output0"),
    (copy_missing, r"conv2d reads \w+_padded, but nothing was written there last"),
    (dirty_halo, r"conv2d reads \w+_padded, but nothing was written there last"),
    (early_reuse, r"matmul reads matmul, but matmul was written there last"),
    (stale_prepare, r"reads \w+_packed, but nothing was written there last"),
    (prepared_from_an_input, r"prepares from w, which every run changes"),
    (prepared_from_what_the_run_updates, r"prepares from w, which every run changes"),
    (written_in_the_run, r"writes output0, which is prepared before the run"),
    (used_early, r"sum_sub uses \w+ before it is computed"),
    (waits_for_what_comes_later, r"waits for launch 3, which does not come before it"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=lambda v: getattr(v, "__name__", ""))
def test_wrong_plans_are_caught(make, message):
    plan = make()  # verified before it was spoilt: a fault of the planner shows here, as itself
    with pytest.raises(PlanError, match=message):
        verify_plan(plan)


@pytest.mark.parametrize(
    ("spoilt", "helps"),
    [
        (lambda without: "fuse" not in without, r"without=\['fuse'\], which is planned right"),
        (lambda without: True, "nothing known"),
    ],
)
def test_a_users_program_with_a_wrong_plan_says_what_to_do(monkeypatch, spoilt, helps):
    def wrong(*arguments: Any, without: frozenset[str], **options: Any) -> Plan:
        plan = schedule(*arguments, without=without, **options)
        if spoilt(without):
            plan.launches[1].waits = ()
        return plan

    monkeypatch.setattr(pipeline, "schedule", wrong)
    x = tg.input("x", 40, 40)
    y = tg.relu(x @ x) @ x
    with pytest.raises(PlanError, match="run at the same time") as caught:
        tg.compile([x], [tg.tanh(y @ y)], without=["contract"])
    message = str(caught.value).replace("'contract', ", "")  # what was left out already stays out
    here = rf"{Path(__file__).name}:\d+"
    assert re.search(rf"planned for: {here}(; {here})*\n", message)
    assert re.search(helps, message)
    assert (
        "fault of tinygraph, not of your program" in message and "tg.dump(error.graph)" in message
    )
    assert "matmul" in tg.dump(caught.value.graph)


def test_a_thousand_launches_take_no_time():
    """Two chains side by side, so that order is not simply the order of launches."""
    x, y = input("x", 20, 20), input("y", 20, 20)
    for _ in range(250):
        x, y = ops.tanh(x @ x), ops.tanh(y @ y)
    plan = plan_of(x, y, without=("fuse",))
    assert len(plan.launches) >= 500
    start = time.process_time()
    verify_plan(plan)
    assert time.process_time() - start < 1
