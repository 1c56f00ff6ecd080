"""Initial values: functions that draw an array from a shape and a random generator.

Weights are [outputs, inputs, *kernel]; fan-in is inputs times the kernel's size, fan-out is
outputs times it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.numeric import numeric

__all__ = (
    "constant",
    "fan_in_uniform",
    "fans",
    "he",
    "normal",
    "uniform",
    "xavier",
)

Initializer = Callable[[tuple[int, ...], np.random.Generator], Any]
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
BLOCK = 1 << 16  # numbers that are drawn at a time


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Draws element after element: ``law`` of the whole shape, called with a part's."""

    law: Callable[[tuple[int, ...]], Law]

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.law(shape)(rng, shape)

    def rows(self, shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The same numbers, some rows at a time, so that a large weight is in memory once."""
        draw, (count, *row) = self.law(shape), shape
        step = max(1, BLOCK // max(1, math.prod(row)))
        for at in range(0, count, step):
            yield draw(rng, (min(step, count - at), *row))


@numeric
def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a weight.

    Args:
        shape: [outputs, inputs, *kernel].

    Raises:
        ValueError: it has fewer than two axes.

    Example:
        >>> nn.init.fans((64, 3, 7, 7))
        (147, 3136)
    """
    if len(shape) < 2:
        raise ValueError(f"fans are those of weights [outputs, inputs, ...], got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


@numeric
def constant(value: float) -> Initializer:
    """``value`` everywhere.

    Example:
        >>> nn.Linear(2, 2, initial=nn.init.constant(0.5)).weight.value
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
    """
    return lambda shape, rng: np.full(shape, value, np.float32)


@numeric
def normal(std: float = 0.01, mean: float = 0.0) -> Initializer:
    """Normally distributed with this standard deviation, ``std``, and mean.

    Example:
        >>> layer = nn.Linear(2, 2, initial=nn.init.normal(std=0.02))
    """
    return Elementwise(lambda shape: lambda rng, part: rng.normal(mean, std, part))


@numeric
def uniform(low: float, high: float) -> Initializer:
    """Uniform between ``low`` and ``high``.

    Example:
        >>> layer = nn.Linear(2, 2, initial=nn.init.uniform(-0.1, 0.1))
    """
    return Elementwise(lambda shape: lambda rng, part: rng.uniform(low, high, part))


def _with_variance(variance: Callable[[int, int], float], distribution: str) -> Initializer:
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"distribution is 'normal' or 'uniform', got {distribution!r}")

    def law(shape: tuple[int, ...]) -> Law:
        std = math.sqrt(variance(*fans(shape)))
        if distribution == "normal":
            return lambda rng, part: rng.normal(0, std, part)
        return lambda rng, part: rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, part)

    return Elementwise(law)


@numeric
def xavier(gain: float = 1.0, distribution: str = "uniform") -> Initializer:
    """Variance 2 gain^2 / (fan-in + fan-out) (Glorot and Bengio, AISTATS 2010, eq. 16).

    Args:
        gain: a factor for what follows the layer; ``distribution``: ``uniform`` or ``normal``.

    Example:
        >>> layer = nn.Linear(2, 2, initial=nn.init.xavier())
    """
    return _with_variance(lambda fan_in, fan_out: 2 * gain**2 / (fan_in + fan_out), distribution)


@numeric
def he(gain: float = math.sqrt(2), distribution: str = "normal", fan: str = "in") -> Initializer:
    """Variance gain^2 / fan (He et al., ICCV 2015, section 2.2); ``fan`` is 'in' or 'out'.

    Args:
        gain: sqrt(2) for ReLU.
        distribution: ``normal`` or ``uniform``.

    Raises:
        ValueError: an unknown fan or distribution.

    Example:
        >>> layer = nn.Conv2d(3, 8, 3, initial=nn.init.he(fan="out"))
    """
    if fan not in ("in", "out"):
        raise ValueError(f"fan is 'in' or 'out', got {fan!r}")
    return _with_variance(
        lambda fan_in, fan_out: gain**2 / (fan_in if fan == "in" else fan_out), distribution
    )


def fan_in_uniform() -> Initializer:
    """Uniform in +-1 / sqrt(fan-in): what PyTorch gives linear layers and convolutions.

    Example:
        >>> layer = nn.Linear(2, 2, initial=nn.init.fan_in_uniform())
    """
    return he(gain=math.sqrt(1 / 3), distribution="uniform")
