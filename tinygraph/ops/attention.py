"""Attention, as a function that builds a graph."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph.convert import flag
from ..graph.ir import Node
from ..graph.op import ShapeError, broadcast_shapes
from .activation import softmax
from .linalg import matmul, swap
from .logic import less_equal, logical_and, where
from .source import axis_index

__all__ = ("attention_weights", "scaled_dot_product_attention")


def scaled_dot_product_attention(
    q: Node,
    k: Node,
    v: Node,
    mask: Node | None = None,
    causal: bool = False,
    dropout: Callable[[Node], Node] | None = None,
) -> Node:
    """softmax(q k^T / sqrt(D) + mask) v (Vaswani et al., NIPS 2017, section 3.2.1).

    A query that may see no key gives NaN.

    Args:
        q: queries [..., L, D].
        k: keys [..., S, D].
        v: values [..., S, E].
        mask: broadcasts to the scores [..., L, S] and is added to them; or, if boolean, says with
            True which keys a query may see.
        causal: query i may see keys 0 to i only.
        dropout: what is done to the weights [..., L, S], such as a call of ``nn.Dropout``.

    Returns:
        [..., L, E].

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> q, k, v = (tg.zeros((8, 10, 64)) for _ in range(3))  # [heads, length, size]
        >>> tg.scaled_dot_product_attention(q, k, v, causal=True).shape
        (8, 10, 64)
    """
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            "scaled_dot_product_attention requires q[..., L, D], k[..., S, D] and v[..., S, E], "
            f"got {q.type}, {k.type} and {v.type}"
        )
    weights = attention_weights(q, k, mask, causal)
    return matmul(weights if dropout is None else dropout(weights), v)


def attention_weights(q: Node, k: Node, mask: Node | None = None, causal: bool = False) -> Node:
    """softmax(q k^T / sqrt(D) + mask) [..., L, S]: how much each query takes of each value.

    Args:
        q, k, mask, causal: see ``tg.scaled_dot_product_attention``.

    Raises:
        ShapeError: shapes do not fit.

    Example:
        >>> q = k = tg.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> tg.run(tg.attention_weights(q, k, causal=True))
        array([[1.        , 0.        ],
               [0.33023846, 0.66976154]], dtype=float32)
    """
    scores = matmul(q, swap(k)) * (1 / math.sqrt(q.shape[-1]))
    if mask is not None and broadcast_shapes("a mask", scores.type, mask.type) != scores.shape:
        raise ShapeError(f"a mask must broadcast to the scores {scores.type}, got {mask.type}")
    if mask is not None and mask.dtype != "bool":
        scores, mask = scores + mask, None
    if flag("attention causal", causal):
        past = less_equal(axis_index(scores.shape[-2:], 1), axis_index(scores.shape[-2:], 0))
        mask = past if mask is None else logical_and(mask, past)
    if mask is not None:
        scores = where(mask, scores, -math.inf)
    return softmax(scores)
