"""Makes torch_weights.pth and torch_weights_old.pth, which tests/test_torch_file.py reads.

    python tests/golden/make_torch_files.py        needs PyTorch (made with 2.13); the tests do not

The same values in both of PyTorch's formats: a network with batch normalization, under
'state_dict' as training scripts write it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from make_torch_models import weights
from torch import nn


def main() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    for name, value in net.state_dict().items():
        if not name.endswith("tracked"):
            value.copy_(torch.from_numpy(weights(name, tuple(value.shape))))
    found = {"state_dict": net.state_dict(), "epoch": 3}
    for name, archive in (("torch_weights.pth", True), ("torch_weights_old.pth", False)):
        path = Path(__file__).with_name(name)
        torch.save(found, path, _use_new_zipfile_serialization=archive)


if __name__ == "__main__":
    main()
