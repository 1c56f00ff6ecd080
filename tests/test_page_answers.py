"""Ten questions that somebody new would ask, answered from the data of a page alone."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.page.record import record


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """LeNet-5's training step with a profile, as its page has it."""
    x, y = tg.input("image", 8, 1, 28, 28), tg.input("label", 8, dtype="int32")
    net = models.lenet5()
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(0.1).updates(loss, net.parameters())
    step = tg.compile([x, y], [loss], updates=updates, name="step")
    step.profile(np.zeros(x.shape, "float32"), np.zeros(8, "int32"), repeat=1)
    return json.loads(json.dumps(record(*step.page_record())))


def run(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [k for k in page["kernels"] if k["part"] != "prepare"]


def line(page: dict[str, Any], place: int) -> str:
    p = page["places"][place]
    (block,) = [b for b in page["files"][p["file"]]["blocks"] if b["first"] <= p["line"]][-1:]
    return block["lines"][p["line"] - block["first"]].strip()


def test_which_layer_takes_most_time(page):
    layers: Counter[str] = Counter()
    for k in run(page):
        layers[k["layer"].split(".")[0]] += k["us"]
    assert layers.most_common(1)[0][0] in {"conv1", "conv2", "fc1", "pool"}


def test_why_conv2_is_computed_as_it_is(page):
    (kernel,) = [k for k in run(page) if k["what"].startswith("conv2d 5x5") and
                 k["layer"] == "conv2"]  # fmt: skip
    assert "winograd" in kernel["why"] and "5x5 stride 1" in kernel["why"]


def test_what_is_alive_at_the_peak_and_for_whom(page):
    memory = page["memory"]
    peak = max(memory["live"])
    at = memory["live"].index(peak)
    alive = [k for k, b in enumerate(memory["buffers"])
             if b["home"] == "arena" and b["first"] <= at <= b["last"]]  # fmt: skip
    assert sum(memory["buffers"][k]["bytes"] for k in alive) == peak <= memory["arena"]
    for k in alive:
        readers = [x for x in run(page) if k in x["reads"]]
        assert any(x["launch"] >= at or k in x["writes"] for x in readers)


def test_which_line_of_mine_makes_a_kernel(page):
    (kernel,) = [k for k in run(page) if k["what"].startswith("conv2d 5x5") and
                 k["layer"] == "conv2"]  # fmt: skip
    assert {line(page, p) for p, _ in kernel["places"]} == {
        "loss = nn.cross_entropy(net(x, training=True), y)"
    }
    updates = {line(page, p) for k in run(page) if "update" in k["what"] for p, _ in k["places"]}
    assert "updates = optim.SGD(0.1).updates(loss, net.parameters())" in updates


def test_what_a_pass_changed(page):
    (stage,) = [s for s in page["stages"] if s["name"] == "simplify"]
    ops = lambda numbers: Counter(page["items"][n]["op"] for n in numbers)  # noqa: E731
    assert ops(stage["gone"])["neg"] == 1 and ops(stage["added"])["mul"] >= 1
    rules = {r["name"]: r for r in stage["rules"]}
    assert rules["neg_times_number"]["count"] == 1 or rules["by_power_of_two"]["about"]
    for rule in rules.values():
        assert set(rule["items"]) <= set(stage["items"]) | set(stage["gone"])


def test_what_the_largest_remark_would_save(page):
    kinds: Counter[int] = Counter()
    for r in page["remarks"]:
        kinds[r["kind"]] += r["bytes"]
    kind, saved = kinds.most_common(1)[0]
    largest = [r for r in page["remarks"] if r["kind"] == kind]
    assert saved > 0 and all("are in two kernels: " in r["text"] for r in largest)
    assert all(len(r["items"]) == 2 for r in largest)
    assert saved / page["profile"]["bandwidth"] < 1


def test_how_far_a_kernel_is_from_what_is_possible(page):
    peak = page["profile"]
    for k in run(page):
        if k["us"] and k["bound"] != "launch":
            best = peak["threads"] * max(k["flops"] / peak["flops"], k["bytes"] / peak["bandwidth"])
            assert k["roof"] == pytest.approx(1e6 * best / k["us"], rel=0.02, abs=1e-3)
            assert k["bound"] in ("compute", "memory", "cache")


def test_where_a_threads_time_goes(page):
    threads = page["timeline"]["threads"]
    assert any(threads)  # a worker that was asleep may have missed the call
    for bars in threads:
        times = [t for _, _, taken, begin, end in bars for t in (taken, begin, end)]
        assert times == sorted(times)
    launched = {(launch, member) for bars in threads for launch, member, *_ in bars}
    assert launched == {(k["launch"], k["member"]) for k in run(page)}


def test_what_became_of_a_node_that_i_wrote(page):
    first, last = page["stages"][0], [s for s in page["stages"] if "items" in s][-1]
    relus = [n for n in first["items"] if page["items"][n]["op"] == "relu"]
    assert len(relus) == 4 and set(relus) <= set(last["items"])
    for n in relus:
        (kernel,) = [k for k in run(page) if n in k["items"] and k["part"] == "forward"]
        assert "relu" in kernel["what"]
    written = [n for n in last["items"] if n not in first["items"]]
    assert all(page["items"][n]["from"] for n in written if page["items"][n]["places"])


def test_what_is_forward_what_backward_and_what_an_update(page):
    parts = {k["part"] for k in run(page)}
    assert {"forward", "backward"} <= parts
    convolution = [k for k in run(page) if "conv2d_weight_gradient" in k["what"]]
    assert convolution and all(k["part"] == "backward" for k in convolution)
    assert all("update" in k["parts_of"] for k in convolution)
    items = [page["items"][n] for n in page["stages"][0]["items"]]
    assert Counter(i["part"] for i in items).keys() == {"forward", "backward", "update"}
    assert all(i["scope"] for i in items if i["part"] == "update")
