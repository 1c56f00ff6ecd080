"""Values that a bundle does not carry: drawn from a seed, the same where it is written and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.compiler.arguments import draw
from tinygraph.graph.types import Type

SAMPLE = 1 << 16  # elements of a result that are carried and compared


def drawn_inputs(described: Sequence[tuple[str, Sequence[int], str]]) -> dict[str, np.ndarray]:
    """One for each (name, shape, dtype), in order."""
    rng = np.random.default_rng(0)
    return {name: draw(Type(tuple(shape), dtype), rng) for name, shape, dtype in described}


def drawn_parameters(described: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Normal values of each one's mean and deviation."""
    rng, found = np.random.default_rng(1), []
    for p in described:
        noise = rng.standard_normal(p["shape"], np.float32) if p["deviation"] else 0
        found.append(np.full(p["shape"], p["mean"] + p["deviation"] * noise, p["dtype"]))
    return found


def sample(array: np.ndarray) -> np.ndarray:
    """An array, or as many of its elements as are compared, the same each time."""
    if array.size <= SAMPLE:
        return array
    places = np.random.default_rng(2).choice(array.size, SAMPLE, replace=False)
    return array.reshape(-1)[np.sort(places)]
