"""Rules that write products and convolutions, with their gradients, in any number of dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...graph.ir import Node
from .writer import OnnxWriter, Value, writes

Sizes = Sequence[Any]


@writes("outer_sum")
def outer_sum(w: OnnxWriter, n: Node, x: Value, y: Value) -> Value:
    """The sum of outer products over all leading axes."""
    rows, columns = n.inputs[0].shape, n.inputs[1].shape
    steps = math.prod(rows[:-1])
    x = w.reshape(x, rows, (steps, rows[-1]))
    y = w.reshape(y, columns, (steps, columns[-1]))
    return w.add("MatMul", w.transpose(x, (1, 0)), y)


def grouped(w: OnnxWriter, x: Value, shape: Sizes, axis: int) -> Value:
    """Axes ``axis`` and ``axis + 1``, groups and channels, as one."""
    merged = shape[axis] * shape[axis + 1]
    return w.reshape(x, shape, (*shape[:axis], merged, *shape[axis + 2 :]))


def after(size: int, out: int, span: int, stride: int, before: int) -> int:
    """Elements after the last of ``size`` for ``out`` windows; negative: so many are not read."""
    return (out - 1) * stride + span - before - size


def correlated(
    w: OnnxWriter, x: Value, size: Sizes, kernel: Value, out: Sizes, taps: Sizes, stride: Sizes,
    dilation: Sizes, before: Sizes, groups: int = 1, *bias: Value,
) -> Value:  # fmt: skip
    """ONNX's Conv of x[N, C, *size] that gives ``out`` windows; elements it does not read go."""
    spans = [d * (k - 1) + 1 for k, d in zip(taps, dilation, strict=True)]
    ends = [after(*each) for each in zip(size, out, spans, stride, before, strict=True)]
    # what is left of one more step is not read anyway
    if unread := [i for i, (e, s) in enumerate(zip(ends, stride, strict=True)) if e <= -s]:
        axes = [i + 2 for i in unread]
        stops = [size[i - 2] + ends[i - 2] for i in axes]
        x = w.crop(x, [0] * len(axes), stops, [1] * len(axes), axes)
    ends = [max(e, 0) for e in ends]
    return w.add(
        "Conv", x, kernel, *bias, kernel_shape=list(taps), strides=list(stride),
        dilations=list(dilation), pads=[*before, *ends], group=groups,
    )  # fmt: skip


def transposed(
    w: OnnxWriter, g: Value, small: Sizes, kernel: Value, size: Sizes, taps: Sizes, stride: Sizes,
    dilation: Sizes, before: Sizes, groups: int = 1,
) -> Value:  # fmt: skip
    """ONNX's ConvTranspose of g[N, C, *small] that gives an image of ``size``."""
    spans = [d * (k - 1) + 1 for k, d in zip(taps, dilation, strict=True)]
    ends = [after(*each) for each in zip(size, small, spans, stride, before, strict=True)]
    image = w.add(
        "ConvTranspose", g, kernel, kernel_shape=list(taps), strides=list(stride),
        dilations=list(dilation), pads=[*before, *(max(e, 0) for e in ends)], group=groups,
    )  # fmt: skip
    missing = [max(-e, 0) for e in ends]
    return w.edges(image, [0] * (2 + len(missing)), [0, 0, *missing])


def window(n: Node) -> tuple[Any, Any, Any]:
    """Stride, dilation and padding before the first element."""
    return n.attr("stride"), n.attr("dilation"), [p[0] for p in n.attr("padding")]


@writes("conv2d", "conv3d")
def convolution(w: OnnxWriter, n: Node, x: Value, kernel: Value) -> Value:
    """x[N, G, C, ...] and weights [G, O, C, ...] -> [N, G, O, ...]."""
    image, weight = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    y = correlated(
        w, grouped(w, x, image, 1), image[3:], grouped(w, kernel, weight, 0), n.shape[3:],
        weight[3:], stride, dilation, before, weight[0],
    )  # fmt: skip
    return w.reshape(y, (n.shape[0], n.shape[1] * n.shape[2], *n.shape[3:]), n.shape)


@writes("conv2d_input_gradient", "conv3d_input_gradient")
def input_gradient(w: OnnxWriter, n: Node, g: Value, kernel: Value) -> Value:
    small, weight = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    y = transposed(
        w, grouped(w, g, small, 1), small[3:], grouped(w, kernel, weight, 0), n.attr("size"),
        weight[3:], stride, dilation, before, weight[0],
    )  # fmt: skip
    return w.reshape(y, (n.shape[0], n.shape[1] * n.shape[2], *n.shape[3:]), n.shape)


@writes("conv2d_weight_gradient", "conv3d_weight_gradient")
def weight_gradient(w: OnnxWriter, n: Node, x: Value, g: Value) -> Value:
    """A convolution of the image by the gradient: stride and dilation change places, and images
    of the batch are its channels.
    """
    image, small = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    groups, outputs, inputs = n.shape[:3]
    rest = range(3, n.ndim)
    batch = image[0]
    x = w.transpose(x, (2, 1, 0, *rest))
    x = w.reshape(x, (inputs, groups, batch, *image[3:]), (inputs, groups * batch, *image[3:]))
    g = w.transpose(g, (1, 2, 0, *rest))
    g = w.reshape(g, (groups, outputs, batch, *small[3:]), (groups * outputs, batch, *small[3:]))
    y = correlated(
        w, x, image[3:], g, n.attr("kernel"), small[3:], dilation, stride, before, groups
    )
    taps = n.shape[3:]
    y = w.reshape(y, (inputs, groups * outputs, *taps), (inputs, groups, outputs, *taps))
    return w.transpose(y, (1, 2, 0, *rest))
