"""Integers that stand for floats: exactly as ONNX computes them, in integers and float32."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...graph.dtype import DTYPES
from ...graph.ir import Node
from ...graph.op import constant
from ...ops.quantize import NARROW
from .convolution import biased, convolved
from .pooling import windows
from .rules import CONTRIB, Applied, rule


def spread(c: Applied, p: Node, x: Node, axis: int, block: int = 0) -> Node:
    """A scale or zero point as it meets x: one, one along ``axis``, or one for each block."""
    if block:
        shape = tuple(n for a, n in enumerate(p.shape) for n in ((n, 1) if a == axis else (n,)))
        wide = tuple(n for a, n in enumerate(p.shape) for n in ((n, block) if a == axis else (n,)))
        joined = tuple(n * block if a == axis else n for a, n in enumerate(p.shape))
        y = ops.reshape(ops.broadcast_to(ops.reshape(p, shape), wide), joined)
        return y[tuple(slice(n) for n in x.shape)]
    if p.type.size == 1:
        return ops.reshape(p, ())
    if p.ndim != 1 or p.shape[0] != x.shape[axis]:
        raise c.fault(f"requires a value for each of axis {axis} of {x.type}, got {p.type}")
    return ops.reshape(p, (-1,) + (1,) * (x.ndim - 1 - axis))


def rounded(x: Node, zero: Any, dtype: str) -> Node:
    """Rounded to even, moved by the zero point, kept within the dtype."""
    limits = DTYPES[dtype]
    moved = ops.round(x) + zero
    return ops.cast(ops.clip(moved, float(limits.least), float(limits.greatest)), dtype)


def by_limits(x: Node) -> tuple[Node, Node]:
    """x in uint8 by its least and greatest element, less the zero point: whole floats, and their
    scale.
    """
    low, high = ops.minimum(ops.min(x), 0.0), ops.maximum(ops.max(x), 0.0)
    scale = (high - low) / 255.0
    scale = ops.where(ops.equal(scale, 0.0), 1.0, scale)
    zero = ops.round(-low / scale)
    return ops.clip(ops.round(x / scale) + zero, 0.0, 255.0) - zero, scale


@rule("QuantizeLinear")
def quantize(c: Applied) -> Node:
    x, scale = c.x(0), c.x(1)
    axis, block = _axis(c, x, scale), c.attr("block_size", 0)
    zero = c.maybe(2)
    dtype = zero.dtype if zero is not None else "uint8"
    dtype = c.dtype("output_dtype") if c.attr("output_dtype", 0) else dtype
    x = x if DTYPES[x.dtype].is_float else ops.cast(x, scale.dtype)
    if x.dtype == "float32" and dtype in NARROW:
        at = constant(0, dtype) if zero is None else spread(c, zero, x, axis, block)
        return ops.quantize(x, spread(c, ops.cast(scale, x.dtype), x, axis, block), at, dtype)
    ratio = x / spread(c, ops.cast(scale, x.dtype), x, axis, block)
    moved = 0.0 if zero is None else ops.cast(spread(c, zero, x, axis, block), x.dtype)
    return rounded(ratio, moved, dtype)


@rule("DequantizeLinear")
def dequantize(c: Applied) -> Node:
    """Of any dtype, if the integers are known: weights of four bits are in the file."""
    x, scale = c.held(0), c.x(1)
    axis, block = _axis(c, x, scale), c.attr("block_size", 0)
    dtype = c.dtype("output_dtype") if c.attr("output_dtype", 0) else scale.dtype
    if scale.dtype == dtype == "float32" and x.dtype in (*NARROW, "int32"):
        at = spread(c, c.x(2), x, axis, block) if c.has(2) else constant(0, x.dtype)
        return ops.dequantize(x, spread(c, scale, x, axis, block), at)
    y = ops.cast(x, scale.dtype)
    if c.has(2):
        y = y - ops.cast(spread(c, c.held(2), x, axis, block), scale.dtype)
    return ops.cast(y * spread(c, scale, x, axis, block), dtype)


def _axis(c: Applied, x: Node, scale: Node) -> int:
    """The axis of values for each channel; it means nothing where there is one value."""
    return c.axis(x.ndim, default=1) if scale.type.size > 1 else 0


def centred(c: Applied, i: int, zero: int, axis: int) -> Node:
    """Input i less its zero point, in int32."""
    x = c.x(i)
    wide = ops.cast(x, "int32")
    if not c.has(zero):
        return wide
    return wide - ops.cast(spread(c, c.x(zero), x, axis), "int32")


@rule("MatMulInteger")
def matmul_integer(c: Applied) -> Node:
    """Rows of the first operand, and columns of the second, have zero points of their own."""
    a, b = c.x(0), c.x(1)
    return ops.matmul(centred(c, 0, 2, max(0, a.ndim - 2)), centred(c, 1, 3, b.ndim - 1))


@rule("MatMulIntegerToFloat", domain=CONTRIB)
def matmul_integer_to_float(c: Applied) -> Node:
    a, b = c.x(0), c.x(1)
    product = ops.matmul(centred(c, 0, 4, max(0, a.ndim - 2)), centred(c, 1, 5, b.ndim - 1))
    y = ops.cast(product, "float32") * (c.x(2) * c.x(3))
    return y + c.x(6) if c.has(6) else y


@rule("ConvInteger")
def conv_integer(c: Applied) -> Node:
    return convolved(c, centred(c, 0, 2, 1), centred(c, 1, 3, 0))


def requantized(c: Applied, total: Node, scale: Node, y_scale: int) -> Node:
    """An int32 sum of products as the integers of the output; ``scale`` is that of the products."""
    zero = c.x(y_scale + 1)
    scale = ops.cast(scale, "float32") / ops.cast(ops.reshape(c.x(y_scale), ()), "float32")
    ratio = ops.cast(total, "float32") * scale
    return ops.quantize(ratio, 1.0, ops.reshape(zero, ()), zero.dtype)


@rule("QLinearMatMul")
def qlinear_matmul(c: Applied) -> Node:
    a, b = c.x(0), c.x(3)
    product = ops.matmul(centred(c, 0, 2, max(0, a.ndim - 2)), centred(c, 3, 5, b.ndim - 1))
    scale = spread(c, c.x(1), a, max(0, a.ndim - 2)) * spread(c, c.x(4), b, b.ndim - 1)
    return requantized(c, product, scale, 6)


@rule("QLinearConv")
def qlinear_conv(c: Applied) -> Node:
    x = c.x(0)
    y = convolved(c, centred(c, 0, 2, 1), centred(c, 3, 5, 0))
    y = biased(c, y, c.maybe(8))
    scale = c.x(4)
    each = ops.reshape(scale, ((-1,) + (1,) * (x.ndim - 2)) if scale.type.size > 1 else ())
    return requantized(c, y, ops.reshape(c.x(1), ()) * each, 6)


@rule("QGemm", domain=CONTRIB)
def qgemm(c: Applied) -> Node:
    """Integers if there is a scale for them, else floats."""
    a, b = centred(c, 0, 2, 0), centred(c, 3, 5, 0 if c.attr("transB", 0) else 1)
    a = ops.transpose(a) if c.attr("transA", 0) else a
    b = ops.transpose(b) if c.attr("transB", 0) else b
    total = ops.matmul(a, b)
    total = total + c.x(6) if c.has(6) else total
    scale = c.x(1) * c.x(4) * c.attr("alpha", 1.0)
    if c.has(7):
        return requantized(c, total, scale, 7)
    return ops.cast(total, "float32") * scale


QLINEAR = {"QLinearAdd": ops.add, "QLinearMul": ops.mul}


@rule(*QLINEAR, domain=CONTRIB)
def qlinear_binary(c: Applied) -> Node:
    a, b = (_float(c, i) for i in (0, 3))
    return _quantized(c, QLINEAR[c.node.op](a, b), 6)


def _float(c: Applied, i: int) -> Node:
    """Input i as floats; its scale and zero point follow it."""
    y = ops.cast(c.x(i), "float32")
    y = y - ops.cast(c.x(i + 2), "float32") if c.has(i + 2) else y
    return y * c.x(i + 1)


def _quantized(c: Applied, y: Node, i: int) -> Node:
    """y as integers, by the scale in input i and the zero point after it."""
    dtype = c.x(0).dtype
    zero = ops.cast(c.x(i + 1), "float32") if c.has(i + 1) else constant(0.0)
    return rounded(y / c.x(i), zero, dtype)


@rule("QLinearGlobalAveragePool", domain=CONTRIB)
def qlinear_global_average_pool(c: Applied) -> Node:
    x = _float(c, 0)
    axes = tuple(range(1, x.ndim - 1) if c.attr("channels_last", 0) else range(2, x.ndim))
    return _quantized(c, ops.mean(x, axes, keepdims=True), 3)


@rule("QLinearAveragePool", domain=CONTRIB)
def qlinear_average_pool(c: Applied) -> Node:
    x = _float(c, 0)
    if c.attr("channels_last", 0):
        raise c.fault("has channels last, which is not supported")
    y = ops.avg_pool(x, **windows(c, x), count_include_pad=bool(c.attr("count_include_pad", 0)))
    return _quantized(c, y, 3)


@rule("QLinearWhere", domain=CONTRIB)
def qlinear_where(c: Applied) -> Node:
    y = ops.where(c.x(0), _float(c, 1), _float(c, 4)) / c.x(7)
    return rounded(y, ops.cast(c.x(8), "float32"), c.x(8).dtype)


@rule("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=CONTRIB)
def qlinear_unary(c: Applied) -> Node:
    x = _float(c, 0)
    if c.node.op == "QLinearSigmoid":
        return _quantized(c, ops.sigmoid(x), 3)
    if c.node.op == "QLinearSoftmax":
        return _quantized(c, ops.softmax(x, c.axis(x.ndim, default=-1)), 3)
    return _quantized(c, ops.leaky_relu(x, c.attr("alpha", 0.01)), 3)


@rule("QLinearConcat", domain=CONTRIB)
def qlinear_concat(c: Applied) -> Node:
    """Inputs are the result's scale and zero point, then three for each part."""
    parts = [_float(c, i) for i in range(2, len(c.inputs), 3)]
    y = ops.concat(parts, c.axis(parts[0].ndim))
    return rounded(y / c.x(0), ops.cast(c.x(1), "float32"), c.x(2).dtype)
