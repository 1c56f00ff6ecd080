"""Programs of the same parameters share prepared values."""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import nn


def grid(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, "float32")


def runner(program: tg.Program):
    return program._runner


def test_each_prepared_value_is_kept_once() -> None:
    """Two networks with a layer in common, which is packed alike in both."""
    tg.manual_seed(0)
    first, second = nn.Linear(96, 48), nn.Linear(48, 40)
    x = tg.input("x", 64, 96)
    one = tg.compile([x], [first(x)])
    two = tg.compile([x], [second(tg.relu(first(x)))])
    assert runner(one).prepared.own > 0
    total = two.built.code.prepared
    assert 0 < runner(two).prepared.own < total
    assert set(runner(one).prepared.addresses) <= set(runner(two).prepared.addresses)
    given = grid(64, 96)
    for _ in range(2):  # values follow the parameters in both, whichever runs first
        hidden = given @ first.weight.value.T + first.bias.value
        np.testing.assert_allclose(one(given)[0], hidden, 1e-4, 1e-4)
        want = np.maximum(hidden, 0) @ second.weight.value.T + second.bias.value
        np.testing.assert_allclose(two(given)[0], want, 1e-4, 1e-4)
        first.weight.value = first.weight.value * 2 + 1
        np.testing.assert_allclose(
            two(given)[0],
            np.maximum(given @ first.weight.value.T + first.bias.value, 0) @ second.weight.value.T
            + second.bias.value,
            1e-4, 1e-2,
        )  # fmt: skip


def test_shared_values_outlive_the_program_that_made_them() -> None:
    layer, x = nn.Linear(96, 48), tg.input("x", None, 96)
    run = tg.compile([x], [layer(x)])
    run(grid(2, 96))
    want = run(grid(64, 96))[0]
    run.sizes.pop(2)
    again = run(grid(64, 96))[0]
    np.testing.assert_array_equal(again, want)
    fresh = tg.compile([x], [layer(x)])
    np.testing.assert_array_equal(fresh(grid(64, 96))[0], want)


def test_programs_without_parameters_in_common_share_nothing() -> None:
    x = tg.input("x", 64, 64)
    layers = nn.Linear(64, 64), nn.Linear(64, 64)
    programs = [tg.compile([x], [tg.softmax(layer(x) @ x)]) for layer in layers]
    programs += [tg.compile([x], [tg.softmax(x @ x + k) @ x]) for k in (1.0, 2.0)]
    places = [a for p in programs for a in set(p._runner.prepared.addresses)]
    assert len(places) == len(set(places))
