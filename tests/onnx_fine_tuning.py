"""Weights and data for fine-tuning, the same for PyTorch and tinygraph; NumPy only."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

STEPS, RATE, MOMENTUM = 3, 0.02, 0.9
IMAGES = {"lenet5": (8, 1, 28, 28), "resnet50": (2, 3, 32, 32)}
CLASSES = 10


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A value for each name, which keeps the size of what passes through the layers."""
    return {name: _value(name, shape) for name, shape in shapes.items()}


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("bn3.weight"):
        value = rng.uniform(0.2, 0.3, shape)
    elif name.endswith(("weight", "running_var")):
        value = rng.uniform(0.8, 1.2, shape)
    else:
        value = rng.standard_normal(shape) * 0.05
    return value.astype(np.float32)


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(7)
    shape = IMAGES[name]
    return rng.uniform(0, 1, shape).astype(np.float32), rng.integers(0, CLASSES, shape[0])
