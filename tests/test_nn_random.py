"""What layers draw: initial values and masks, which a seed repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    nn.manual_seed(0)
    yield
    nn.manual_seed(0)


# -- initial values --------------------------------------------------------------------------------


def test_values_depend_on_names_not_on_the_order_of_building_or_use() -> None:
    def build(order: str) -> dict[str, np.ndarray]:
        nn.manual_seed(7)
        layers = {name: nn.Linear(3, 3) for name in order}
        net = nn.Sequential(**{name: layers[name] for name in "ab"})
        return {name: net.named_parameters()[f"{name}.weight"].value for name in order}

    first, second = build("ab"), build("ba")
    np.testing.assert_array_equal(first["a"], second["a"])
    np.testing.assert_array_equal(first["b"], second["b"])
    assert not np.array_equal(first["a"], first["b"])


def test_networks_of_one_process_start_differently_and_a_seed_repeats_them() -> None:
    a, b = nn.Linear(3, 3).weight.value, nn.Linear(3, 3).weight.value
    nn.manual_seed(0)
    np.testing.assert_array_equal(nn.Linear(3, 3).weight.value, a)
    nn.manual_seed(1)
    c = nn.Linear(3, 3).weight.value
    assert not np.array_equal(a, b) and not np.array_equal(a, c)


def test_the_seed_is_that_of_the_time_of_building() -> None:
    nn.manual_seed(3)
    late = nn.Linear(3, 3)
    nn.manual_seed(4)
    value = late.weight.value
    nn.manual_seed(3)
    np.testing.assert_array_equal(nn.Linear(3, 3).weight.value, value)


@pytest.mark.parametrize("initial", [nn.init.normal(), nn.init.uniform(-1, 1), nn.init.xavier()])
@pytest.mark.parametrize("shape", [(700, 300), (3, 70000), (0, 5), (5, 0)])
def test_numbers_are_the_same_some_rows_at_a_time(initial, shape: tuple[int, ...]) -> None:
    at_once = initial(shape, np.random.default_rng(5))
    parts = [*initial.rows(shape, np.random.default_rng(5))]
    assert all(p.size <= max(nn.init.BLOCK, math.prod(shape[1:])) for p in parts)
    np.testing.assert_array_equal(np.concatenate([*parts, at_once[:0]]), at_once)


@pytest.mark.parametrize(
    ("initial", "std", "bound"),
    [
        (nn.init.normal(0.5), 0.5, math.inf),
        (nn.init.uniform(-2, 2), 2 / math.sqrt(3), 2),
        (nn.init.xavier(), math.sqrt(2 / 450), math.sqrt(6 / 450)),
        (nn.init.xavier(2.0, "normal"), 2 * math.sqrt(2 / 450), math.inf),
        (nn.init.he(), math.sqrt(2 / 270), math.inf),
        (nn.init.he(1.0, "uniform", "out"), math.sqrt(1 / 180), math.sqrt(3 / 180)),
        (nn.init.fan_in_uniform(), math.sqrt(1 / 3 / 270), 1 / math.sqrt(270)),
    ],
)
def test_distributions(initial: nn.init.Initializer, std: float, bound: float) -> None:
    value = nn.Conv2d(30, 20, 3, initial=initial).weight.value
    assert value.dtype == np.float32
    assert abs(value.std() / std - 1) < 0.03 and abs(value.mean()) < 0.05 * std
    assert np.abs(value).max() <= bound * 1.0001


def test_default_values_are_in_the_range_of_pytorchs() -> None:
    for layer, inputs in ((nn.Linear(50, 40), 50), (nn.ConvTranspose2d(4, 50, 3), 450)):
        for p in layer.parameters():
            assert 0.9 < np.abs(p.value).max() * math.sqrt(inputs) <= 1.0001


# -- dropout ---------------------------------------------------------------------------------------


def test_dropout_keeps_its_share_and_scale_and_only_in_training() -> None:
    x = tg.input("x", 100, 100)
    layer = nn.Dropout(0.3)
    assert layer(x) is x
    (y,) = tg.compile([x], [layer(x, training=True)])(np.ones((100, 100), "float32"))
    assert abs((y != 0).mean() - 0.7) < 0.02
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)


def test_no_two_masks_are_the_same() -> None:
    ones = np.ones((8, 64), "float32")
    x = tg.input("x", 8, 64)
    net = nn.Sequential(a=nn.Dropout(), b=nn.Dropout())
    calls = [net[0](x, training=True), net[1](x, training=True), net[0](x, training=True)]
    program = tg.compile([x], calls)
    masks = [y for _ in range(2) for y in program(ones)]
    assert len({m.tobytes() for m in masks}) == 6
    nn.manual_seed(0)
    again = [y for _ in range(2) for y in program(ones)]
    for mask, other in zip(masks, again, strict=True):
        np.testing.assert_array_equal(mask, other)
    nn.manual_seed(1)
    assert not np.array_equal(program(ones)[0], masks[0])


def test_dropout_requires_a_probability() -> None:
    with pytest.raises(ValueError, match="p in"):
        nn.Dropout(1.5)
