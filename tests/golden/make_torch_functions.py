"""Makes torch_functions.npz: PyTorch's results and gradients for tests/test_torch_functions.py.

    python tests/golden/make_torch_functions.py     needs PyTorch (made with 2.13); the tests do not

Each case is a function of float inputs, drawn from the case's own number within a domain, and the
gradient of sum(y * weights) for each, as in make_torch_golden.py. Only results and gradients are
stored: ``draw`` in torch_cases.py draws the inputs again. ``losses`` are those of three steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from torch_cases import (
    CTC,
    FUNCTIONS,
    INTERPOLATE,
    LABELS,
    LOSSES,
    WEIGHT4,
    WEIGHT5,
    draw,
    weights,
)

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
    "celu": lambda x: F.celu(x, 1.5),
    "selu": F.selu,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "log_sigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "prelu": F.prelu,
    "glu": lambda x: F.glu(x, 1),
    "group_norm": lambda x, w, b: F.group_norm(x, 3, w, b),
    "instance_norm": lambda x, w, b: F.instance_norm(x, None, None, w, b),
    "rms_norm": lambda x, w: F.rms_norm(x, (4,), w),
    "l1_loss": F.l1_loss,
    "mse_loss_sum": lambda a, b: F.mse_loss(a, b, reduction="sum"),
    "huber_loss": lambda a, b: F.huber_loss(a, b, delta=0.7),
    "smooth_l1_loss": lambda a, b: F.smooth_l1_loss(a, b, reduction="none", beta=0.7),
    "bce_logits": lambda a, b: F.binary_cross_entropy_with_logits(a, torch.sigmoid(b)),
    "bce_logits_weights": lambda a, b: F.binary_cross_entropy_with_logits(
        a, torch.sigmoid(b), torch.tensor(0.5), reduction="sum", pos_weight=torch.tensor(WEIGHT4)
    ),
    "bce": lambda a, b: F.binary_cross_entropy(torch.sigmoid(a), torch.sigmoid(b)),
    "kl_div": lambda a, b: F.kl_div(
        torch.log_softmax(a, 1), torch.softmax(b, 1), reduction="batchmean"
    ),
    "kl_div_log": lambda a, b: F.kl_div(
        torch.log_softmax(a, 1), torch.log_softmax(b, 1), log_target=True
    ),
    "cosine_similarity": F.cosine_similarity,
    "nll_loss": lambda x: F.nll_loss(
        torch.log_softmax(x, 1), torch.tensor(LABELS).long(), reduction="sum"
    ),
    "cross_entropy_soft": lambda a, b: F.cross_entropy(a, torch.softmax(b, 1), label_smoothing=0.1),
    "cross_entropy_soft_weights": lambda a, b: F.cross_entropy(
        a, torch.softmax(b, 1), torch.tensor(WEIGHT4)
    ),
    "cross_entropy_ignore": lambda x: F.cross_entropy(
        x, torch.tensor(LABELS).long(), ignore_index=2
    ),
    "cross_entropy_weights": lambda x: F.cross_entropy(
        x, torch.tensor(LABELS).long(), torch.tensor(WEIGHT5), ignore_index=0, label_smoothing=0.2
    ),
    "cross_entropy_each": lambda x: F.cross_entropy(
        x, torch.tensor(LABELS).long(), torch.tensor(WEIGHT5), label_smoothing=0.2, reduction="none"
    ),
    "cross_entropy_sum": lambda x: F.cross_entropy(x, torch.tensor(LABELS).long(), reduction="sum"),
    "ctc_loss": lambda x: F.ctc_loss(torch.log_softmax(x, 2), *map(torch.tensor, CTC)),
    "ctc_loss_each": lambda x: F.ctc_loss(
        torch.log_softmax(x, 2), *map(torch.tensor, CTC), blank=4, reduction="none"
    ),
}


def losses(function: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> np.ndarray:
    """Before and after each of three steps that change the tensors: SGD, lr 0.1, momentum 0.9."""
    sgd, found = torch.optim.SGD(tensors, lr=0.1, momentum=0.9), []
    for _ in range(4):
        y = function(*tensors)
        loss = (y * torch.tensor(weights(y.shape))).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        found.append(loss.item())
    return np.array(found, "float32")


def main() -> None:
    found: dict[str, np.ndarray] = {}
    assert CASES.keys() == FUNCTIONS.keys()
    for name, function in CASES.items():
        tensors = [torch.tensor(x, requires_grad=True) for x in draw(name)]
        y = function(*tensors)
        (y * torch.tensor(weights(y.shape))).sum().backward()
        found[f"{name}/y"] = y.detach().numpy()
        for i, t in enumerate(tensors):
            g = torch.zeros_like(t) if t.grad is None else t.grad
            found[f"{name}/g{i}"] = g.numpy().copy()
        if name in LOSSES:
            found[f"{name}/losses"] = losses(function, tensors)
    np.savez_compressed(Path(__file__).with_name("torch_functions.npz"), **found)


if __name__ == "__main__":
    main()
