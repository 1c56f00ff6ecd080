"""A block of every large network, and networks for sequences whole (as LeNet-5 is elsewhere):
forward and backward, as real PTX in the emulator agree with the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn
from tinygraph.models.blocks import ConvNorm, ConvReLU
from tinygraph.models.googlenet import Inception
from tinygraph.models.resnet import Bottleneck

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)


def alexnet() -> nn.Module:
    """The second layer: groups, local response normalization, overlapping pooling."""
    return nn.Sequential(
        nn.Conv2d(6, 10, 5, padding=2, groups=2), nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def factorized() -> nn.Module:
    """Inception v3's 7x7 in two dimensions one after the other, with batch normalization."""
    return nn.Sequential(
        ConvNorm(5, 6, (1, 7), padding=(0, 3)), ConvNorm(6, 7, (7, 1), padding=(3, 0))
    )


class Recurrent(nn.Module):
    """Three steps of an LSTM."""

    def __init__(self):
        self.lstm = nn.LSTM(5, 7)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        return self.lstm(x)[0]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (alexnet, (2, 6, 11, 9)),
    "googlenet": (lambda: Inception(ConvReLU, 5, 12, 5, 4, 7, 3, 6, 2), (2, 12, 7, 5)),
    "inception_v3": (factorized, (2, 5, 9, 7)),
    "resnet50": (lambda: Bottleneck(8, 4, 2), (2, 8, 7, 9)),
    "lstm": (Recurrent, (3, 2, 5)),
    "transformer": (lambda: nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0), (2, 7, 12)),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward_agree_with_the_cpu(name: str) -> None:
    build, shape = CASES[name]
    nn.manual_seed(3)
    net, x = build(), tg.input("x", *shape)
    out = net(x, training=True)
    direction = tg.input("direction", *out.shape)
    loss = tg.sum(out * direction)
    values = [loss, out, *tg.grad(loss, [x, *net.parameters()])]
    rng = np.random.default_rng(0)
    arrays = [rng.random(s, np.float32) - np.float32(0.5) for s in (shape, out.shape)]
    expected, found = (
        tg.compile([x, direction], values, backend=b)(*arrays) for b in ("cpu", "cuda:emulate")
    )
    for want, have in zip(expected, found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=2e-5 * np.abs(want).max() + 1e-6)


SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: models.rnn(5, 7, 3),
    "character_model": lambda: models.CharLanguageModel(9, hidden=6, layers=2, size=4),
    "language_model": lambda: models.TransformerLanguageModel(9, 4, 8, layers=1, heads=2),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_networks_for_sequences_agree_with_the_cpu(name: str) -> None:
    nn.manual_seed(3)
    net, rng = SEQUENCES[name](), np.random.default_rng(0)
    x = tg.input("x", 2, 3, 5) if name == "rnn" else tg.input("x", 2, 3, dtype="int32")
    array = rng.integers(0, 9, x.shape).astype(x.dtype)
    out = net(x)[0] if name == "character_model" else net(x)
    loss = tg.sum(out * out)
    values = [loss, out, *tg.grad(loss, net.parameters())]
    expected, found = (tg.compile([x], values, backend=b)(array) for b in ("cpu", "cuda:emulate"))
    for want, have in zip(expected, found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=2e-5 * np.abs(want).max() + 1e-6)


def test_generation_with_a_cache_gives_the_logits_of_the_whole_text() -> None:
    """Read by one program on the CPU, and symbol by symbol by another as PTX."""
    nn.manual_seed(3)
    net = models.TransformerLanguageModel(9, 4, 8, layers=1, heads=2)
    tokens = np.random.default_rng(0).integers(0, 9, (2, 3), np.int32)
    x, token = tg.input("x", 2, 3, dtype="int32"), tg.input("token", 2, 1, dtype="int32")
    at = tg.input("at", dtype="int32")
    (whole,) = tg.compile([x], [net(x)])(tokens)
    step = tg.compile([token, at], [net(token, net.caches(batch=2), at)], backend="cuda:emulate")
    parts = [step(tokens[:, i : i + 1], i)[0] for i in range(3)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)


def test_winograd_where_it_is_asked_for() -> None:
    """Forward and backward, on odd sizes, written out as transforms and products."""
    nn.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
    x = tg.input("x", 2, 3, 7, 6)
    out = net(x)
    values = [out, *tg.grad(tg.sum(out * out), [x])]
    array = np.random.default_rng(0).standard_normal(x.shape, np.float32)
    expected = tg.compile([x], values, conv="implicit")(array)
    program = tg.compile([x], values, backend="cuda:emulate", conv="winograd(2)")
    found = program(array)
    assert sum("winograd(2) as transforms" in r for r in program.remarks) == 2
    assert "expand_winograd" in program.stages
    for want, have in zip(expected, found, strict=True):
        np.testing.assert_allclose(have, want, atol=2e-5 * np.abs(want).max())
