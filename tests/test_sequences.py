"""Networks for sequences: logits, three losses and all gradients of PyTorch's version.

Golden values come from tests/golden/make_torch_sequences.py, which says how weights are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_torch_models import MOMENTUM, direction, weights
from make_torch_sequences import CASES, RATE, batch

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_sequences.npz"))


class PooledBert(models.Bert):
    """Symbols [N, L] to the pooled vector [N, size]."""

    def forward(self, tokens: tg.Node, training: bool = False) -> tg.Node:  # type: ignore[override]
        return super().forward(tokens)[1]


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "rnn": models.rnn,
    "lstm": models.lstm,
    "character_model": models.CharLanguageModel,
    "classifier": models.TransformerClassifier,
    "language_model": models.TransformerLanguageModel,
    "bert": lambda **arguments: PooledBert(**arguments, dropout=0.0),
}


def build(name: str) -> nn.Module:
    """The network of a case, with its weights."""
    net = NETWORKS[name](**CASES[name].arguments)
    state = {n: weights(n, v.shape) for n, v in net.state_dict().items()}
    if name == "language_model":  # the same parameter under its second name
        state["head.weight"] = state["embedding.symbols.weight"]
    net.load_state_dict(state)
    return net


def test_every_golden_network_is_tested() -> None:
    assert {key.split("/")[0] for key in GOLDEN} - {"attention"} == set(NETWORKS) == set(CASES)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_losses_and_all_gradients_are_those_of_pytorch(name: str) -> None:
    net, (data, labels) = build(name), batch(CASES[name])
    x = tg.input("x", *data.shape, dtype=data.dtype.name)
    y = tg.input("y", *labels.shape, dtype="int32")
    made = net(x, training=True)
    logits = made[0] if isinstance(made, tuple) else made
    loss = nn.cross_entropy(logits, y, axis=-1)
    trained = net.named_parameters()
    assert list(trained) == list(GOLDEN[f"{name}/parameters"])
    updates = optim.SGD(RATE, momentum=MOMENTUM).updates(loss, net.parameters())
    step = tg.compile([x, y], [loss, logits, *tg.grad(loss, net.parameters())], updates=updates)
    results = [step(data, labels) for _ in range(3)]
    losses, (_, found, *gradients) = [r[0] for r in results], results[0]
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=2e-5)
    np.testing.assert_allclose(found, GOLDEN[f"{name}/logits"], rtol=1e-4, atol=1e-5)
    golden = GOLDEN[f"{name}/gradients"]
    least = 1e-6 * golden[:, 0].max()  # a key's bias has no gradient: what is found is rounding
    for path, g, (norm, product) in zip(trained, gradients, golden, strict=True):
        assert np.linalg.norm(g) == pytest.approx(norm, rel=1e-4, abs=least), path
        along = (g * direction(g.shape)).sum()
        assert along == pytest.approx(product, abs=1e-4 * norm + least), path
