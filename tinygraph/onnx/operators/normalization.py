"""Normalizations."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...graph.dtype import DTYPES
from ...graph.ir import Node
from ...ops.view import RESHAPE
from .rules import CONTRIB, Applied, rule

WIDE = "float32"  # the dtype that statistics are taken in, stash_type 1


@rule("BatchNormalization")
def batch_norm(c: Applied) -> Any:
    x, scale, shift, mean, variance = (c.x(i) for i in range(5))
    eps, momentum = c.attr("epsilon"), c.attr("momentum")
    if c.attr("spatial", 1) != 1:
        raise c.fault("requires spatial=1, statistics for each channel")
    if not c.attr("training_mode", 0) and not c.walk.training:
        return ops.batch_norm(x, scale, shift, mean, variance, eps)
    y, new_mean, new_variance = ops.batch_norm_training(x, scale, shift, eps)
    if c.attr("training_mode", 0) and not c.walk.training:
        moved = [
            old * momentum + new * (1 - momentum)
            for old, new in ((mean, new_mean), (variance, new_variance))
        ]
        return y, *moved
    n = x.type.size // x.shape[1]
    unbiased = new_variance * (n / (n - 1))  # as PyTorch has it
    y = c.walk.statistics(mean, new_mean, momentum, y)
    return c.walk.statistics(variance, unbiased, momentum, y)


@rule("InstanceNormalization")
def instance_norm(c: Applied) -> Node:
    x = c.x(0)
    n, groups = x.shape[:2]
    # Exporters write a group normalization as that of images whose channels and pixels a reshape
    # has made one axis; without it, channels may be stored last.
    image = x.inputs[0] if x.op is RESHAPE and x.ndim == 3 else x
    if image.ndim < 3 or image.shape[0] != n or not groups or image.shape[1] % groups:
        image = x
    y = ops.reshape(ops.group_norm(image, groups, eps=c.attr("epsilon")), x.shape)
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale, shift = (ops.reshape(c.x(i), shape) for i in (1, 2))
    return y * scale + shift


@rule("GroupNormalization")
def group_norm(c: Applied) -> Node:
    x, groups = c.x(0), c.attr("num_groups")
    y = ops.group_norm(x, groups, eps=c.attr("epsilon"))
    channels, *image = x.shape[1:]
    shape = (channels,) + (1,) * len(image)
    return y * _spread(c.x(1), channels, shape) + _spread(c.x(2), channels, shape)


def _spread(p: Node, channels: int, shape: tuple[int, ...]) -> Node:
    """A number for each channel; older opsets have one for each group."""
    count = p.shape[0]
    each = ops.broadcast_to(ops.reshape(p, (count, 1)), (count, channels // count))
    return ops.reshape(each, shape)


@rule("LayerNormalization")
def layer_norm(c: Applied) -> Any:
    x = c.x(0)
    axes = tuple(range(c.axis(x.ndim, default=-1), x.ndim))  # before opset 17: the optimizer's own
    return _layer_norm(c, x, axes, c.x(1), c.maybe(2))


def _layer_norm(c: Applied, x: Node, axes: Any, scale: Node, shift: Node | None) -> Any:
    wide = ops.cast(x, WIDE) if DTYPES[x.dtype].bits < 32 else x
    eps = c.attr("epsilon", 1e-5)
    y = ops.cast(ops.layer_norm(wide, axes, eps=eps), x.dtype) * scale
    y = y if shift is None else y + shift
    if c.outputs == 1:
        return y
    mean = ops.mean(wide, axes, keepdims=True)
    distance = wide - mean
    inverse = ops.rsqrt(ops.mean(distance * distance, axes, keepdims=True) + eps)
    return y, mean, inverse


def rms_norm(x: Node, axes: Any, scale: Node, eps: float) -> Node:
    """x over the root of its mean square, times ``scale`` (Zhang and Sennrich, 2019)."""
    wide = ops.cast(x, WIDE) if DTYPES[x.dtype].bits < 32 else x
    inverse = ops.rsqrt(ops.mean(wide * wide, axes, keepdims=True) + eps)
    return ops.cast(wide * inverse, x.dtype) * scale


@rule("RMSNormalization")
def a_rms_norm(c: Applied) -> Node:
    x = c.x(0)
    axes = tuple(range(c.axis(x.ndim), x.ndim))
    return rms_norm(x, axes, c.x(1), c.attr("epsilon"))


@rule("SimplifiedLayerNormalization")
def simplified_layer_norm(c: Applied) -> Node:
    x = c.x(0)
    axes = tuple(range(c.axis(x.ndim, default=-1), x.ndim))
    return rms_norm(x, axes, c.x(1), c.attr("epsilon", 1e-5))


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_layer_norm(c: Applied) -> Any:
    """The normalization of a sum; its inputs are x, skip, scale, (shift,) bias."""
    simple = c.node.op.startswith("SkipSimplified")
    total = c.x(0) + c.x(1)
    bias = c.maybe(3 if simple else 4)
    total = total if bias is None else total + bias
    if simple:
        y = rms_norm(total, -1, c.x(2), c.attr("epsilon", 1e-12))
    else:
        y = ops.layer_norm(total, -1, c.x(2), c.maybe(3), c.attr("epsilon", 1e-12))
    if c.wants(1) or c.wants(2):
        raise c.fault("gives statistics, which are not supported")
    return y, None, None, total


@rule("LRN")
def local_response_norm(c: Applied) -> Node:
    x, size = c.x(0), c.attr("size")
    beta, bias = c.attr("beta"), c.attr("bias")
    if size < 1:
        raise c.fault(f"requires a size from 1 up, got {size}")
    if size % 2:
        return ops.local_response_norm(x, size, c.attr("alpha"), beta, bias)
    channels = x.shape[1]
    around = min((size - 1) // 2, channels), min(size // 2, channels)
    squares = ops.pad(x * x, [around if a == 1 else (0, 0) for a in range(x.ndim)])
    total = squares[:, :channels]
    for k in range(1, sum(around) + 1):
        total = total + squares[:, k : k + channels]
    return x * ops.pow(total * (c.attr("alpha") / size) + bias, -beta)


@rule("LpNormalization")
def lp_norm(c: Applied) -> Node:
    x, p = c.x(0), c.attr("p")
    axis = c.axis(x.ndim)
    if p == 1:
        norm = ops.sum(ops.abs(x), axis, keepdims=True)
    else:
        norm = ops.sqrt(ops.sum(x * x, axis, keepdims=True))
    return ops.where(ops.equal(norm, 0), 0, x / ops.where(ops.equal(norm, 0), 1, norm))


@rule("MeanVarianceNormalization")
def mean_variance_norm(c: Applied) -> Node:
    x = c.x(0)
    axes = c.normal_axes(c.attr("axes"), x.ndim)
    distance = x - ops.mean(x, axes, keepdims=True)
    return distance / (ops.sqrt(ops.mean(distance * distance, axes, keepdims=True)) + 1e-9)
