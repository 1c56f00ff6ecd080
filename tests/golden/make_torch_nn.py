"""Makes torch_nn.npz: PyTorch's layers in training and inference, for tests/test_nn.py.

    python tests/golden/make_torch_nn.py        needs PyTorch (made with 2.13); the tests do not

Each case has the layer's state, an input x, its output y (in training for the normalizations, whose
buffers afterwards are there as well, and their output z in inference then), and the gradients of
sum(y * cos(0, 1, 2, ...)): g for x, gradient/name for a parameter. ``losses`` are those before and
after each of three steps of SGD (``rate``, momentum 0.9) on the mean of (y - 0.5) ** 2, which
change x, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 3), (2, 4, 5)),
    "linear_plain": (nn.Linear(5, 3, bias=False), (2, 5)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=2), (2, 4, 9, 8)),
    "conv2d_groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False), (2, 4, 5, 5)),
    "conv_transpose2d": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (2, 4, 4, 5),
    ),
    "batch_norm1d": (nn.BatchNorm1d(4, momentum=0.3), (6, 4)),
    "batch_norm2d": (nn.BatchNorm2d(4, eps=1e-3), (3, 4, 3, 2)),
    "layer_norm": (nn.LayerNorm((4, 3)), (2, 5, 4, 3)),
    "embedding": (nn.Embedding(7, 3), (2, 4)),
    "encoder_layer": (
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0, batch_first=True), (3, 5, 8),
    ),
    "encoder_layer_norm_first": (
        nn.TransformerEncoderLayer(
            8, 4, 12, dropout=0, activation="gelu", batch_first=True, norm_first=True
        ),
        (3, 5, 8),
    ),
    "conv1d_same": (nn.Conv1d(4, 2, 4, padding="same"), (2, 4, 7)),
    "conv2d_same": (nn.Conv2d(4, 2, (3, 2), padding="same", dilation=2), (1, 4, 5, 6)),
    "conv3d": (nn.Conv3d(4, 6, (2, 3, 2), stride=(1, 2, 1), padding=1, groups=2), (2, 4, 3, 5, 4)),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 2, 3, 2, 1, 1), (2, 4, 5)),
    "conv_transpose3d": (nn.ConvTranspose3d(4, 2, 2, 2), (1, 4, 2, 3, 2)),
    "batch_norm3d": (nn.BatchNorm3d(2), (2, 2, 3, 2, 2)),
    "group_norm": (nn.GroupNorm(2, 4), (3, 4, 5)),
    "instance_norm1d": (nn.InstanceNorm1d(4, affine=True), (3, 4, 5)),
    "instance_norm2d": (nn.InstanceNorm2d(4), (3, 4, 5, 2)),
    "rms_norm": (nn.RMSNorm((4, 3)), (2, 5, 4, 3)),
    "prelu": (nn.PReLU(4), (2, 4, 3)),
    "max_pool1d": (nn.MaxPool1d(3, 2, 1), (2, 3, 9)),
    "max_pool3d": (nn.MaxPool3d(2), (1, 2, 4, 5, 4)),
    "avg_pool1d": (nn.AvgPool1d(3, 2, padding=1), (2, 3, 9)),
    "avg_pool3d": (nn.AvgPool3d(2, ceil_mode=True), (1, 2, 4, 5, 4)),
    "adaptive_max_pool2d": (nn.AdaptiveMaxPool2d((3, 2)), (2, 3, 7, 4)),
    "upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4)),
    "zero_pad2d": (nn.ZeroPad2d((1, 2, 3, 0)), (1, 2, 3, 4)),
    "pixel_shuffle": (nn.PixelShuffle(2), (1, 8, 3, 2)),
    "decoder_layer": (
        nn.TransformerDecoderLayer(8, 2, 12, dropout=0, batch_first=True), (3, 5, 8),
    ),
    "decoder_layer_norm_first": (
        nn.TransformerDecoderLayer(
            8, 4, 12, dropout=0, activation="gelu", batch_first=True, norm_first=True
        ),
        (3, 5, 8),
    ),
    "multi_head_attention": (nn.MultiheadAttention(8, 2, batch_first=True), (3, 5, 8)),
    "encoder": (
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, dropout=0, batch_first=True), 2, nn.LayerNorm(8)
        ),
        (3, 5, 8),
    ),
    "rnn_cell": (nn.RNNCell(3, 4), (2, 3)),
    "lstm_cell": (nn.LSTMCell(3, 4), (2, 3)),
    "gru_cell": (nn.GRUCell(3, 4), (2, 3)),
    "instance_norm3d": (nn.InstanceNorm3d(2, affine=True), (2, 2, 3, 2, 2)),
    "local_response_norm": (nn.LocalResponseNorm(3, 0.3), (2, 5, 3, 2)),
    "max_pool2d": (nn.MaxPool2d(3, 2, 1), (2, 3, 7, 6)),
    "avg_pool2d": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 3, 7, 6)),
    "l2_pool2d": (nn.LPPool2d(2, 2), (2, 3, 4, 6)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d((3, 2)), (2, 3, 7, 4)),
    "global_avg_pool": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 3, 4, 5)),
    "flatten": (nn.Flatten(), (2, 3, 4)),
    "identity": (nn.Identity(), (2, 3)),
    "dropout": (nn.Dropout(0.5).eval(), (2, 3)),
    "dropout2d": (nn.Dropout2d(0.5).eval(), (2, 3, 2, 2)),
    "relu": (nn.ReLU(), (3, 4)),
    "leaky_relu": (nn.LeakyReLU(0.2), (3, 4)),
    "elu": (nn.ELU(1.5), (3, 4)),
    "celu": (nn.CELU(1.5), (3, 4)),
    "selu": (nn.SELU(), (3, 4)),
    "relu6": (nn.ReLU6(), (3, 4)),
    "hardtanh": (nn.Hardtanh(-0.5, 0.75), (3, 4)),
    "hardsigmoid": (nn.Hardsigmoid(), (3, 4)),
    "hardswish": (nn.Hardswish(), (3, 4)),
    "mish": (nn.Mish(), (3, 4)),
    "silu": (nn.SiLU(), (3, 4)),
    "gelu": (nn.GELU(), (3, 4)),
    "glu": (nn.GLU(1), (3, 4)),
    "sigmoid": (nn.Sigmoid(), (3, 4)),
    "tanh": (nn.Tanh(), (3, 4)),
    "softplus": (nn.Softplus(), (3, 4)),
    "softsign": (nn.Softsign(), (3, 4)),
    "log_sigmoid": (nn.LogSigmoid(), (3, 4)),
    "softmax": (nn.Softmax(1), (3, 4, 2)),
    "log_softmax": (nn.LogSoftmax(1), (3, 4, 2)),
}  # fmt: skip


def called(name: str, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A decoder's memory is cos(x), and it sees no later positions."""
    if name == "multi_head_attention":
        return layer(x, x, x)[0]
    if name == "lstm_cell":
        return torch.cat(layer(x), 1)
    if "decoder" not in name:
        return layer(x)
    later = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
    return layer(x, torch.cos(x), tgt_mask=later)


def rate(name: str) -> float:
    """Transformers of such large weights need small steps."""
    return 1e-4 if "coder" in name else 0.1


def losses(name: str, layer: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Of three steps, which change the layer's parameters and x."""
    free = [*layer.parameters(), *([x] if x.is_floating_point() else [])]
    sgd, found = torch.optim.SGD(free, lr=rate(name), momentum=0.9), []
    for _ in range(4):
        loss = ((called(name, layer, x) - 0.5) ** 2).mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        found.append(loss.item())
    return np.array(found, "float32")


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for number, (name, (layer, shape)) in enumerate(CASES.items()):
        rng = np.random.default_rng(number)
        for p in layer.parameters():
            p.data = torch.tensor(rng.standard_normal(tuple(p.shape)).astype("float32"))
        found |= {f"{name}/state/{k}": v.numpy().copy() for k, v in layer.state_dict().items()}
        if name == "embedding":
            x = torch.tensor(rng.integers(0, 7, shape), dtype=torch.int32)
        else:
            x = torch.tensor(rng.standard_normal(shape).astype("float32"), requires_grad=True)
        y = called(name, layer, x)
        weights = torch.cos(torch.arange(y.numel(), dtype=torch.float32)).reshape(y.shape)
        (y * weights).sum().backward()
        found |= {f"{name}/x": x.detach().numpy(), f"{name}/y": y.detach().numpy()}
        if x.grad is not None:
            found[f"{name}/g"] = x.grad.numpy().copy()
        for k, p in layer.named_parameters():
            found[f"{name}/gradient/{k}"] = p.grad.numpy().copy()
        if "batch_norm" in name:
            found |= {f"{name}/after/{k}": v.numpy().copy() for k, v in layer.named_buffers()}
            found[f"{name}/z"] = layer.eval()(x).detach().numpy()
            layer.train()
        if [*layer.parameters()] or x.grad is not None:
            start = x.detach().clone().requires_grad_(x.is_floating_point())
            found[f"{name}/losses"] = losses(name, layer, start)
    np.savez_compressed(Path(__file__).with_name("torch_nn.npz"), **found)


if __name__ == "__main__":
    main()
