"""A profile's last lines: where most is to be gained, and what to try."""

from __future__ import annotations

import re

import pytest

import tinygraph as tg
from golden_networks import inspected
from targets import WIDE
from tinygraph.graph.origins import origins
from tinygraph.inspect.advice import CLOSE, advice, other_way
from tinygraph.inspect.fused import choices
from tinygraph.inspect.profile import Profile, Timing
from tinygraph.plan.records.device import Roofline
from whole_networks import WHOLE

PEAK = Roofline(threads=2, flops=2e11, bandwidth=4e10)


@pytest.fixture(scope="module")
def program() -> tg.Program:
    inputs, outputs, _ = WHOLE["alexnet"]()
    return tg.compile(inputs, outputs, name="alexnet")


def profile(program: tg.Program, factors: dict[int, float], busy: float = 1.0) -> Profile:
    """Launches at their roofline, but some take so many times longer."""
    costs = program.costs()
    best = [2 * max(c.flops / PEAK.flops, c.bytes / PEAK.bandwidth) for c in costs]
    times = [factors.get(k, 1.0) * t for k, t in enumerate(best)]
    return Profile("alexnet", Timing(times, sum(times) / PEAK.threads / busy, PEAK), costs)


def slowest(program: tg.Program, prefix: str) -> int:
    costs = program.costs()
    found = [k for k, c in enumerate(costs) if c.launch.name.startswith(prefix)]
    return max(found, key=lambda k: costs[k].flops)


def test_the_launch_with_most_to_gain_comes_first(program):
    conv, product = slowest(program, "conv2d"), slowest(program, "matmul")
    first, _second, *_ = advice(profile(program, {conv: 20.0, product: 2.0}))[1:]
    assert "conv2d" in first and "5 % of its limit" in first
    text = "\n".join(advice(profile(program, {conv: 20.0, product: 2.0})))
    assert re.search(r'compile\(conv=\{"\S+": "(winograd|implicit)"\}\)', text)
    text = "\n".join(advice(profile(program, {product: 30.0})))
    assert "matmul" in text and 'explain("' in text and "conv=" not in text


def test_idle_threads_and_shares_above_the_limit_are_explained(program):
    text = " ".join(advice(profile(program, {}, busy=0.4)))
    assert "2 threads are busy for 40 %" in text
    fast = {slowest(program, "matmul"): 0.5}
    text = " ".join(advice(profile(program, fast)))
    assert re.search(r"1 launch is above 100 % of their limit: their\s+bytes come", text)


@pytest.mark.parametrize("name", ["lenet5_step", "alexnet", "googlenet", "resnet50"])
def test_options_are_for_layers_there_are_and_not_for_what_was_estimated_to_be_slower(name):
    inputs, outputs, updates = WHOLE[name]()
    found = inspected(WIDE, inputs, outputs, updates)
    scopes = {o.scope for n in found.steps[0].graph.nodes for o in origins(n)}
    asked = 0
    for cost in found.costs:
        for m in cost.launch.members:
            if (option := other_way(m, choices(found.plan))) is not None:
                asked += 1
                assert option[0] in scopes, option
                texts = [w for at, w in choices(found.plan).items() if f"in {option[0]})" in at]
                slow = re.findall(r"estimated at (\d+\.\d+)", " ".join(texts))
                assert option[1] == "implicit" or min(map(float, slow)) < CLOSE
    assert asked > 0 or name == "lenet5_step"


def test_nothing_to_do_is_said(program):
    assert advice(profile(program, {})) == [
        "next: nothing stands out; all launches that matter are near what is possible"
    ]
    assert str(profile(program, {})).endswith("near what is possible")
