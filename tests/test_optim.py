"""Optimizers against PyTorch's numbers (made by tests/golden/make_torch_optim.py); their state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import optim
from tinygraph.graph.ir import Graph
from tinygraph.passes.effects import strip_effects

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_optim.npz"))

CASES: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(0.1),
    "sgd_decay": lambda: optim.SGD(0.1, weight_decay=0.05),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optim.Adam(0.05),
    "adam_decay": lambda: optim.Adam(0.05, (0.8, 0.95), 1e-3, weight_decay=0.1),
    "adamw": lambda: optim.AdamW(0.05, weight_decay=0.1),
    "rmsprop": lambda: optim.RMSprop(0.02, weight_decay=0.01),
    "rmsprop_momentum": lambda: optim.RMSprop(0.02, alpha=0.9, eps=1e-4, momentum=0.7),
    "rmsprop_centered": lambda: optim.RMSprop(0.02, centered=True, momentum=0.5),
    "adagrad": lambda: optim.Adagrad(0.1, 0.05, initial_accumulator_value=0.1),
    "nadam": lambda: optim.NAdam(0.05, weight_decay=0.01),
    "groups": lambda: optim.AdamW(
        0.05,
        weight_decay=0.1,
        groups=[
            optim.ParameterGroup(lambda p: p.name == "w", rate=2.0),
            optim.ParameterGroup(lambda p: p.ndim < 2, weight_decay=0.0),
        ],
    ),
    "clipped_values": lambda: optim.SGD(0.1, momentum=0.9, clip_value=0.2),
    "clipped": lambda: optim.SGD(0.1, momentum=0.9, clip=0.5),
}


SCHEDULES: dict[str, optim.Schedule] = {
    "step_decay": optim.step_decay(1.0, 6, 0.3),
    "exponential": optim.exponential(1.0, 0.9),
    "cosine": optim.cosine(1.0, 20, final=0.1),
    "linear": optim.linear(1.0, 10, 0.2),
    "polynomial": optim.polynomial(1.0, 12, 1.5),
    "piecewise": optim.piecewise([3, 9], [1.0, 0.5, 0.25]),
    "restarts": optim.restarts(1.0, 6, final=0.1),
    "one_cycle": optim.one_cycle(2.0, 21),
    "joined": optim.join([0.5, optim.exponential(1.0, 0.9)], [4]),
}


def interpreted(graph: Graph, updates: Sequence[tuple[tg.Parameter, tg.Node]], *arrays: Any) -> Any:
    """One run of a training step by the reference interpreter; returns the outputs."""
    stripped, pairs = strip_effects(graph, updates)
    outputs = (*stripped.outputs, *(new for _, new in pairs))
    values = tg.run(Graph(graph.name, graph.inputs, outputs), *arrays)
    news = values[len(graph.outputs) :]
    for (p, _), value in zip(pairs, news, strict=True):
        p.value = value
    return values[: len(graph.outputs)]


class Fit:
    """The fit of the golden cases: parameters w and b, their loss, and a step."""

    def __init__(self, optimizer: optim.Optimizer):
        self.w, self.b = (tg.parameter(GOLDEN[n], n) for n in "wb")
        x, t = tg.input("x", 8, 4), tg.input("t", 8, 3)
        loss = tg.mean((x @ self.w + self.b - t) ** 2)
        self.optimizer, self.graph = optimizer, Graph("fit", (x, t), (loss,))
        self.updates = optimizer.updates(loss, [self.w, self.b])

    def step(self) -> float:
        (loss,) = interpreted(self.graph, self.updates, GOLDEN["x"], GOLDEN["t"])
        return float(loss)

    def values(self) -> np.ndarray:
        return np.concatenate([self.w.value.ravel(), self.b.value])


def test_every_golden_case_is_tested() -> None:
    schedules = {f"schedule/{name}" for name in SCHEDULES}
    assert set(GOLDEN) == {"x", "t", "w", "b", "plateau", *CASES, *schedules}


# Lion, EMA and accumulated gradients are compared with their formulas below, Plateau with PyTorch;
# warmup joins a line to a schedule, and the others are no method and no schedule.
OTHERS = {
    "Lion", "EMA", "Accumulated", "Plateau", "warmup", "join", "clip_by_global_norm", "Optimizer",
    "ParameterGroup", "Schedule", "Updates",
}  # fmt: skip


def test_every_method_and_schedule_has_a_golden_case() -> None:
    methods = {type(make()).__name__ for make in CASES.values()}
    assert set(optim.__all__) - methods - set(SCHEDULES) - OTHERS == set()


@pytest.mark.parametrize("name", CASES)
def test_five_steps_are_those_of_pytorch(name: str) -> None:
    fit = Fit(CASES[name]())
    for expected in GOLDEN[name]:
        fit.step()
        np.testing.assert_allclose(fit.values(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["nesterov", "adamw", "rmsprop_centered", "clipped"])
def test_compiled_steps_agree(name: str) -> None:
    fit = Fit(CASES[name]())
    step = tg.compile(fit.graph.inputs, fit.graph.outputs, updates=fit.updates)
    for expected in GOLDEN[name]:
        step(GOLDEN["x"], GOLDEN["t"])
        np.testing.assert_allclose(fit.values(), expected, rtol=2e-5, atol=2e-6)


def test_the_rate_can_be_set_between_runs() -> None:
    fit = Fit(optim.SGD(0.1))
    assert fit.optimizer.lr.value == np.float32(0.1)
    fit.optimizer.lr.value = 0.0
    before = fit.values()
    fit.step()
    np.testing.assert_array_equal(fit.values(), before)


def test_state_goes_on_where_it_was() -> None:
    whole, first, second = (Fit(optim.Adam(0.05)) for _ in range(3))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    second.w.value, second.b.value = first.w.value, first.b.value
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    for _ in range(2):
        second.step()
    np.testing.assert_array_equal(second.values(), whole.values())


def test_state_that_does_not_fit_is_one_clear_list() -> None:
    fit = Fit(optim.SGD(0.1, momentum=0.9))
    state = fit.optimizer.state_dict()
    assert set(state) == {"step", "lr", "momentum.w", "momentum.b"}
    del state["momentum.b"]
    state |= {"square.b": np.zeros(3), "momentum.w": np.zeros((3, 4))}
    with pytest.raises(ValueError) as error:
        fit.optimizer.load_state_dict(state)
    text = str(error.value)
    assert "missing: momentum.b" in text
    assert "unexpected: square.b" in text
    assert "momentum.w is (4, 3), got (3, 4)" in text


def test_state_of_parameters_without_a_name_or_of_one_name() -> None:
    pair = [tg.parameter(np.ones(2)) for _ in range(2)]
    pair += [tg.parameter(np.ones(2), "same") for _ in range(2)]
    optimizer = optim.SGD(0.1, momentum=0.9)
    updates = optimizer.updates(tg.sum(sum(p * p for p in pair)), pair)
    assert len({p for p, _ in updates}) == 8
    assert len(optimizer.state_dict()) == 6


def test_state_lies_as_its_parameter_does() -> None:
    w = tg.parameter(np.ones((2, 3)), "w", order=(1, 0))
    updates = optim.SGD(0.1, momentum=0.9).updates(tg.sum(w * w), [w])
    assert [p.state.order for p, _ in updates] == [(1, 0), (1, 0)]
    assert [p.state.trainable for p, _ in updates] == [True, False]


def test_two_programs_share_the_state() -> None:
    w = tg.parameter(np.ones(3), "w")
    optimizer = optim.SGD(0.1, momentum=0.9)
    first, second = (optimizer.updates(tg.sum(w * w * k), [w]) for k in (1.0, 2.0))
    assert [p for p, _ in first] == [p for p, _ in second]


def test_given_gradients_are_taken() -> None:
    w = tg.parameter(np.ones(3), "w")
    updates = optim.SGD(0.5).updates(tg.sum(w), [w], [tg.constant([2.0, 4.0, 6.0])])
    interpreted(Graph("g", (), ()), updates)
    np.testing.assert_array_equal(w.value, [0, -1, -2])


def test_parameters_and_gradients_must_match() -> None:
    w = tg.parameter(np.ones(3), "w")
    with pytest.raises(ValueError, match="got 1 parameters and 2 gradients"):
        optim.SGD(0.5).updates(tg.sum(w), [w], [w, w])
    with pytest.raises(ValueError, match="got 0 parameters"):
        optim.SGD(0.5, clip=1.0).updates(tg.sum(w), [])


def test_nesterov_requires_momentum() -> None:
    with pytest.raises(ValueError, match="momentum"):
        optim.SGD(0.1, nesterov=True)


# -- schedules -------------------------------------------------------------------------------------


def rates(schedule: optim.Schedule, steps: Sequence[int]) -> list[float]:
    step = tg.input("step", dtype="int32")
    graph = Graph("rate", (step,), (schedule(step),))
    return [float(tg.run(graph, np.asarray(s, np.int32))[0]) for s in steps]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_pytorch(name: str) -> None:
    want = GOLDEN[f"schedule/{name}"]
    found = rates(SCHEDULES[name], range(len(want)))
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-7)


def test_schedules_compose() -> None:
    found = rates(optim.warmup(optim.linear(1.0, 10), 4, start=0.2), range(12))
    line = np.clip(1 - np.arange(12) / 10, 0, 1)
    rising = 0.2 + 0.8 * np.clip((np.arange(12) + 1) / 4, 0, 1)
    np.testing.assert_allclose(found, line * rising, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="a schedule more than boundaries"):
        optim.join([0.1], [3])


def test_lion_follows_the_paper() -> None:
    fit = Fit(optim.Lion(0.02, weight_decay=0.1))
    w, b = (GOLDEN[n].astype("f8") for n in "wb")
    mean_w, mean_b = np.zeros_like(w), np.zeros_like(b)
    x, t = GOLDEN["x"].astype("f8"), GOLDEN["t"]
    for _ in range(3):
        fit.step()
        error = (x @ w + b - t) * (2 / t.size)
        gw, gb = x.T @ error, error.sum(0)
        w = w * (1 - 0.02 * 0.1) - 0.02 * np.sign(0.9 * mean_w + 0.1 * gw)
        b = b * (1 - 0.02 * 0.1) - 0.02 * np.sign(0.9 * mean_b + 0.1 * gb)
        mean_w, mean_b = 0.99 * mean_w + 0.01 * gw, 0.99 * mean_b + 0.01 * gb
        np.testing.assert_allclose(fit.values(), np.concatenate([w.ravel(), b]), rtol=1e-4)


def test_gradients_of_several_runs_make_one_step() -> None:
    """Four runs of one batch are one step of the optimizer, whose state waits meanwhile."""
    once, often = Fit(optim.Adam(0.05)), Fit(optim.Accumulated(optim.Adam(0.05), 4))
    for _ in range(2):
        before = often.values()
        for _ in range(3):
            often.step()
            np.testing.assert_array_equal(often.values(), before)
        often.step()
        once.step()
        np.testing.assert_allclose(often.values(), once.values(), rtol=1e-5)


def test_averages_of_weights() -> None:
    fit = Fit(optim.SGD(0.1))
    ema = optim.EMA([fit.w, fit.b], 0.9)
    fit.updates = fit.updates + ema.updates(fit.updates)
    want = {n: GOLDEN[n].copy() for n in "wb"}
    for _ in range(3):
        fit.step()
        for n, p in (("w", fit.w), ("b", fit.b)):
            want[n] = want[n] * 0.9 + p.value * 0.1
    for n, average in ema.state_dict().items():
        np.testing.assert_allclose(average, want[n], rtol=1e-5)


def test_a_rate_falls_where_the_loss_does_not() -> None:
    plateau = optim.Plateau(optimizer := optim.SGD(1.0), factor=0.5, patience=1, least=0.3)
    seen = []
    for loss in (3, 2, 2, 2, 1, 1, 1, 1, 1):
        plateau.step(loss)
        seen.append(float(optimizer.lr.value))  # type: ignore[union-attr]
    np.testing.assert_allclose(seen, GOLDEN["plateau"])
    with pytest.raises(ValueError, match="whose rate is a number"):
        optim.Plateau(optim.SGD(optim.linear(1.0, 3)))


def test_step_decay() -> None:
    found = rates(optim.step_decay(0.4, every=10, factor=0.5), [0, 9, 10, 19, 20, 35])
    np.testing.assert_allclose(found, [0.4, 0.4, 0.2, 0.2, 0.1, 0.05], rtol=1e-6)


def test_exponential() -> None:
    found = rates(optim.exponential(0.4, 0.9), [0, 1, 50])
    np.testing.assert_allclose(found, [0.4, 0.36, 0.4 * 0.9**50], rtol=1e-5)


def test_cosine_with_warmup() -> None:
    steps = [0, 4, 9, 10, 35, 60, 85, 110, 500]
    found = rates(optim.cosine(0.2, 110, warmup=10, final=0.02), steps)
    expected = [
        0.2 * (s + 1) / 10
        if s < 10
        else 0.02 + 0.18 * (1 + math.cos(math.pi * min(1, (s - 10) / 100))) / 2
        for s in steps
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="warmup"):
        optim.cosine(0.2, 10, warmup=10)


def test_a_schedule_counts_the_runs() -> None:
    fit, fixed = Fit(optim.SGD(optim.exponential(0.1, 0.5))), Fit(optim.SGD(0.1))
    for k in range(3):
        fixed.optimizer.lr.value = 0.1 * 0.5**k
        fit.step()
        fixed.step()
    assert fit.optimizer.step.value == 3
    assert "lr" not in fit.optimizer.state_dict()
    np.testing.assert_allclose(fit.values(), fixed.values(), rtol=1e-6)


def test_a_schedule_of_the_user() -> None:
    fit = Fit(optim.SGD(lambda step: tg.where(step < 1, 0.1, 0.0)))
    fit.step()
    after = fit.values()
    fit.step()
    np.testing.assert_array_equal(fit.values(), after)


@pytest.mark.parametrize(
    "made, error, message",
    [
        (lambda: optim.SGD("0.1"), TypeError, r"SGD requires a number as lr, got '0\.1'"),
        (lambda: optim.SGD(None), TypeError, "a number as lr, got None"),
        (lambda: optim.SGD(0.1, momentum=True), TypeError, "a number as momentum, got True"),
        (lambda: optim.SGD(-0.1), ValueError, r"SGD requires 0 <= lr < inf, got -0\.1"),
        (lambda: optim.SGD(float("nan")), ValueError, "0 <= lr < inf, got nan"),
        (lambda: optim.SGD(0.1, clip=-1), ValueError, "0 <= clip < inf, got -1"),
        (lambda: optim.AdamW(weight_decay=-1), ValueError, "AdamW requires 0 <= weight_decay"),
        (lambda: optim.Adam(betas=0.9), TypeError, "two numbers as betas, got 0.9"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), ValueError, r"0 <= betas\[1\] < 1, got 1\.0"),
        (lambda: optim.RMSprop(alpha=1.5), ValueError, "0 <= alpha < 1, got 1.5"),
    ],
)
def test_wrong_numbers_are_named(
    made: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made()


def test_adam_without_a_mean_of_gradients() -> None:
    """beta 0: the first step is lr times the gradient's sign."""
    fit = Fit(optim.Adam(0.1, betas=(0.0, 0.0)))
    before = fit.values()
    fit.step()
    np.testing.assert_allclose(abs(before - fit.values()), 0.1, rtol=1e-4)


def test_the_rate_is_not_replaced_but_set() -> None:
    optimizer = optim.SGD(0.1)
    with pytest.raises(AttributeError, match=r"set optimizer\.lr\.value"):
        optimizer.lr = 0.01


def test_state_is_loaded_after_updates_has_made_it() -> None:
    with pytest.raises(ValueError, match=r"has no state yet: updates\(\) makes it"):
        optim.SGD(0.1, momentum=0.9).load_state_dict({"step": 0, "lr": 0.1, "momentum.w": [0.0]})
