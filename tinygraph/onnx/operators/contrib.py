"""What ONNX Runtime's optimizer makes of others: GELUs, attentions, embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from .elementwise import swish
from .quantization import by_limits
from .rules import CONTRIB, Applied, rule


@rule("Gelu", "BiasGelu", "FastGelu", "QuickGelu", domain=CONTRIB)
def gelu(c: Applied) -> Node:
    x = c.x(0) + c.x(1) if c.has(1) else c.x(0)
    if c.node.op == "QuickGelu":
        return swish(x, c.attr("alpha", 1.702))
    return ops.gelu(x, "tanh" if c.node.op == "FastGelu" else "none")


@rule("BiasAdd", domain=CONTRIB)
def bias_add(c: Applied) -> Node:
    return c.x(0) + c.x(1) + c.x(2)


@rule("EmbedLayerNormalization", domain=CONTRIB)
def embed_layer_norm(c: Applied) -> tuple[Any, ...]:
    """The sum of vectors of symbol, place and segment, normalized; and the lengths of the texts."""
    ids = c.x(0)
    total = ops.take(c.x(2), ids)
    places = c.maybe(8)
    total = total + (c.x(3)[: ids.shape[1]] if places is None else ops.take(c.x(3), places))
    if c.has(4):
        segments = c.maybe(1)
        total = total + (c.x(4)[0] if segments is None else ops.take(c.x(4), segments))
    y = ops.layer_norm(total, -1, c.x(5), c.x(6), c.attr("epsilon", 1e-12))
    mask = c.maybe(7)
    lengths = ops.zeros((ids.shape[0],), "int32") if mask is None else ops.sum(mask, 1)
    return y, ops.cast(lengths, "int32"), total


def _refuse(c: Applied, *inputs: int) -> None:
    for i in inputs:
        if c.has(i):
            raise c.fault(f"has its input {i}, which is not supported")
    if any(c.wants(i) for i in range(1, c.outputs)):
        raise c.fault("gives keys and values for later calls, which is not supported")


def _heads(x: Node, count: int) -> Node:
    """[batch, steps, heads * each] -> [batch, heads, steps, each]."""
    n, steps, size = x.shape
    return ops.transpose(ops.reshape(x, (n, steps, count, size // count)), (0, 2, 1, 3))


def _attended(c: Applied, q: Node, k: Node, v: Node, mask: Node | None, bias: Node | None) -> Node:
    """softmax(q k^T * scale + bias + mask) v of [batch, steps, heads * each]."""
    count = c.attr("num_heads")
    q, k, v = (_heads(x, count) for x in (q, k, v))
    scale = c.attr("scale", 0.0) or 1 / math.sqrt(q.shape[-1])
    scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) * scale
    steps, keys = scores.shape[-2:]
    if mask is not None:
        scores = scores + _hidden(c, mask, q.shape[0], keys)
    scores = scores if bias is None else scores + bias
    if c.attr("unidirectional", 0):
        scores = ops.where(ops.tril(ops.ones((steps, keys), "int32")) > 0, scores, -math.inf)
    y = ops.transpose(ops.matmul(ops.softmax(scores), v), (0, 2, 1, 3))
    return ops.reshape(y, (*y.shape[:2], y.shape[2] * y.shape[3]))


def _hidden(c: Applied, mask: Node, n: Any, keys: Any) -> Node:
    """What is added to scores: lengths [n], or 1 for each key [n, keys] that may be seen."""
    if mask.ndim == 1 and mask.shape[0] == n:
        seen = ops.less(ops.arange(keys), ops.reshape(ops.cast(mask, "int32"), (-1, 1)))
    elif mask.ndim in (2, 3):
        seen = ops.not_equal(mask, constant(np.zeros((), mask.dtype)))
    else:
        raise c.fault(f"requires a mask of lengths or keys, got {mask.type}")
    shape = (seen.shape[0], 1, *((1,) if seen.ndim == 2 else ()), *seen.shape[1:])
    return ops.where(ops.reshape(seen, shape), 0.0, float(c.attr("mask_filter_value", -10000.0)))


@rule("Attention", domain=CONTRIB)
def attention(c: Applied) -> Node:
    """Its projections are one product; inputs are x, weights, bias, mask, past, what is added."""
    _refuse(c, 4)
    y = ops.matmul(c.x(0), c.x(1))
    y = y + c.x(2) if c.has(2) else y
    sizes = c.attr("qkv_hidden_sizes") or (y.shape[-1] // 3,) * 3
    q, k, v = ops.split(y, tuple(sizes), 2)
    return _attended(c, q, k, v, c.maybe(3), c.maybe(5))


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(c: Applied) -> Node:
    """Inputs are q, k, v, the bias of all three, a mask of keys, and what is added to scores."""
    _refuse(c, 6, 7)
    if not c.has(1) or not c.has(2) or any(c.x(i).ndim != 3 for i in range(3)):
        raise c.fault("requires q, k and v [batch, steps, size] of their own")
    parts = [c.x(i) for i in range(3)]
    if c.has(3):
        each = ops.split(c.x(3), tuple(p.shape[-1] for p in parts))
        parts = [p + b for p, b in zip(parts, each, strict=True)]
    q, k, v = parts
    return _attended(c, q, k, v, c.maybe(4), c.maybe(5))


@rule("DynamicQuantizeMatMul", domain=CONTRIB)
def dynamic_quantize_matmul(c: Applied) -> Node:
    """x @ b by integers, x being quantized to uint8 by its own limits."""
    x, b = c.x(0), ops.cast(c.x(1), "int32")
    whole, scale = by_limits(x)
    b = b - ops.cast(c.x(3), "int32") if c.has(3) else b
    y = ops.cast(ops.matmul(ops.cast(whole, "int32"), b), "float32") * (scale * c.x(2))
    return y + c.x(4) if c.has(4) else y
