"""Makes torch_fine_tuning.json: losses of PyTorch for tests/test_onnx_training.py.

    PYTHONPATH=tests:. python tests/golden/make_torch_fine_tuning.py
                                                   needs PyTorch (made with 2.13); the tests do not

All of LeNet-5, and the last layer of a ResNet-50 whose normalizations keep their statistics, are
trained on one batch by SGD with momentum.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

import onnx_fine_tuning as fine_tuning
from benchmarks.torch_networks import LeNet5, ResNet50


def losses(name: str, net: nn.Module, trained: list[nn.Parameter]) -> list[float]:
    state = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    made = fine_tuning.weights({k: tuple(v.shape) for k, v in state.items()})
    net.load_state_dict({k: torch.from_numpy(v) for k, v in made.items()}, strict=False)
    images, labels = map(torch.from_numpy, fine_tuning.batch(name))
    optimizer = torch.optim.SGD(trained, fine_tuning.RATE, fine_tuning.MOMENTUM)
    found = []
    for _ in range(fine_tuning.STEPS):
        loss = nn.functional.cross_entropy(net.eval()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main() -> None:
    small, large = LeNet5(), ResNet50(fine_tuning.CLASSES)
    found = {
        "lenet5": losses("lenet5", small, list(small.parameters())),
        "resnet50": losses("resnet50", large, list(large.fc.parameters())),
    }
    path = Path(__file__).parent / "torch_fine_tuning.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
