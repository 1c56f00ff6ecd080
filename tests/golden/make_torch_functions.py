"""Makes torch_functions.npz: PyTorch's results and gradients for tests/test_torch_functions.py.

    python tests/golden/make_torch_functions.py     needs PyTorch (made with 2.13); the tests do not

Each case is a function of float inputs, drawn from the case's own number within a domain, and the
gradient of sum(y * weights) for each, as in make_torch_golden.py. Only results and gradients are
stored: ``draw`` in torch_cases.py draws the inputs again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from torch_cases import FUNCTIONS, INTERPOLATE, draw, weights

INDEX = torch.tensor([[1, 0, 1, 3], [4, 4, 0, 2], [3, 3, 3, 1]])

CASES: dict[str, Callable[..., torch.Tensor]] = {
    **{
        f"interpolate_{name}": lambda x, o=options: F.interpolate(x, **o)
        for name, (_, options) in INTERPOLATE.items()
    },
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "arcsin": torch.asin,
    "arccos": torch.acos,
    "arctan": torch.atan,
    "arctan2": torch.atan2,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "arcsinh": torch.asinh,
    "arccosh": torch.acosh,
    "arctanh": torch.atanh,
    "exp2": torch.exp2,
    "log2": torch.log2,
    "log10": torch.log10,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "fmod": torch.fmod,
    "sort": lambda x: torch.sort(x, 1).values,
    "sort_descending": lambda x: torch.sort(x, 0, descending=True).values,
    "topk": lambda x: torch.topk(x, 4).values,
    "topk_least": lambda x: torch.topk(x, 4, 0, largest=False).values,
    "take_along_axis": lambda x: torch.gather(x, 1, INDEX),
    "scatter_add_along": lambda x, u: torch.scatter_add(x, 1, INDEX, u),
    "scatter_mul": lambda x, u: torch.scatter_reduce(x, 1, INDEX, u, "prod"),
    "scatter_max": lambda x, u: torch.scatter_reduce(x, 1, INDEX, u, "amax"),
    "scatter_min": lambda x, u: torch.scatter_reduce(x, 1, INDEX, u, "amin"),
    "cumprod": lambda x: torch.cumprod(x, 1),
}


def main() -> None:
    found: dict[str, np.ndarray] = {}
    assert CASES.keys() == FUNCTIONS.keys()
    for name, function in CASES.items():
        tensors = [torch.tensor(x, requires_grad=True) for x in draw(name)]
        y = function(*tensors)
        (y * torch.tensor(weights(y.shape))).sum().backward()
        found[f"{name}/y"] = y.detach().numpy()
        for i, t in enumerate(tensors):
            found[f"{name}/g{i}"] = np.zeros(t.shape, "f4") if t.grad is None else t.grad.numpy()
    np.savez_compressed(Path(__file__).with_name("torch_functions.npz"), **found)


if __name__ == "__main__":
    main()
