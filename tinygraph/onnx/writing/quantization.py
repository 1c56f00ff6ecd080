"""Rules that write integers that stand for floats, and products of them."""

from __future__ import annotations

from ...graph.dtype import DTYPES
from ...graph.ir import Node
from .products import after, grouped, window
from .writer import OnnxWriter, Value, writes

NARROW = ("int8", "uint8")  # of ONNX's operators, up to opset 20


def along(w: OnnxWriter, n: Node, scale: Value, zero: Value) -> tuple[Value, Value, int] | None:
    """Scale and zero point as ONNX has them, numbers or vectors along an axis; None: otherwise."""
    shapes = [(1,) * (n.ndim - i.ndim) + i.shape for i in n.inputs[1:]]
    axes = {a for s in shapes for a, size in enumerate(s) if size != 1}
    if len(axes) > 1:
        return None
    axis = next(iter(axes), 0)
    size = max(s[axis] for s in shapes) if axes else 1
    vector = (size,) if axes else ()
    values = []
    for i, v, s in zip(n.inputs[1:], (scale, zero), shapes, strict=True):
        if axes and s[axis] != size:
            v = w.expand(w.reshape(v, i.shape, (1,)), vector)
            values.append(v)
        else:
            values.append(w.reshape(v, i.shape, vector))
    return values[0], values[1], axis


@writes("quantize")
def quantize(w: OnnxWriter, n: Node, x: Value, scale: Value, zero: Value) -> Value:
    found = along(w, n, scale, zero) if n.dtype in NARROW and n.shape == n.inputs[0].shape else None
    if found is not None:
        return w.add("QuantizeLinear", x, *found[:2], axis=found[2])
    wide = w.cast(zero, n.dtype, "float32")
    moved = w.add("Add", w.add("Round", w.add("Div", x, scale)), wide)
    limits = (
        w.constant(float(v), "float32") for v in (DTYPES[n.dtype].least, DTYPES[n.dtype].greatest)
    )
    return w.cast(w.add("Clip", moved, *limits), "float32", n.dtype)


@writes("dequantize")
def dequantize(w: OnnxWriter, n: Node, q: Value, scale: Value, zero: Value) -> Value:
    dtype = n.inputs[0].dtype
    found = along(w, n, scale, zero) if dtype in NARROW and n.shape == n.inputs[0].shape else None
    if found is not None:
        return w.add("DequantizeLinear", q, *found[:2], axis=found[2])
    less = w.add("Sub", w.cast(q, dtype, "float32"), w.cast(zero, dtype, "float32"))
    return w.add("Mul", less, scale)


@writes("matmul_integer")
def matmul(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    return w.add("MatMulInteger", a, b)


@writes("conv2d_integer", "conv3d_integer")
def convolution(w: OnnxWriter, n: Node, x: Value, kernel: Value) -> Value:
    """As a convolution of floats; elements that no window reads do no harm."""
    image, weight = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    spans = [d * (k - 1) + 1 for k, d in zip(weight[3:], dilation, strict=True)]
    ends = map(after, image[3:], n.shape[3:], spans, stride, before)
    y = w.add(
        "ConvInteger", grouped(w, x, image, 1), grouped(w, kernel, weight, 0),
        kernel_shape=list(weight[3:]), strides=list(stride), dilations=list(dilation),
        pads=[*before, *(max(0, e) for e in ends)], group=weight[0],
    )  # fmt: skip
    return w.reshape(y, (n.shape[0], n.shape[1] * n.shape[2], *n.shape[3:]), n.shape)
