"""The networks of the comparison: one definition in each library, the same weights in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import models, nn


@dataclass(frozen=True)
class Network:
    """A network by its builders in tinygraph and PyTorch, and the shape of one input.

    Inputs are images [channels, height, width], sequences [length, features], or texts [length] if
    there are ``symbols``.
    """

    title: str
    tinygraph: Callable[[], nn.Module]
    torch: str  # a class of torch_networks, with its arguments
    arguments: tuple[Any, ...]
    image: tuple[int, ...]
    classes: int
    symbols: int = 0
    predictions: int = 1  # of each input; a language model makes one for each symbol

    def build(self) -> nn.Module:
        """The tinygraph module with weights that keep activations of one size."""
        net = self.tinygraph()
        rng = np.random.default_rng(0)
        net.load_state_dict({name: _drawn(rng, name, v) for name, v in net.state_dict().items()})
        return net

    def build_torch(self, state: dict[str, np.ndarray]) -> Any:
        """The PyTorch module with these weights."""
        import torch
        import torch_networks

        net = getattr(torch_networks, self.torch)(*self.arguments)
        net.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
        return net

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels."""
        rng, shape = np.random.default_rng(1), (size, *self.image)
        if self.symbols:
            inputs = rng.integers(0, self.symbols, shape, dtype=np.int32)
        else:
            inputs = rng.standard_normal(shape, dtype=np.float32)
        return inputs, rng.integers(0, self.classes, size * self.predictions, dtype=np.int32)


class LanguageModel(models.CharLanguageModel):
    """Texts [N, L] to the logits [N L, symbols] of each next symbol."""

    def forward(self, tokens: tg.Node, training: bool = False) -> tg.Node:  # type: ignore[override]
        logits, _ = super().forward(tokens, training=training)
        return tg.reshape(logits, (-1, logits.shape[-1]))


def _drawn(rng: np.random.Generator, name: str, old: np.ndarray) -> np.ndarray:
    """Weights of variance 2 / fan-in, scales and variances near 1, all else near 0."""
    noise = rng.standard_normal(old.shape, dtype=np.float32)
    if old.ndim > 1:
        return noise * np.float32(np.sqrt(2 * old.shape[0] / old.size))
    near_one = name.endswith("running_var") or (name.endswith("weight") and old.ndim == 1)
    return np.float32(near_one) + noise * np.float32(0.05)


NETWORKS = {
    "lenet": Network("LeNet-5", models.lenet5, "LeNet5", (), (1, 28, 28), 10),
    "alexnet": Network("AlexNet", models.alexnet, "AlexNet", (), (3, 227, 227), 1000),
    "googlenet": Network(
        "GoogLeNet",
        lambda: models.googlenet("batch_norm", auxiliary=False),
        "GoogLeNet",
        ("batch_norm", 1000, False),
        (3, 224, 224),
        1000,
    ),
    "lstm": Network(
        "LSTM", lambda: models.lstm(256, 256, 10), "LSTM", (256, 256, 10), (64, 256), 10
    ),
    "language": Network(
        "LSTM language model",
        lambda: LanguageModel(62, 256, size=256),
        "LanguageModel",
        (62, 256, 1, 256),
        (64,),
        62,
        symbols=62,
        predictions=64,
    ),
    "transformer": Network(
        "Transformer",
        lambda: models.TransformerClassifier(62, 10, 128, size=128, layers=2, heads=4),
        "TransformerClassifier",
        (62, 10, 128, 128, 2, 4),
        (128,),
        10,
        symbols=62,
    ),
}
