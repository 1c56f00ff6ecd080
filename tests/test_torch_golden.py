"""Results and gradients against PyTorch's (made by tests/golden/make_torch_golden.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygraph.ops as tg
from tinygraph.autodiff import grad
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import constant, input

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_ops.npz"))
LABELS = constant(np.array([1, 0, 4], "int32"))

CASES: dict[str, Callable[..., Node]] = {
    "relu": tg.relu,
    "leaky_relu": lambda x: tg.leaky_relu(x, 0.2),
    "elu": lambda x: tg.elu(x, 1.5),
    "sigmoid": tg.sigmoid,
    "tanh": tg.tanh,
    "softplus": tg.softplus,
    "silu": tg.silu,
    "gelu": tg.gelu,
    "gelu_tanh": lambda x: tg.gelu(x, "tanh"),
    "erf": tg.erf,
    "clip": lambda x: tg.clip(x, -0.5, 0.75),
    "softmax": lambda x: tg.softmax(x, 1),
    "log_softmax": lambda x: tg.log_softmax(x, 1),
    "logsumexp": lambda x: tg.logsumexp(x, (0, 2)),
    "var": lambda x: tg.var(x, (0, 2), ddof=1),
    "cumsum": lambda x: tg.cumsum(x, 1),
    "matmul": tg.matmul,
    "conv2d": lambda x, w: tg.conv2d(x, w, padding=1),
    "conv2d_stride": lambda x, w: tg.conv2d(x, w, stride=(2, 3), padding=(1, 2)),
    "conv2d_asymmetric": lambda x, w: tg.conv2d(x, w, padding=((0, 1), (2, 0)), dilation=(2, 1)),
    "conv2d_groups": lambda x, w: tg.conv2d(x, w, stride=2, padding=1, groups=2),
    "conv2d_depthwise": lambda x, w: tg.conv2d(x, w, padding=1, dilation=2, groups=4),
    "conv1d": lambda x, w: tg.conv1d(x, w, stride=2, padding=1),
    "conv_transpose2d": lambda x, w: tg.conv_transpose2d(
        x, w, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2
    ),
    "max_pool2d": lambda x: tg.max_pool2d(x, 3, 2, 1),
    "max_pool2d_ceil": lambda x: tg.max_pool2d(x, (2, 3), (2, 3), (1, 0), ceil_mode=True),
    "avg_pool2d": lambda x: tg.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d_ceil": lambda x: tg.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "avg_pool2d_exclude": lambda x: tg.avg_pool2d(
        x, 3, 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "l2_pool2d": lambda x: tg.l2_pool2d(x, 3, 2),
    "adaptive_avg_pool2d": lambda x: tg.adaptive_avg_pool2d(x, (3, 4)),
    "local_response_norm": lambda x: tg.local_response_norm(x, 5, 0.3, 0.75, 2.0),
    "local_response_norm_even": lambda x: tg.local_response_norm(x, 2, 0.3, 0.6, 1.0),
    "layer_norm": lambda x, w, b: tg.layer_norm(x, (1, 2), w, b),
    "batch_norm": lambda x, w, b: tg.batch_norm_training(x, w, b)[0],
    "mse_loss": tg.mse_loss,
    "cross_entropy": lambda x: tg.cross_entropy(x, LABELS),
    "cross_entropy_smooth": lambda x: tg.cross_entropy(x, LABELS, label_smoothing=0.1),
    "pad_reflect": lambda x: tg.pad(x, ((0, 0), (0, 0), (3, 0), (2, 1)), "reflect"),
    "pad_edge": lambda x: tg.pad(x, ((0, 0), (0, 0), (3, 0), (2, 1)), "edge"),
}


def test_every_golden_case_is_tested() -> None:
    assert {key.split("/")[0] for key in GOLDEN} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_those_of_pytorch(name: str) -> None:
    arrays = []
    while f"{name}/x{len(arrays)}" in GOLDEN:
        arrays.append(GOLDEN[f"{name}/x{len(arrays)}"])
    nodes = [input(f"x{i}", *a.shape) for i, a in enumerate(arrays)]
    y = CASES[name](*nodes)
    weights = np.cos(np.arange(y.type.size)).astype("float32").reshape(y.shape)
    graph = Graph(name, tuple(nodes), (y, *grad(tg.sum(y * weights), nodes)))
    result, *gradients = run(graph, *arrays)
    np.testing.assert_allclose(result, GOLDEN[f"{name}/y"], rtol=2e-5, atol=2e-6)
    for i, g in enumerate(gradients):
        np.testing.assert_allclose(g, GOLDEN[f"{name}/g{i}"], rtol=1e-4, atol=1e-5)
