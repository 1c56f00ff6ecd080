"""Pools over any number of axes, and what undoes them."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...graph.ir import Node
from .rules import Applied, number, rule
from .windows import numbers, paddings


def windows(c: Applied, x: Node) -> dict[str, Any]:
    """The windows that a node's attributes describe, as the pools' arguments."""
    rank = x.ndim - 2
    if rank < 1 or len(c.attr("kernel_shape")) != rank:
        raise c.fault(f"requires an image of {len(c.attr('kernel_shape'))} axes, got {x.type}")
    kernel = numbers(c, "kernel_shape", rank)
    stride, dilation = numbers(c, "strides", rank), numbers(c, "dilations", rank)
    padding = paddings(c, x.shape[2:], kernel, stride, dilation)
    return {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": bool(c.attr("ceil_mode", 0)),
        "dilation": dilation,
    }


@rule("MaxPool")
def max_pool(c: Applied) -> Node | tuple[Node, Node]:
    x = c.x(0)
    if not c.wants(1):
        return ops.max_pool(x, **windows(c, x))
    y, places = ops.max_pool(x, **windows(c, x), return_indices=True)
    return y, _flat(c, x, ops.cast(places, "int64"))


def _flat(c: Applied, x: Node, places: Node) -> Node:
    """Places in each image as places in x, of which ONNX counts images by columns if asked to."""
    image = x.shape[2:]
    size = 1
    for n in image:
        size = size * n
    if c.attr("storage_order", 0):
        places = _columns(places, image)
    n, channels = x.shape[:2]
    first = ops.axis_index((n, channels), 0, "int64") * channels
    first = (first + ops.axis_index((n, channels), 1, "int64")) * size
    return places + ops.reshape(first, (n, channels) + (1,) * len(image))


def _columns(places: Node, image: tuple[int, ...]) -> Node:
    """Places in row-major order as places in column-major order."""
    coordinates = []
    for n in reversed(image):
        coordinates.append(ops.mod(places, n))
        places = ops.floor_divide(places, n)
    total: Any = 0
    stride = 1
    for at, n in zip(reversed(coordinates), image, strict=True):
        total = total + at * stride
        stride *= n
    return total


@rule("AveragePool")
def average_pool(c: Applied) -> Node:
    x = c.x(0)
    counted = bool(c.attr("count_include_pad", 0))
    return ops.avg_pool(x, **windows(c, x), count_include_pad=counted)


@rule("LpPool")
def lp_pool(c: Applied) -> Node:
    x, p = c.x(0), c.attr("p", 2)
    return ops.lp_pool(x, p, **windows(c, x))


GLOBAL = {"GlobalAveragePool": ops.mean, "GlobalMaxPool": ops.max}


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(c: Applied) -> Node:
    x = c.x(0)
    axes = tuple(range(2, x.ndim))
    if c.node.op in GLOBAL:
        return GLOBAL[c.node.op](x, axes, keepdims=True)
    p = c.attr("p", 2)
    return ops.pow(ops.sum(ops.pow(ops.abs(x), p), axes, keepdims=True), 1 / p)


@rule("MaxUnpool")
def max_unpool(c: Applied) -> Node:
    """Zeros, and each element at the place that its index says; by default in an image of the size
    that windows without overlap need.
    """
    x, places = c.x(0), c.x(1)
    rank = x.ndim - 2
    kernel, stride = numbers(c, "kernel_shape", rank), numbers(c, "strides", rank)
    pads = c.attr("pads") or (0,) * (2 * rank)
    image = tuple(
        (n - 1) * s + k - low - high
        for n, s, k, low, high in zip(
            x.shape[2:], stride, kernel, pads[:rank], pads[rank:], strict=True
        )
    )
    shape = c.sizes(2, "an output_shape") if c.has(2) else (*x.shape[:2], *image)
    if not all(number(n) for n in (*shape, *x.shape)):
        raise c.fault("requires known sizes")
    inner = (*x.shape[:2], *image)  # what the indices count in
    size = 1
    for n in inner:
        size *= n
    y = ops.scatter_add(ops.reshape(places, (-1,)), ops.reshape(x, (-1,)), 0, size)
    return _placed(ops.reshape(y, inner), shape)


def _placed(y: Node, shape: tuple[int, ...]) -> Node:
    """In the corner of a larger image."""
    return ops.pad(y, [(0, n - m) for n, m in zip(shape, y.shape, strict=True)])
