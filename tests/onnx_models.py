"""Small ONNX models as exporters write them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Writer:
    """Collects the nodes and tensors of a model."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.count = 0

    def __call__(
        self, op: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any
    ) -> Any:
        """A node; its output, or several."""
        self.count += 1
        made = [f"v{self.count}_{i}" for i in range(outputs)]
        label = name or f"/{op}_{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), made, name=label, **attributes))
        return made[0] if outputs == 1 else made

    def tensor(self, value: Any, dtype: Any = np.float32, name: str = "") -> str:
        self.count += 1
        name = name or f"c{self.count}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Random numbers, so that values keep their size from layer to layer."""
        spread = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.tensor(self.rng.standard_normal(shape) * spread, name=name)

    def ints(self, *values: int) -> str:
        return self.tensor(values, np.int64)

    def scalar(self, value: int) -> str:
        return self.tensor(value, np.int64)

    def size(self, x: str, axis: int) -> str:
        """One size of x, as exporters ask for it: Shape, Gather, Unsqueeze."""
        at = self("Gather", self("Shape", x), self.scalar(axis), axis=0)
        return self("Unsqueeze", at, self.ints(0))

    def model(self, inputs: dict[str, Any], outputs: list[str], opset: int = 17) -> onnx.ModelProto:
        """``inputs``: shapes, with strings for open sizes, or (dtype, shape)."""
        declared = []
        for name, shape in inputs.items():
            kind, shape = shape if isinstance(shape, tuple) else (F32, shape)
            declared.append(helper.make_tensor_value_info(name, kind, shape))
        made = [helper.make_tensor_value_info(o, F32, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "main", declared, made, self.tensors)
        found = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="tests"
        )
        found.ir_version = 9
        return found


def convolutional() -> onnx.ModelProto:
    """A classifier of digits whose batch size is open, flattened as by ``view``."""
    w = Writer()
    x = w("Conv", "image", w.weight("conv1.weight", 6, 1, 5, 5), w.weight("conv1.bias", 6),
          kernel_shape=[5, 5], pads=[2, 2, 2, 2], name="/conv1/Conv")  # fmt: skip
    x = w("MaxPool", w("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = w("Conv", x, w.weight("conv2.weight", 8, 6, 3, 3), kernel_shape=[3, 3], name="/conv2/Conv")
    scale, shift = w.weight("norm.weight", 8), w.weight("norm.bias", 8)
    mean = w.tensor(np.linspace(-0.1, 0.1, 8), name="norm.running_mean")
    variance = w.tensor(np.linspace(0.5, 1.5, 8), name="norm.running_var")
    x = w("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-5, momentum=0.9,
          name="/norm/BatchNormalization")  # fmt: skip
    x = w("AveragePool", w("Relu", x), kernel_shape=[3, 3], strides=[3, 3])
    shape = w("Concat", w.size("image", 0), w.ints(-1), axis=0)
    x = w("Reshape", x, shape)
    x = w("Dropout", x)
    y = w("Gemm", x, w.weight("fc.weight", 10, 128), w.weight("fc.bias", 10), transB=1,
          name="/fc/Gemm")  # fmt: skip
    return w.model({"image": ["batch", 1, 28, 28]}, [y])


def attention(layers: int = 2, width: int = 32, heads: int = 4, steps: int = 7) -> onnx.ModelProto:
    """A transformer on tokens, decomposed as exporters of opset 14 do, of open batch size."""
    w = Writer()
    each = width // heads
    table = w.weight("embed.weight", 50, width)
    x = w("Gather", table, "tokens", name="/embed/Gather")
    batch = w.size("tokens", 0)
    # positions: 0 to steps - 1, once for each text, by the pattern of torch's expand
    wanted = w("Concat", batch, w.ints(steps), axis=0)
    minus = w("Equal", wanted, w.ints(-1, -1))
    wanted = w("Where", minus, w("ConstantOfShape", w("Shape", wanted), value=_one()), wanted)
    at = w("Unsqueeze", w("Range", w.scalar(0), w.scalar(steps), w.scalar(1)), w.ints(0))
    x = w("Add", x, w("Gather", w.weight("position.weight", 64, width), w("Expand", at, wanted)))
    for k in range(layers):
        x = w("Add", x, _heads(w, x, f"layer{k}", batch, heads, each, steps))
        x = layer_norm(w, x, f"layer{k}.norm1", width)
        h = w("Add", w("MatMul", x, w.weight(f"layer{k}.up", width, 4 * width)),
              w.weight(f"layer{k}.up_bias", 4 * width))  # fmt: skip
        h = gelu(w, h)
        h = w("MatMul", h, w.weight(f"layer{k}.down", 4 * width, width))
        x = layer_norm(w, w("Add", x, h), f"layer{k}.norm2", width)
    y = w("ReduceMean", x, axes=[1], keepdims=0)
    return w.model({"tokens": (I64, ["batch", steps])}, [y])


def _one() -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(1, np.int64))


def _heads(w: Writer, x: str, name: str, batch: str, heads: int, each: int, steps: int) -> str:
    def split(part: str) -> str:
        y = w("MatMul", x, w.weight(f"{name}.{part}", heads * each, heads * each))
        shape = w("Concat", batch, w.ints(steps), w.ints(heads), w.ints(each), axis=0)
        return w("Transpose", w("Reshape", y, shape), perm=[0, 2, 1, 3])

    q, k, v = (split(part) for part in "qkv")
    scores = w("MatMul", q, w("Transpose", k, perm=[0, 1, 3, 2]))
    scores = w("Div", scores, w.tensor(np.sqrt(each)))
    y = w("MatMul", w("Softmax", scores, axis=-1), v)
    y = w("Transpose", y, perm=[0, 2, 1, 3])
    y = w("Reshape", y, w("Concat", batch, w.ints(steps), w.ints(heads * each), axis=0))
    return w("MatMul", y, w.weight(f"{name}.out", heads * each, heads * each))


def layer_norm(w: Writer, x: str, name: str, width: int) -> str:
    """Layer normalization, decomposed."""
    distance = w("Sub", x, w("ReduceMean", x, axes=[-1]))
    variance = w("ReduceMean", w("Pow", distance, w.tensor(2.0)), axes=[-1])
    y = w("Div", distance, w("Sqrt", w("Add", variance, w.tensor(1e-5))))
    return w("Add", w("Mul", y, w.weight(f"{name}.weight", width)), w.weight(f"{name}.bias", width))


def gelu(w: Writer, x: str) -> str:
    y = w("Add", w("Erf", w("Div", x, w.tensor(np.sqrt(2)))), w.tensor(1.0))
    return w("Mul", w("Mul", x, y), w.tensor(0.5))


def recurrent() -> onnx.ModelProto:
    """An LSTM whose first state is made of the batch size, as exporters write it."""
    w = Writer()
    x = w("Transpose", "x", perm=[1, 0, 2])
    shape = w("Concat", w.ints(2), w.size("x", 0), w.ints(8), axis=0)
    zeros = w("ConstantOfShape", shape)
    ys, _, _ = w("LSTM", x, w.weight("W", 2, 32, 5), w.weight("R", 2, 32, 8), w.weight("B", 2, 64),
                 "", zeros, zeros, hidden_size=8, direction="bidirectional", outputs=3)  # fmt: skip
    y = w("Transpose", ys, perm=[2, 0, 1, 3])
    y = w("Reshape", y, w.ints(0, 0, -1))
    y = w("MatMul", y, w.weight("head", 16, 3))
    return w.model({"x": ["n", 6, 5]}, [y])
