"""Makes torch_sequences.npz: PyTorch's networks for sequences, for tests/test_sequences.py.

    python tests/golden/make_torch_sequences.py     needs PyTorch (made with 2.13); the tests do not

As make_torch_models.py, in float64: the logits, the losses of three SGD steps with momentum, the
norm of every gradient of the first step, and its product with a fixed direction. And attention of
five queries to seven keys, for tests/test_transformer.py: the layer's output and its gradients.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_torch_models import MOMENTUM, direction, weights

HERE = Path(__file__).parent
SYMBOLS, CLASSES, BATCH, LENGTH, INPUTS, RATE = 11, 5, 3, 7, 4, 0.1
TRANSFORMER = {"symbols": SYMBOLS, "length": 9, "size": 12, "layers": 2, "heads": 3}
RECURRENT = {"inputs": INPUTS, "hidden": 6, "classes": CLASSES}


@dataclass(frozen=True)
class Case:
    """A class of benchmarks/torch_networks, its arguments; whether each symbol has a label."""

    network: str
    arguments: dict[str, int]
    every: bool = False


CASES = {
    "rnn": Case("RNN", RECURRENT),
    "lstm": Case("LSTM", RECURRENT),
    "character_model": Case(
        "CharLanguageModel", {"symbols": SYMBOLS, "hidden": 6, "layers": 2, "size": 5}, True
    ),
    "classifier": Case("TransformerClassifier", TRANSFORMER | {"classes": CLASSES}),
    "language_model": Case("TransformerLanguageModel", TRANSFORMER, True),
    "bert": Case("Bert", TRANSFORMER),
}
MASKS: dict[str, np.ndarray | None] = {
    "none": None,
    "boolean": np.arange(7) < np.array([3, 7]).reshape(2, 1, 1, 1),  # behind the texts' ends
    "added": np.random.default_rng(12).standard_normal((5, 7), np.float32),
}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [BATCH, LENGTH], or vectors [BATCH, LENGTH, INPUTS]; labels."""
    rng = np.random.default_rng(7)
    tokens = rng.integers(0, SYMBOLS, (BATCH, LENGTH), np.int32)
    shape = (BATCH, LENGTH) if case.every else (BATCH,)
    labels = rng.integers(0, SYMBOLS if case.every else CLASSES, shape, np.int32)
    if "inputs" in case.arguments:
        return rng.standard_normal((BATCH, LENGTH, INPUTS), np.float32), labels
    return tokens, labels


def attended() -> list[np.ndarray]:
    """Queries [2, 5, 8], keys and values [2, 7, 8]."""
    rng = np.random.default_rng(3)
    return [rng.standard_normal((2, n, 8), np.float32) for n in (5, 7, 7)]


def main() -> None:
    sys.path.insert(0, str(HERE.parent.parent / "benchmarks"))
    found = _networks() | _attention()
    np.savez_compressed(HERE / "torch_sequences.npz", **found)  # type: ignore[arg-type]


def _networks() -> dict[str, np.ndarray]:
    import torch
    import torch_networks

    found: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        net = getattr(torch_networks, case.network)(**case.arguments).double()
        shapes = {n: tuple(v.shape) for n, v in net.named_parameters()}
        drawn = {n: torch.from_numpy(weights(n, shape)) for n, shape in shapes.items()}
        net.load_state_dict(drawn, strict=False)
        x, labels = map(torch.from_numpy, batch(case))
        x, labels = x.double() if x.is_floating_point() else x, labels.long().reshape(-1)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
        losses = []
        for step in range(3):
            optimizer.zero_grad()
            logits = net(x)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels)
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                gradients = [p.grad.numpy() for p in net.parameters()]
                rows = [(np.linalg.norm(g), (g * direction(g.shape)).sum()) for g in gradients]
                found[f"{name}/gradients"] = np.array(rows)
                found[f"{name}/logits"] = logits.detach().numpy()
                found[f"{name}/parameters"] = np.array(list(shapes))
            optimizer.step()
        found[f"{name}/losses"] = np.array(losses)
        print(name, losses)
    return found


def _attention() -> dict[str, np.ndarray]:
    """The output, and the gradients of its product with ``direction``: of q, k, v, parameters."""
    import torch

    layer = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    shapes = {n: tuple(v.shape) for n, v in layer.state_dict().items()}
    layer.load_state_dict({n: torch.from_numpy(weights(n, shape)) for n, shape in shapes.items()})
    found: dict[str, np.ndarray] = {}
    for kind, mask in MASKS.items():
        for causal in (False, True):
            hidden = np.zeros((5, 7)) if mask is None else mask
            hidden = np.where(hidden, 0, -np.inf) if hidden.dtype == bool else hidden
            hidden = hidden + np.where(np.tri(5, 7), 0, -np.inf) if causal else hidden
            whole = torch.from_numpy(np.broadcast_to(hidden, (2, 2, 5, 7)).reshape(4, 5, 7).copy())
            tensors = [torch.from_numpy(a).double().requires_grad_() for a in attended()]
            out, _ = layer(*tensors, attn_mask=whole.double())
            wanted = [*tensors, *layer.parameters()]
            loss = (out * torch.from_numpy(direction(tuple(out.shape)))).sum()
            results = [out, *torch.autograd.grad(loss, wanted)]
            found |= {
                f"attention/{kind}/{causal}/{i}": r.detach().numpy().astype(np.float32)
                for i, r in enumerate(results)
            }
    return found


if __name__ == "__main__":
    main()
