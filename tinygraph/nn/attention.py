"""Attention as a layer, and what it keeps between calls; the batch comes first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import ops
from ..graph.ir import Node, Parameter
from ..graph.numeric import numeric
from ..graph.op import ShapeError
from ..graph.parameter import parameter
from .drawn import drawn
from .init import constant, xavier
from .linear import Linear, linear
from .module import Module
from .norm import Dropout


@numeric
def multi_head_attention(
    query: Node,
    key: Node,
    value: Node,
    heads: int,
    mask: Node | None = None,
    causal: bool = False,
    dropout: Callable[[Node], Node] | None = None,
) -> Node:
    """``tg.scaled_dot_product_attention`` in each of ``heads`` equal parts of the last axis.

    query [N, L, E], key and value [N, S, E] -> [N, L, E]; a mask broadcasts to [N, heads, L, S].

    Args:
        causal, dropout: see ``tg.scaled_dot_product_attention``.

    Example:
        >>> x = tg.zeros((8, 10, 64))
        >>> nn.multi_head_attention(x, x, x, heads=4, causal=True).shape
        (8, 10, 64)
    """
    q, k, v = (split_heads(x, heads) for x in (query, key, value))
    return join_heads(ops.scaled_dot_product_attention(q, k, v, mask, causal, dropout))


def split_heads(x: Node, heads: int) -> Node:
    """[N, L, E] -> [N, heads, L, E / heads]."""
    if x.ndim != 3 or x.shape[2] % heads:
        raise ShapeError(f"attention in {heads} heads requires [N, L, E] that divide, got {x.type}")
    n, length, size = x.shape
    return ops.transpose(ops.reshape(x, (n, length, heads, size // heads)), (0, 2, 1, 3))


def join_heads(x: Node) -> Node:
    """[N, heads, L, D] -> [N, L, heads * D]."""
    n, heads, length, size = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (n, length, heads * size))


@numeric
class KeyValueCache:
    """Keys and values of up to ``length`` positions, kept between the calls of a program.

    ``keys`` and ``values`` [N, heads, length, D] are parameters that no optimizer changes and no
    module owns. Programs that share a cache continue each other.

    Args:
        batch, heads, length, size: N, heads, length and D.
        name: of the parameters, for dumps.

    Example:
        >>> nn.KeyValueCache(batch=1, heads=4, length=128, size=32).keys.shape
        (1, 4, 128, 32)
    """

    def __init__(self, batch: int, heads: int, length: int, size: int, name: str = "cache"):
        shape = batch, heads, length, size

        def kept(kind: str, order: tuple[int, ...]) -> Parameter:
            p = parameter(shape, f"{name}.{kind}", initial=lambda: np.zeros(shape), order=order)
            p.state.trainable = False
            return p

        self.keys = kept("keys", (0, 1, 3, 2))  # scores are contiguous along positions,
        self.values = kept("values", (0, 1, 2, 3))  # results along the parts of a head

    def extend(self, k: Node, v: Node, position: Node) -> tuple[Node, Node]:
        """All keys and values, with k and v [N, heads, L, D] from ``position`` on."""
        n, heads, length, size = self.keys.shape
        if (*k.shape[:2], k.shape[3]) != (n, heads, size):
            raise ShapeError(
                f"a cache for keys [{n}, {heads}, up to {length}, {size}] got {k.type}: "
                "the batch, or the heads, are other ones"
            )
        found = []
        for kept, new in ((self.keys, k), (self.values, v)):
            new = ops.dynamic_update(kept, new, (0, 0, position, 0))
            found.append(ops.effect(new, kept, new))
        return found[0], found[1]

    def seen(self, position: Node, queries: int) -> Node:
        """Which positions each query from ``position`` on may see, bool [queries, length]: those
        up to its own, and none, which gives NaN, if the cache is too short.
        """
        length = self.keys.shape[2]
        shape = queries, length
        past = ops.less_equal(ops.axis_index(shape, 1), ops.axis_index(shape, 0) + position)
        return ops.logical_and(past, ops.less_equal(position + queries, length))


@numeric
class MultiHeadAttention(Module):
    """Projections, attention in ``heads`` parts, a projection (Vaswani et al., 2017, 3.2.2).

    Parameters are named and laid out as in PyTorch's MultiheadAttention: ``in_proj_weight``
    [3 E, E] projects to query, key and value.

    Args:
        embed_dim: E, the size of query, key and value.
        num_heads: into how many parts it is cut.
        dropout: probability of each weight, in training.
        bias: whether the projections have biases.

    Example:
        >>> x = tg.zeros((8, 10, 64))
        >>> nn.MultiHeadAttention(64, 4)(x, x, x).shape
        (8, 10, 64)
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        size, heads = embed_dim, num_heads
        if heads < 1 or size % heads:
            raise ShapeError(f"MultiHeadAttention requires heads that divide {size}, got {heads}")
        self.heads = heads
        self.in_proj_weight = drawn((3 * size, size), xavier(), order=(1, 0))
        self.in_proj_bias: Parameter | None = drawn((3 * size,), constant(0)) if bias else None
        self.out_proj = Linear(size, size, bias)
        if bias:
            self.out_proj.bias = drawn((size,), constant(0))
        self.dropout = Dropout(dropout)

    def forward(
        self,
        query: Node,
        key: Node | None = None,
        value: Node | None = None,
        *,
        mask: Node | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
        position: Node | None = None,
        training: bool = False,
    ) -> Node:
        """query [N, L, E], key and value [N, S, E], by default the query and the key -> [N, L, E].

        Args:
            mask: is added to the scores, to whose shape [N, heads, L, S] it broadcasts; or, if
                boolean, says with True which keys a query may see (in PyTorch's layer, with False).
            causal: query i may see keys 0 to i only.
            cache: keys and values of the ``position`` positions before those of the query, which
                are added to it; each query sees those up to its own.
        """
        key = query if key is None else key
        q, k, v = self._projected(query, key, key if value is None else value)
        q, k, v = (split_heads(x, self.heads) for x in (q, k, v))
        if cache is not None:
            if mask is not None or causal or position is None or key is not query:
                raise ValueError(
                    "attention with a cache requires a position, and neither mask, causal nor key"
                )
            k, v = cache.extend(k, v, position)
            mask = cache.seen(position, query.shape[1])
        y = ops.scaled_dot_product_attention(q, k, v, mask, causal, self.dropout)
        return self.out_proj(join_heads(y))

    def weights(
        self,
        query: Node,
        key: Node | None = None,
        *,
        mask: Node | None = None,
        causal: bool = False,
    ) -> Node:
        """How much each query takes of each position, in each head: [N, heads, L, S].

        Arguments are those of a call; next to one in inference nothing is computed again, for the
        nodes are the same.
        """
        key = query if key is None else key
        q, k, _ = self._projected(query, key, key)
        q, k = (split_heads(x, self.heads) for x in (q, k))
        return ops.attention_weights(q, k, mask, causal)

    def _projected(self, query: Node, key: Node, value: Node) -> tuple[Node, ...]:
        """Query, key and value after their projections: one product for each different node."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key and key is value:
            return ops.split(linear(query, weight, bias), 3, axis=-1)
        weights = ops.split(weight, 3)
        biases = (None,) * 3 if bias is None else ops.split(bias, 3)
        return tuple(map(linear, (query, key, value), weights, biases))

    def extra_repr(self) -> str:
        return f"{self.in_proj_weight.shape[1]}, heads={self.heads}"
