"""What exporters write becomes the plan of the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx_models
import tinygraph as tg
from onnx_models import Writer
from targets import WIDE, schedule
from tinygraph import models, ops
from tinygraph.compiler.pipeline import run_passes
from tinygraph.onnx.module import OnnxModule
from tinygraph.onnx.reading.file import from_proto

IMAGE, ROWS = (1, 16, 28, 28), (64, 64)


def launches(nodes: list[tg.Node], outputs: list[tg.Node]) -> tuple[int, int]:
    """How many launches a program has, and how many bytes of values live at once."""
    graph = run_passes(tg.Graph("g", tuple(nodes), tuple(outputs)), target=WIDE)[-1].graph
    plan = schedule(graph)
    return len(plan.launches), plan.arena


def imported(write: Callable[[Writer], str], shape: tuple[int, ...]) -> tuple[int, int]:
    w = Writer()
    y = write(w)
    net = OnnxModule(from_proto(w.model({"x": list(shape)}, [y]), "net.onnx"), {})
    nodes = net.nodes()
    return launches(nodes, [net(*nodes)])


def conv(w: Writer, x: str, outputs: int = 16, inputs: int = 16, kernel: int = 3) -> str:
    k = kernel
    return w("Conv", x, w.weight(f"w{w.count}", outputs, inputs, k, k),
             w.weight(f"b{w.count}", outputs), kernel_shape=[k, k], pads=[k // 2] * 4)  # fmt: skip


def p(*shape: int) -> tg.Parameter:
    return tg.parameter(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def by_hand(x: tg.Node, outputs: int = 16, inputs: int = 16, kernel: int = 3) -> tg.Node:
    y = tg.conv2d(x, p(outputs, inputs, kernel, kernel), padding=kernel // 2)
    return y + tg.reshape(p(outputs), (outputs, 1, 1))


def hard_swish(w: Writer) -> str:
    x = conv(w, "x")
    y = w("Clip", w("Add", x, w.tensor(3.0)), w.tensor(0.0), w.tensor(6.0))
    return conv(w, w("Div", w("Mul", x, y), w.tensor(6.0)))


def channels_last(w: Writer) -> str:
    """Transposes around each convolution, as converters from TensorFlow write them."""
    x = conv(w, w("Transpose", "x", perm=[0, 3, 1, 2]))
    x = w("Relu", w("Transpose", x, perm=[0, 2, 3, 1]))
    x = conv(w, w("Transpose", x, perm=[0, 3, 1, 2]))
    x = w("Add", w("Transpose", x, perm=[0, 2, 3, 1]), w.weight("bias", 16))
    return w("Relu", x)


def channels_last_by_hand(x: tg.Node) -> tg.Node:
    y = by_hand(tg.relu(by_hand(tg.transpose(x, (0, 3, 1, 2)))))
    return tg.relu(tg.transpose(y, (0, 2, 3, 1)) + p(16))


def squeeze_and_excite(w: Writer) -> str:
    x = conv(w, "x")
    s = w("Relu", conv(w, w("GlobalAveragePool", x), 4, 16, 1))
    return conv(w, w("Mul", x, w("Sigmoid", conv(w, s, 16, 4, 1))))


def squeeze_and_excite_by_hand(x: tg.Node) -> tg.Node:
    y = by_hand(x)
    s = tg.relu(by_hand(tg.mean(y, (2, 3), keepdims=True), 4, 16, 1))
    return by_hand(y * tg.sigmoid(by_hand(s, 16, 4, 1)))


def scale_and_shift(w: Writer) -> str:
    """A batch normalization as a product and a sum."""
    x = conv(w, "x")
    x = w("Mul", x, w.tensor(np.linspace(1, 2, 16).reshape(1, 16, 1, 1), name="scale"))
    x = w("Add", x, w.tensor(np.linspace(0, 1, 16).reshape(1, 16, 1, 1), name="shift"))
    return conv(w, w("Relu", x))


def rms_norm(w: Writer) -> str:
    x = w("MatMul", "x", w.weight("a", 64, 64))
    mean = w("ReduceMean", w("Pow", x, w.tensor(2.0)), axes=[-1])
    y = w("Mul", x, w("Reciprocal", w("Sqrt", w("Add", mean, w.tensor(1e-5)))))
    return w("MatMul", w("Mul", y, w.weight("g", 64)), w.weight("c", 64, 64))


def rms_norm_by_hand(x: tg.Node) -> tg.Node:
    y = x @ p(64, 64)
    inverse = tg.rsqrt(tg.mean(y * y, -1, keepdims=True) + 1e-5)
    return (y * inverse * p(64)) @ p(64, 64)


def layer_norm_and_gelu(w: Writer) -> str:
    x = onnx_models.layer_norm(w, w("MatMul", "x", w.weight("a", 64, 64)), "norm", 64)
    return w("MatMul", onnx_models.gelu(w, x), w.weight("c", 64, 64))


def layer_norm_and_gelu_by_hand(x: tg.Node) -> tg.Node:
    y = tg.layer_norm(x @ p(64, 64), -1, p(64), p(64))
    return tg.gelu(y) @ p(64, 64)


def group_norm(w: Writer) -> str:
    """As an instance normalization of groups whose channels and pixels are one axis."""
    x = conv(w, "x")
    y = w("Reshape", x, w.tensor([0, 4, -1], np.int64))
    y = w("InstanceNormalization", y, w.tensor(np.ones(4)), w.tensor(np.zeros(4)), epsilon=1e-5)
    y = w("Reshape", y, w.tensor(IMAGE, np.int64))
    y = w("Mul", y, w.weight("scale", 16, 1, 1))
    return conv(w, w("Add", y, w.weight("shift", 16, 1, 1)))


PATTERNS = {
    "HardSwish of five nodes": (
        hard_swish, lambda x: by_hand((y := by_hand(x)) * tg.clip(y * (1 / 6) + 0.5, 0, 1)), IMAGE
    ),
    "channels last": (channels_last, channels_last_by_hand, (1, 28, 28, 16)),
    "squeeze and excite": (squeeze_and_excite, squeeze_and_excite_by_hand, IMAGE),
    "batch normalization as Mul and Add": (
        scale_and_shift, lambda x: by_hand(tg.relu(by_hand(x) * p(16, 1, 1) + p(16, 1, 1))), IMAGE
    ),
    "group normalization": (
        group_norm, lambda x: by_hand(tg.group_norm(by_hand(x), 4, p(16), p(16))), IMAGE
    ),
    "RMS normalization": (rms_norm, rms_norm_by_hand, ROWS),
    "layer normalization and GELU": (layer_norm_and_gelu, layer_norm_and_gelu_by_hand, ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", PATTERNS)
def test_the_plan_is_that_of_the_network_by_hand(name: str) -> None:
    write, function, shape = PATTERNS[name]
    x = tg.input("x", *shape)
    (count, memory), (ours, used) = imported(write, shape), launches([x], [function(x)])
    assert count <= ours and memory <= used


def test_exported_attention_stores_no_scores() -> None:
    net = OnnxModule(from_proto(onnx_models.attention(steps=32), "net.onnx"), {})
    (tokens,) = net.nodes(4)
    graph = run_passes(tg.Graph("g", (tokens,), (net(tokens),)), target=WIDE)[-1].graph
    assert sum(n.op.name == "attention" for n in graph.nodes) == 2
    assert not any(n.ndim == 4 and n.shape[2:] == (32, 32) for n in graph.nodes)


@pytest.mark.parametrize("make", [models.resnet18, models.mobilenet_v2])
def test_networks_of_the_library_come_back_as_they_were(
    make: Callable[[], tg.nn.Module], tmp_path: Path
) -> None:
    net, x = make(), tg.input("x", 1, 3, 224, 224)
    path = tmp_path / "net.onnx"
    tg.onnx.save(net, path, x)
    back = tg.onnx.load(path)
    (count, memory), (ours, used) = launches([x], [back(x)]), launches([x], [net(x)])
    assert count <= ours and memory <= used
    assert set(back.named_parameters()) == set(net.named_parameters())


def test_division_by_a_root_is_a_product_for_each_row() -> None:
    w = Writer()
    spread = w("Sqrt", w("ReduceSumSquare", "x", axes=[-1]))
    net = OnnxModule(from_proto(w.model({"x": [4, 8]}, [w("Div", "x", spread)]), "net.onnx"), {})
    x = tg.input("x", 4, 8)
    assert net(x) is x * ops.rsqrt(ops.sum(x * x, -1, keepdims=True))
