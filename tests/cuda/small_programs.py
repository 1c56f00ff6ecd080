"""Small programs for the GPU's backend, on a machine of which nothing is assumed."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

needs_toolchain = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
NO_DRIVER = "no NVIDIA driver is installed (libcuda.so.1 is missing)"


class Small(nn.Module):
    """Convolutions, pooling, dropout: every kind of kernel that LeNet-5's training step has."""

    def __init__(self):
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(48, 5)

    def forward(self, x, training=False):
        hidden = nn.Flatten()(self.pool(tg.tanh(self.conv(x))))
        return self.fc(self.drop(hidden, training=training))


def step_of(net: nn.Module, *shape: int, backend: str | None = None, name: str = "step"):
    """A training step with momentum."""
    x, label = tg.input("image", *shape), tg.input("label", shape[0], dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, label], [loss], updates=updates, backend=backend, name=name)


def small_step(backend: str | None):
    """The same step each time: weights and masks depend on the seed only."""
    tg.manual_seed(1)
    return step_of(Small(), 3, 1, 8, 8, backend=backend)


PICTURES = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
LABELS = np.array([0, 3, 1], np.int32)


def losses(step, count: int = 3) -> list[float]:
    return [float(step(PICTURES, LABELS)[0]) for _ in range(count)]


def square(backend: str):
    x = tg.input("x", 5)
    return tg.compile([x], [x * x], backend=backend)
