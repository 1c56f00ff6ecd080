"""Makes torch_transformer.npz: PyTorch's results for tests/test_transformer.py.

    python tests/golden/make_torch_transformer.py   needs PyTorch (made with 2.13); the tests do not

As make_torch_models.py, in float64: the logits, the losses of three SGD steps with momentum, the
norm of every gradient of the first step, and its product with a fixed direction.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_torch_models import MOMENTUM, direction, weights

HERE = Path(__file__).parent
SYMBOLS, CLASSES, BATCH, LENGTH, RATE = 11, 5, 3, 7, 0.1


@dataclass(frozen=True)
class Case:
    """A class of that name in benchmarks/torch_networks.py and tinygraph.models; labels' shape."""

    network: str
    arguments: dict[str, int]
    labels: tuple[int, ...]


CASES = {
    "classifier": Case(
        "TransformerClassifier",
        {"symbols": SYMBOLS, "classes": CLASSES, "length": 9, "size": 12, "layers": 2, "heads": 3},
        (BATCH,),
    ),
    "language_model": Case(
        "TransformerLanguageModel",
        {"symbols": SYMBOLS, "length": 9, "size": 12, "layers": 2, "heads": 3},
        (BATCH, LENGTH),
    ),
}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [BATCH, LENGTH] and labels."""
    rng = np.random.default_rng(7)
    tokens = rng.integers(0, SYMBOLS, (BATCH, LENGTH))
    return tokens.astype(np.int32), rng.integers(0, CLASSES, case.labels).astype(np.int32)


def main() -> None:
    sys.path.insert(0, str(HERE.parent.parent / "benchmarks"))
    import torch
    import torch_networks

    found: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        net = getattr(torch_networks, case.network)(**case.arguments).double()
        shapes = {n: tuple(v.shape) for n, v in net.named_parameters()}
        drawn = {n: torch.from_numpy(weights(n, shape)) for n, shape in shapes.items()}
        net.load_state_dict(drawn, strict=False)
        tokens, labels = (torch.from_numpy(a).long() for a in batch(case))
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
        losses = []
        for step in range(3):
            optimizer.zero_grad()
            logits = net(tokens)
            rows = logits.reshape(-1, logits.shape[-1])
            loss = torch.nn.functional.cross_entropy(rows, labels.reshape(-1))
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
    np.savez_compressed(HERE / "torch_transformer.npz", **found)


if __name__ == "__main__":
    main()
