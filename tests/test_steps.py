"""The planner's steps: in order, each of them visible, and right plans where one is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from exact_plans import network, planned, results, state, x
from random_networks import Network
from tinygraph import ops
from tinygraph.graph.interpret import run
from tinygraph.plan.records.plan import Bundle
from tinygraph.plan.records.steps import CHOICES, OPTIONAL
from tinygraph.plan.schedule import STEPS, Planning, schedule


def recurrent() -> Network:
    """A loop with a product in each step, whose parameter gets a new value."""
    w = state(3, 3)
    (y,), _ = tg.scan(lambda s, a: (s @ w + a,), x(2, 3, name="s"), x(4, 2, 3, name="xs"))
    return network(ops.sum(y * 2 - y, axis=0), updates={w: w - 1})


def statistics() -> Network:
    """What absorbing and joining change: an epilogue of a reduction, and two over one image."""
    a, b = x(4, 6, name="a"), x(6, name="b")
    centred = a - ops.sum(a, axis=0)
    return network(ops.max(a, axis=0) + ops.relu(b), ops.sum(a, axis=0), ops.max(centred, axis=1))


def branches() -> Network:
    """What is bundled: products that do not depend on each other."""
    a = x(5, 4)
    return network(*(a @ tg.input(f"w{i}", 4, 3 + i) for i in range(3)))


@pytest.mark.parametrize("make", [recurrent, statistics, branches])
@pytest.mark.parametrize("without", OPTIONAL)
def test_a_plan_without_a_step_is_right(make: Any, without: str) -> None:
    net = make()
    for got, want in zip(
        results(net, planned(net, [without])), run(net.graph, *net.arrays), strict=True
    ):
        np.testing.assert_array_equal(got, want)


def test_steps_can_be_watched() -> None:
    seen: list[tuple[str, int]] = []

    def watch(name: str, planning: Planning) -> None:
        seen.append((name, sum(bool(g.index) for g in planning.fusion.groups)))

    schedule(statistics().graph, watch=watch)
    assert [name for name, _ in seen] == [step.__name__ for step in STEPS]
    kernels = [count for _, count in seen]
    assert kernels == sorted(kernels, reverse=True) and kernels[-1] < kernels[0]


def test_every_step_is_of_use() -> None:
    """Without absorbing and joining there are more kernels, without bundling more launches."""

    def kernels(net: Network, *without: str) -> int:
        return sum(len(launch.members) for launch in planned(net, without).launches)

    assert kernels(statistics()) < kernels(statistics(), "absorb", "join_siblings")
    assert len(planned(branches()).launches) < len(planned(branches(), ["bundle"]).launches)
    assert isinstance(planned(branches()).launches[0].work, Bundle)


def test_a_program_accepts_the_names() -> None:
    a, b = tg.input("a", 3, 4), tg.input("b", 4, 2)
    values = [np.ones(n.shape, np.float32) for n in (a, b)]
    for name in (*CHOICES, *OPTIONAL):
        (found,) = tg.compile([a, b], [tg.relu(a @ b) + 1], without=[name])(*values)
        np.testing.assert_array_equal(found, np.full((3, 2), 5))
    with pytest.raises(ValueError, match="without='absorbing'"):
        tg.compile([a], [a + 1], without=["absorbing"])
