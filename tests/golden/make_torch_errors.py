"""Makes torch_errors.json: PyTorch's float32 errors, for tests/test_accuracy.py.

    python tests/golden/make_torch_errors.py    needs PyTorch (made with 2.13); the tests do not

Rms errors of each layer's output and gradients against float64, relative to the result; images in
NCHW.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def results(arrays: list[np.ndarray], stride: int, padding: int) -> list[np.ndarray]:
    """The output and the gradients to image and weights."""
    x, w, g = (torch.from_numpy(a).requires_grad_() for a in arrays)
    y = torch.nn.functional.conv2d(x, w, stride=stride, padding=padding)
    y.backward(g)
    return [t.detach().numpy() for t in (y, x.grad, w.grad)]


def main() -> None:
    sys.path.insert(0, str(HERE.parent))
    from test_accuracy import LAYERS, RESULTS, rms

    errors = {}
    for name, layer in LAYERS.items():
        arrays = layer.arrays()
        single = results(arrays, layer.stride, layer.padding)
        exact = results([a.astype(np.float64) for a in arrays], layer.stride, layer.padding)
        pairs = zip(RESULTS, single, exact, strict=True)
        errors[name] = {n: float(f"{rms(a - e) / rms(e):.3g}") for n, a, e in pairs}
    (HERE / "torch_errors.json").write_text(json.dumps(errors, indent=1) + "\n")


if __name__ == "__main__":
    main()
