"""Weights that are fetched ahead: which launch fetches what."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

import tinygraph as tg
from targets import WIDE, schedule
from tinygraph.graph.ir import Graph, Node
from tinygraph.inspect.plan_text import plan_text
from tinygraph.plan.records.plan import Launch, Plan
from tinygraph.plan.records.work import SLACK

SIZES = (256, 512, 1024, 64)


def chain(rows: int, **prefetch: float) -> Plan:
    """Products with one weight after the other."""
    x = y = tg.input("x", rows, SIZES[0])
    for i, (k, n) in enumerate(pairwise(SIZES)):
        weight = tg.parameter(np.zeros((n, k), np.float32), f"w{i}")
        y = tg.relu(y @ tg.transpose(weight, (1, 0)))
    return planned(y, x, **prefetch)


def planned(y: Node, *inputs: Node, **prefetch: float) -> Plan:
    """``prefetch`` replaces what a processor fetches ahead."""
    target = replace(WIDE, prefetch=replace(WIDE.prefetch, **prefetch))
    return schedule(Graph("chain", inputs, (y,)), target=target)


def fetched(launch: Launch) -> range:
    """The bytes of the prepared memory that a launch fetches."""
    if launch.ahead is None:
        return range(0)
    access = launch.ahead.start
    start = access.buffer.offset + access.offset
    return range(start, start + launch.ahead.part * launch.parts)


def weights(plan: Plan) -> list[range]:
    """Where the weights lie that the launches read."""
    found = []
    for launch in plan.launches:
        (b,) = (a.buffer for a in launch.accesses if a.buffer.home == "prepared")
        found.append(range(b.offset, b.offset + b.bytes))
    return found


def test_weights_lie_in_the_order_in_which_they_are_read() -> None:
    first, second, third = weights(chain(64))
    assert (first.stop, second.stop) == (second.start, third.start)


def test_a_launch_fetches_what_the_next_ones_read() -> None:
    plan = chain(1024, rate=1e9)
    _, second, third = weights(plan)
    for launch, weight in zip(plan.launches, (second, third), strict=False):
        assert fetched(launch).start == weight.start
        assert 0 <= fetched(launch).stop - weight.stop < launch.parts
    assert not fetched(plan.launches[-1])
    assert f"fetches {len(fetched(plan.launches[0])):,} bytes ahead" in plan_text(plan)


def test_what_a_launch_has_no_time_for_falls_to_those_before() -> None:
    plan = chain(512)
    *_, third = weights(plan)
    room = [WIDE.prefetch.capacity(launch) for launch in plan.launches]
    plan = chain(512, rate=WIDE.prefetch.rate * len(third) / 2 / room[1])
    earlier, later, last = (fetched(launch) for launch in plan.launches)
    assert abs(later.start - (third.start + len(third) // 2)) < 64
    assert later.stop in range(third.stop, third.stop + 64 * plan.launches[1].parts)
    assert earlier.stop in range(later.start, later.start + 64 * plan.launches[0].parts)
    assert not last


def test_what_the_cache_does_not_hold_is_not_fetched() -> None:
    plan = chain(1024, rate=1e9, limit=2**20)
    _, second, third = weights(plan)
    assert len(second) > 2**20 > len(third)
    assert plan.launches[1].parts > plan.launches[1].work.sizes["column_parts"]  # rows, too
    first, second_itself, last = (fetched(launch) for launch in plan.launches)
    assert not first and second_itself.start == third.start and not last


def test_a_weight_that_no_core_keeps_is_fetched_by_its_own_launch() -> None:
    """Each part fetches the columns of the part after the next, if it has the time; no launch
    before fetches any of them.
    """
    plan = chain(128, rate=1e9)
    _, second, third = weights(plan)
    assert len(second) > WIDE.prefetch.near > len(third)
    first, own, last = (fetched(launch) for launch in plan.launches)
    assert first.start == third.start and own.start in second and not last

    plan = chain(128, limit=1 << 10, near=1 << 18, rate=1e9)
    for launch, weight in list(zip(plan.launches, weights(plan), strict=True))[:2]:
        part = launch.ahead.part
        assert part * launch.parts == len(weight) - SLACK
        assert fetched(launch).start == weight.start + 2 * part
    assert plan.launches[2].parts > plan.launches[2].work.sizes["column_parts"]  # rows, too
    assert not fetched(plan.launches[2])
    slow = chain(128, limit=1 << 10, near=1 << 18, rate=1e-3)
    assert not any(map(fetched, slow.launches))
    assert not any(map(fetched, chain(128, limit=1 << 10, near=1 << 10, rate=1e9).launches))
