"""Convolutions and their transposes, over any number of axes."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...graph.ir import Node
from .rules import CONTRIB, Applied, number, rule
from .windows import numbers, paddings, shared

FORWARD = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}
TRANSPOSED = {1: ops.conv_transpose1d, 2: ops.conv_transpose2d, 3: ops.conv_transpose3d}


def ranked(c: Applied, rank: int) -> int:
    """The number of an image's axes, if there is a convolution for it."""
    if rank not in FORWARD:
        raise c.fault(f"requires images of 1 to 3 axes, got {rank}")
    return rank


@rule("Conv")
def conv(c: Applied) -> Node:
    return biased(c, convolved(c, c.x(0), c.x(1)), c.maybe(2))


def biased(c: Applied, y: Node, bias: Node | None) -> Node:
    """y plus a number for each channel."""
    return y if bias is None else y + ops.reshape(bias, (-1,) + (1,) * (y.ndim - 2))


def convolved(c: Applied, x: Node, w: Node) -> Node:
    """The convolution that a node's attributes describe."""
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        raise c.fault(f"requires an image and weights of as many axes, got {x.type} and {w.type}")
    kernel = w.shape[2:]
    if c.attr("kernel_shape") and tuple(c.attr("kernel_shape")) != kernel:
        raise c.fault(f"has the kernel_shape {c.attr('kernel_shape')}, but weights {w.type}")
    stride, dilation = numbers(c, "strides", rank), numbers(c, "dilations", rank)
    padding = paddings(c, x.shape[2:], kernel, stride, dilation)
    return FORWARD[ranked(c, rank)](
        x, w, stride=stride, padding=padding, dilation=dilation, groups=c.attr("group", 1)
    )


@rule("ConvTranspose")
def conv_transpose(c: Applied) -> Node:
    x, w = c.x(0), c.x(1)
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        raise c.fault(f"requires an image and weights of as many axes, got {x.type} and {w.type}")
    stride, dilation = numbers(c, "strides", rank), numbers(c, "dilations", rank)
    extra = numbers(c, "output_padding", rank, 0)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    padding = _transposed_padding(c, x.shape[2:], spans, stride, extra)
    y = TRANSPOSED[ranked(c, rank)](
        x,
        w,
        stride=stride,
        padding=padding,
        output_padding=extra,
        dilation=dilation,
        groups=c.attr("group"),
    )
    return biased(c, y, c.maybe(2))


def _transposed_padding(
    c: Applied, image: tuple[Any, ...], spans: list[int], stride: tuple[int, ...],
    extra: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """What is cut off on both sides: given, or so that the result has a size that is given."""
    way, sizes = c.attr("auto_pad"), c.attr("output_shape")
    rank = len(spans)
    if sizes is None and way in ("NOTSET", "VALID", ""):
        found = tuple(c.attr("pads") or (0,) * (2 * rank)) if way != "VALID" else (0,) * 2 * rank
        if len(found) != 2 * rank:
            raise c.fault(f"requires {2 * rank} pads, got {list(found)}")
        return tuple(zip(found[:rank], found[rank:], strict=True))
    if not all(number(n) for n in image):
        raise c.fault(f"requires known sizes with auto_pad or output_shape, got {image}")
    wanted = tuple(sizes or (n * s for n, s in zip(image, stride, strict=True)))[-rank:]
    totals = (
        s * (n - 1) + e + k - size
        for n, s, e, k, size in zip(image, stride, extra, spans, wanted, strict=True)
    )
    upper = way == "SAME_UPPER"
    return tuple(shared(t, "SAME_UPPER" if upper else "SAME_LOWER") for t in totals)


@rule("FusedConv", domain=CONTRIB)
def fused_conv(c: Applied) -> Node:
    """A convolution with what follows it: the sum with input 3, and an activation."""
    y = biased(c, convolved(c, c.x(0), c.x(1)), c.maybe(2))
    y = y + c.x(3) if c.has(3) else y
    return activated(c, y)


def activated(c: Applied, y: Node) -> Node:
    """y after the activation that an attribute names, which ONNX Runtime has fused."""
    name, parameters = c.attr("activation"), list(c.attr("activation_params") or ())
    if not name:
        return y
    if name == "LeakyRelu":
        return ops.leaky_relu(y, *parameters)
    if name == "Clip":
        return ops.clip(y, *parameters)
    if name == "HardSigmoid":
        alpha, beta = parameters
        return ops.clip(y * alpha + beta, 0, 1)
    simple = {"Relu": ops.relu, "Tanh": ops.tanh, "Sigmoid": ops.sigmoid}
    if name not in simple:
        raise c.fault(f"has the activation {name!r}, which is not known")
    return simple[name](y)
