"""The transformer's encoder, with PyTorch's names of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import ops
from ..graph.ir import Node
from .attention import KeyValueCache, MultiHeadAttention
from .linear import Linear
from .module import Module
from .norm import Dropout, Identity, LayerNorm

ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "relu": ops.relu,
    "gelu": ops.gelu,
    "silu": ops.silu,
}


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear layers, each with dropout, a sum and a normalization.

    (Vaswani et al., NIPS 2017, section 3.1.) With ``norm_first`` the normalizations come before
    the two parts (Xiong et al., ICML 2020), which trains without a warm-up.

    Args:
        size: E of x [N, L, E].
        heads: parts of the attention.
        hidden: between the two linear layers.
        dropout: probability in three places, and in the attention's weights.
        activation: ``relu``, ``gelu`` or ``silu``.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        hidden: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        eps: float = 1e-5,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.self_attn = MultiHeadAttention(size, heads, dropout)
        self.linear1, self.linear2 = Linear(size, hidden), Linear(hidden, size)
        self.norm1, self.norm2 = LayerNorm(size, eps), LayerNorm(size, eps)
        self.dropout, self.dropout1, self.dropout2 = (Dropout(dropout) for _ in range(3))
        self.activation, self.norm_first = ACTIVATIONS[activation], norm_first

    def forward(
        self,
        x: Node,
        *,
        mask: Node | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
        position: Node | None = None,
        training: bool = False,
    ) -> Node:
        """x [N, L, E] -> [N, L, E]; for the rest see ``MultiHeadAttention.forward``."""

        def attend(x: Node) -> Node:
            y = self.self_attn(x, mask=mask, causal=causal, cache=cache, position=position)
            return self.dropout1(y)

        def feed(x: Node) -> Node:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            return x + feed(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + feed(x))


class TransformerEncoder(Module):
    """Layers one after the other; with ``norm_first``, put a normalization after the last."""

    def __init__(self, layers: Sequence[TransformerEncoderLayer], norm: Module | None = None):
        self.layers = list(layers)
        self.norm = norm or Identity()

    def forward(
        self,
        x: Node,
        *,
        mask: Node | None = None,
        causal: bool = False,
        caches: Sequence[KeyValueCache] = (),
        position: Node | None = None,
        training: bool = False,
    ) -> Node:
        """x [N, L, E] -> [N, L, E]; for the rest see ``MultiHeadAttention.forward``.

        ``caches`` has one cache for each layer, or none.
        """
        each = caches or (None,) * len(self.layers)
        for layer, cache in zip(self.layers, each, strict=True):
            x = layer(x, mask=mask, causal=causal, cache=cache, position=position)
        return self.norm(x)
