"""Makes torch_recurrent.npz: PyTorch's recurrent layers, for tests/test_recurrent.py.

    python tests/golden/make_torch_recurrent.py        needs PyTorch (made with 2.13)

Each case has the layer's state, an input x, its output y, the states that it leaves (left/0, ...),
and the gradients of sum(y * cos(0, 1, 2, ...)) + sum(left ** 2) for x and all parameters.
``losses`` are those of three steps of SGD (lr 0.1, momentum 0.9) on the mean of (y - 0.5) ** 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

CASES: dict[str, tuple[type, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "lstm_layers": (nn.LSTM, {"num_layers": 2, "batch_first": True}),
    "lstm_both_ways": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "rnn": (nn.RNN, {"bias": False}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
    "gru": (nn.GRU, {}),
    "gru_layers": (nn.GRU, {"num_layers": 2, "batch_first": True, "bias": False}),
    "gru_lengths": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    "lstm_lengths": (nn.LSTM, {"bidirectional": True}),
}


def called(layer: Any, x: torch.Tensor, packed: bool) -> tuple[torch.Tensor, Any]:
    """Of the two sequences of ``packed`` inputs one has 3 steps, the other 5."""
    if not packed:
        return layer(x)
    rows = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 5]), enforce_sorted=False)
    y, left = layer(rows)
    return nn.utils.rnn.pad_packed_sequence(y)[0], left


def main() -> None:
    torch.manual_seed(0)
    found: dict[str, np.ndarray] = {}
    for name, (make, options) in CASES.items():
        layer = make(3, 4, **options)
        found |= {f"{name}/state/{k}": v.numpy().copy() for k, v in layer.state_dict().items()}
        x = torch.randn(5, 2, 3, requires_grad=True)
        y, left = called(layer, x, "lengths" in name)
        left = left if isinstance(left, tuple) else (left,)
        weights = torch.cos(torch.arange(y.numel(), dtype=torch.float32)).reshape(y.shape)
        ((y * weights).sum() + sum((s * s).sum() for s in left)).backward()
        found |= {f"{name}/x": x.detach().numpy(), f"{name}/y": y.detach().numpy()}
        found |= {f"{name}/left/{k}": s.detach().numpy() for k, s in enumerate(left)}
        found[f"{name}/gradient/x"] = x.grad.numpy()
        for k, p in layer.named_parameters():
            found[f"{name}/gradient/{k}"] = p.grad.numpy().copy()
        sgd, losses = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9), []
        for _ in range(3):
            loss = ((called(layer, x.detach(), "lengths" in name)[0] - 0.5) ** 2).mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            losses.append(loss.item())
        found[f"{name}/losses"] = np.array(losses, np.float32)
    np.savez_compressed(Path(__file__).with_name("torch_recurrent.npz"), **found)


if __name__ == "__main__":
    main()
