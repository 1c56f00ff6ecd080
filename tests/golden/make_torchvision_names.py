"""Makes torchvision_names.npz, which tests/test_torch_file.py reads.

    python tests/golden/make_torchvision_names.py   needs torchvision (made with 0.28); tests do not

The names and shapes of all that torchvision's checkpoints hold, auxiliary classifiers included, in
its order: for each network the names, and shapes as '64x3x7x7', '' for a number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision import models

NETWORKS = {
    "alexnet": models.alexnet,
    "googlenet": lambda: models.googlenet(init_weights=False),
    "inception_v3": lambda: models.inception_v3(init_weights=False),
    "resnet50": models.resnet50,
}


def main() -> None:
    found = {}
    for name, build in NETWORKS.items():
        with torch.device("meta"):
            state = build().state_dict()
        found[f"{name}/names"] = np.array(list(state))
        found[f"{name}/shapes"] = np.array(["x".join(map(str, v.shape)) for v in state.values()])
    np.savez_compressed(Path(__file__).with_name("torchvision_names.npz"), **found)


if __name__ == "__main__":
    main()
