"""Attention as one operator, which need not store its scores, and its gradient.

Graphs are built from products and softmax (``attention.py``); the pass ``fuse_attention`` puts
these operators in their place where the backend has a kernel that goes through the keys in blocks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.dtype import is_float
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, broadcast_shapes, define, input, same_dtype
from ..graph.types import Type
from .identity import stop_gradient
from .indexing import concat, flatten
from .linalg import MATMUL, swap
from .logic import less_equal, logical_and, where
from .math import exp
from .reduce import max, sum, sum_to
from .source import axis_index
from .view import broadcast_to, reshape

Attributes = dict[str, Any]


def batch_of(*types: Type) -> tuple[int, ...]:
    """The batch axes of attention over these operands [batch, rows, columns]."""
    return broadcast_shapes("attention", *(Type(t.shape[:-2]) for t in types))


def _infer_scores(q: Type, k: Type, v: Type, mask: tuple[Type, ...], fill: float) -> Type:
    """The type of the scores, [batch, L, S].

    Raises:
        ShapeError: with all that operands must meet.
    """
    types = ", ".join(map(str, (q, k, v, *mask)))
    if min(len(t.shape) for t in (q, k, v)) < 2 or len(mask) > 1:
        raise ShapeError(f"attention requires q, k, v of two axes or more, one mask; got {types}")
    dtype = same_dtype("attention", q, k, v)
    keys = k.shape[-2]
    if q.shape[-1] != k.shape[-1] or keys != v.shape[-2] or not keys or not is_float(dtype):
        raise ShapeError(
            "attention requires floats q[..., L, D], k[..., S, D] and v[..., S, E] with at least "
            f"one key, got {types}"
        )
    scores = Type((*batch_of(q, k, v), q.shape[-2], keys), dtype)
    for m in mask:
        if m.dtype not in ("bool", dtype) or math.isnan(fill) or fill == 0:
            raise ShapeError(
                f"attention requires a mask of bool or {dtype}, and a fill that is a number other "
                f"than 0, got {m} and {fill}"
            )
        if broadcast_shapes("attention", scores, m) != scores.shape:
            raise ShapeError(f"attention requires a mask that broadcasts to {scores}, got {m}")
    return scores


def _infer(
    q: Type, k: Type, v: Type, *mask: Type, scale: float, causal: bool, fill: float, stats: bool
) -> Type:
    *batch, rows, _ = _infer_scores(q, k, v, mask, fill).shape
    size = v.shape[-1]
    shape = (*batch, rows * (size + 2)) if stats else (*batch, rows, size)
    return Type(shape, q.dtype)


def _hidden(scores: np.ndarray, mask: tuple[np.ndarray, ...], causal: bool) -> np.ndarray | None:
    """Where a boolean mask or causality hides scores."""
    hidden = [~m for m in mask if m.dtype == bool]
    if causal:
        hidden.append(np.triu(np.ones(scores.shape[-2:], bool), 1))
    return np.logical_or(hidden[0], hidden[-1]) if hidden else None


def _ref_scores(
    q: np.ndarray, k: np.ndarray, mask: tuple[np.ndarray, ...], attrs: Attributes
) -> np.ndarray:
    scores = np.matmul(q, k.swapaxes(-1, -2)) * q.dtype.type(attrs["scale"])
    for m in mask:
        scores = np.where(m, scores, attrs["fill"]) if m.dtype == bool else scores + m
    if attrs["causal"]:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    return scores.astype(q.dtype)


def _ref(q: np.ndarray, k: np.ndarray, v: np.ndarray, *mask: np.ndarray, **attrs: Any) -> Any:
    scores = _ref_scores(q, k, mask, attrs)
    top = np.max(scores, -1, keepdims=True)
    weights = np.exp(scores - top)
    total = np.sum(weights, -1, keepdims=True)
    out = np.matmul(weights / total, v)
    if not attrs["stats"]:
        return out
    flat = (np.broadcast_to(x, (*out.shape[:-1], x.shape[-1])) for x in (out, top, total))
    return np.concatenate([x.reshape(*x.shape[:-2], math.prod(x.shape[-2:])) for x in flat], -1)


def _scores(q: Node, k: Node, mask: tuple[Node, ...], n: Node) -> Node:
    """The scores of an attention, written out."""
    scores = MATMUL(q, swap(k)) * n.attr("scale")
    for m in mask:
        scores = where(m, scores, n.attr("fill")) if m.dtype == "bool" else scores + m
    return where(past(scores.shape), scores, -math.inf) if n.attr("causal") else scores


def past(shape: tuple[int, ...]) -> Node:
    """Which keys query i may see, 0 to i: bool [L, S] for scores [..., L, S]."""
    return less_equal(axis_index(shape[-2:], 1), axis_index(shape[-2:], 0))


def _written_out(n: Node) -> Node:
    q, k, v, *mask = n.inputs
    scores = _scores(q, k, tuple(mask), n)
    top = stop_gradient(max(scores, -1, keepdims=True))
    weights = exp(scores - top)
    total = sum(weights, -1, keepdims=True)
    out = MATMUL(weights / total, v)
    if not n.attr("stats"):
        return out
    flat = (broadcast_to(x, (*out.shape[:-1], x.shape[-1])) for x in (out, top, total))
    return concat([flatten(x, -2) for x in flat], -1)


def _cost(out: Type, q: Type, k: Type, v: Type, *mask: Type, **_: Any) -> int:
    """Of each score: its product, the softmax, the values that it weights."""
    scores = math.prod(batch_of(q, k, v)) * q.shape[-2] * k.shape[-2]
    return scores * (2 * (q.shape[-1] + v.shape[-1]) + 5)


# softmax(scale q k^T, masked) v for q[..., L, D], k[..., S, D], v[..., S, E]: [..., L, E], leading
# axes broadcast. A float mask is added; where one of bool is False, a score becomes ``fill``.
# ``causal``: query i sees keys 0 to i only. With ``stats`` the result is [..., L * E + 2 L]: the
# rows, then each row's greatest score, then the sum of exponentials of scores less that, which the
# gradient needs; an operator has one result.
# A kernel may leave out keys that no query of a block sees: what is not finite in them stays there.
ATTENTION: Op = define(
    "attention",
    Kind.COMPOSITE,
    infer=_infer,
    ref=_ref,
    written_out=_written_out,
    cost=_cost,
    example=lambda: ATTENTION(
        input("q", 2, 4, 3), input("k", 2, 5, 3), input("v", 2, 5, 2),
        input("mask", 4, 5, dtype="bool"), scale=0.5, causal=False, fill=-1e9, stats=False,
    ),
)  # fmt: skip


# -- the gradient ----------------------------------------------------------------------------------


def _infer_gradient(
    g: Type, out: Type, stats: Type, q: Type, k: Type, v: Type, *mask: Type,
    scale: float, causal: bool, fill: float,
) -> Type:  # fmt: skip
    *batch, rows, keys = _infer_scores(q, k, v, mask, fill).shape
    if not g.shape == out.shape == (*batch, rows, v.shape[-1]) or stats.shape != (*batch, 2 * rows):
        raise ShapeError(
            f"attention_gradient requires a gradient and a result {[*batch, rows, v.shape[-1]]}, "
            f"stats {[*batch, 2 * rows]}, got {g}, {out} and {stats}"
        )
    d, e = q.shape[-1], v.shape[-1]
    return Type((*batch, rows * d + keys * (d + e)), same_dtype("attention_gradient", g, stats, q))


def _ref_gradient(
    g: np.ndarray, out: np.ndarray, stats: np.ndarray,
    q: np.ndarray, k: np.ndarray, v: np.ndarray, *mask: np.ndarray, **attrs: Any,
) -> Any:  # fmt: skip
    scores = _ref_scores(q, k, mask, attrs)
    top, total = (x[..., None] for x in np.split(stats, 2, -1))
    weights = np.exp(scores - top) / total
    slope = np.matmul(g, v.swapaxes(-1, -2))
    slope = weights * (slope - np.sum(weights * slope, -1, keepdims=True))
    hidden = _hidden(scores, mask, attrs["causal"])
    if hidden is not None:
        slope = np.where(hidden, 0, slope)
    slope = slope * q.dtype.type(attrs["scale"])
    turned = slope.swapaxes(-1, -2), weights.swapaxes(-1, -2)
    parts = np.matmul(slope, k), np.matmul(turned[0], q), np.matmul(turned[1], g)
    flat = [p.reshape(*g.shape[:-2], math.prod(p.shape[-2:])) for p in parts]
    return np.concatenate(flat, -1).astype(q.dtype)


def _written_out_gradient(n: Node) -> Node:
    g, _, stats, q, k, v, *mask = n.inputs
    scores = _scores(q, k, tuple(mask), n)
    rows = g.shape[-2]
    top, total = (reshape(x, (*g.shape[:-1], 1)) for x in (stats[..., :rows], stats[..., rows:]))
    weights = exp(scores - top) / total
    slope = MATMUL(g, swap(v))
    slope = weights * (slope - sum(weights * slope, -1, keepdims=True))
    seen = [m for m in mask if m.dtype == "bool"]
    if n.attr("causal"):
        seen.append(past(scores.shape))
    if seen:
        slope = where(logical_and(seen[0], seen[-1]), slope, 0)
    slope = slope * n.attr("scale")
    parts = MATMUL(slope, k), MATMUL(swap(slope), q), MATMUL(swap(weights), g)
    return concat([flatten(p, -2) for p in parts], -1)


def _cost_gradient(
    out: Type, g: Type, result: Type, stats: Type, q: Type, k: Type, v: Type, *mask: Type, **_: Any
) -> int:
    """Of each score: its product and that of its slope, the three gradients that they go into."""
    scores = math.prod(batch_of(q, k, v)) * q.shape[-2] * k.shape[-2]
    return scores * (6 * q.shape[-1] + 4 * v.shape[-1] + 4)


# From the gradient of an attention's result, the result, its stats [..., 2 L], and its inputs: the
# gradients to q, k and v, [..., L * D + S * D + S * E], one after the other. Where leading axes
# broadcast they are those of each batch index, not yet summed. The result serves kernels: times its
# gradient it is the sum of weights times theirs, without another pass over keys.
ATTENTION_GRADIENT: Op = define(
    "attention_gradient",
    Kind.COMPOSITE,
    infer=_infer_gradient,
    ref=_ref_gradient,
    written_out=_written_out_gradient,
    cost=_cost_gradient,
    example=lambda: ATTENTION_GRADIENT(
        input("g", 2, 4, 2), input("out", 2, 4, 2), input("stats", 2, 8),
        input("q", 2, 4, 3), input("k", 2, 5, 3), input("v", 2, 5, 2),
        scale=0.5, causal=True, fill=-math.inf,
    ),
)  # fmt: skip


def with_gradients(
    q: Node, k: Node, v: Node, mask: tuple[Node, ...], g: Node, attrs: Attributes
) -> tuple[Node, Node, Node, Node]:
    """An attention's result, and its gradients to q, k and v from that of the result, g."""
    flat = ATTENTION(q, k, v, *mask, **attrs, stats=True)
    (*batch, rows, size), (keys, depth) = g.shape, k.shape[-2:]
    end = rows * size
    out, stats = reshape(flat[..., :end], (*batch, rows, size)), flat[..., end:]
    all_of = ATTENTION_GRADIENT(g, out, stats, q, k, v, *mask, **attrs)
    found, first = [], 0
    for x, shape in ((q, (rows, depth)), (k, (keys, depth)), (v, (keys, size))):
        end = first + math.prod(shape)
        part = reshape(all_of[..., first:end], (*batch, *shape))
        found.append(sum_to(part, x.shape))
        first = end
    return out, found[0], found[1], found[2]
