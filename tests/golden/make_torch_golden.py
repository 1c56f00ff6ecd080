"""Makes torch_ops.npz: PyTorch's results and gradients for tests/test_torch_golden.py.

    python tests/golden/make_torch_golden.py        needs PyTorch (made with 2.13); the tests do not

Each case has inputs drawn from its own number, an output y, and the gradient of sum(y * weights)
for every float input, where weights are fixed numbers of y's shape. The same names stand in the
test, built with tinygraph.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

Case = tuple[Callable[..., torch.Tensor], tuple[tuple[int, ...], ...]]

SMALL = ((3, 4),)
IMAGE = ((2, 4, 7, 6),)
CASES: dict[str, Case] = {
    "relu": (F.relu, SMALL),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), SMALL),
    "elu": (lambda x: F.elu(x, 1.5), SMALL),
    "sigmoid": (torch.sigmoid, SMALL),
    "tanh": (torch.tanh, SMALL),
    "softplus": (F.softplus, SMALL),
    "silu": (F.silu, SMALL),
    "gelu": (F.gelu, SMALL),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), SMALL),
    "erf": (torch.erf, SMALL),
    "clip": (lambda x: torch.clamp(x, -0.5, 0.75), SMALL),
    "softmax": (lambda x: F.softmax(x, 1), ((2, 5, 3),)),
    "log_softmax": (lambda x: F.log_softmax(x, 1), ((2, 5, 3),)),
    "logsumexp": (lambda x: torch.logsumexp(x, (0, 2)), ((2, 5, 3),)),
    "var": (lambda x: torch.var(x, (0, 2), correction=1), ((4, 3, 5),)),
    "cumsum": (lambda x: torch.cumsum(x, 1), SMALL),
    "matmul": (torch.matmul, ((2, 1, 3, 4), (5, 4, 2))),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), ((2, 4, 7, 6), (5, 4, 3, 3))),
    "conv2d_stride": (
        lambda x, w: F.conv2d(x, w, stride=(2, 3), padding=(1, 2)),
        ((2, 4, 7, 6), (5, 4, 3, 2)),
    ),
    "conv2d_asymmetric": (
        lambda x, w: F.conv2d(F.pad(x, (2, 0, 0, 1)), w, dilation=(2, 1)),
        ((1, 3, 7, 6), (2, 3, 3, 2)),
    ),
    "conv2d_groups": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=2),
        ((2, 4, 7, 6), (6, 2, 3, 3)),
    ),
    "conv2d_depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, dilation=2, groups=4),
        ((2, 4, 7, 6), (4, 1, 3, 3)),
    ),
    "conv1d": (lambda x, w: F.conv1d(x, w, stride=2, padding=1), ((2, 3, 9), (4, 3, 3))),
    "conv_transpose2d": (
        lambda x, w: F.conv_transpose2d(
            x, w, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2
        ),
        ((2, 4, 3, 4), (4, 3, 3, 2)),
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE),
    "max_pool2d_ceil": (lambda x: F.max_pool2d(x, (2, 3), (2, 3), (1, 0), ceil_mode=True), IMAGE),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGE),
    "avg_pool2d_ceil": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    "avg_pool2d_exclude": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        IMAGE,
    ),
    "l2_pool2d": (lambda x: F.lp_pool2d(x, 2.0, 3, 2), IMAGE),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), IMAGE),
    "local_response_norm": (lambda x: F.local_response_norm(x, 5, 0.3, 0.75, 2.0), ((2, 6, 3, 2),)),
    "local_response_norm_even": (
        lambda x: F.local_response_norm(x, 2, 0.3, 0.6, 1.0),
        ((2, 6, 3),),
    ),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4, 5), w, b), ((3, 4, 5), (4, 5), (4, 5))),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        ((4, 3, 2, 5), (3,), (3,)),
    ),
    "mse_loss": (F.mse_loss, ((3, 4), (3, 4))),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor([1, 0, 4])), ((3, 5),)),
    "cross_entropy_smooth": (
        lambda x: F.cross_entropy(x, torch.tensor([1, 0, 4]), label_smoothing=0.1),
        ((3, 5),),
    ),
    "pad_reflect": (lambda x: F.pad(x, (2, 1, 3, 0), mode="reflect"), IMAGE),
    "pad_edge": (lambda x: F.pad(x, (2, 1, 3, 0), mode="replicate"), IMAGE),
}


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for number, (name, (function, shapes)) in enumerate(CASES.items()):
        rng = np.random.default_rng(number)
        inputs = [rng.standard_normal(s).astype("float32") for s in shapes]
        tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
        y = function(*tensors)
        weights = np.cos(np.arange(y.numel())).astype("float32").reshape(y.shape)
        (y * torch.tensor(weights)).sum().backward()
        found |= {f"{name}/x{i}": x for i, x in enumerate(inputs)}
        found |= {
            f"{name}/g{i}": t.grad.numpy() for i, t in enumerate(tensors) if t.grad is not None
        }
        found[f"{name}/y"] = y.detach().numpy()
    np.savez_compressed(Path(__file__).with_name("torch_ops.npz"), **found)


if __name__ == "__main__":
    main()
