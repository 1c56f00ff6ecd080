"""The transformer's layers, with PyTorch's names of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .attention import KeyValueCache, MultiHeadAttention
from .linear import Linear
from .module import Module
from .norm import Dropout, Identity, LayerNorm

ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "relu": ops.relu,
    "gelu": ops.gelu,
    "silu": ops.silu,
}


class _Layer(Module):
    """What layers of encoder and decoder share: two linear layers, after the attention."""

    def add_parts(
        self, d_model: int, dim_feedforward: int, dropout: float, activation: str, norm_first: bool
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.linear1 = Linear(d_model, dim_feedforward)
        self.linear2 = Linear(dim_feedforward, d_model)
        self.dropout = Dropout(dropout)
        self.activation, self.norm_first = ACTIVATIONS[activation], norm_first

    def fed(self, x: Node) -> Node:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def added(self, x: Node, norm: Module, part: Callable[[Node], Node]) -> Node:
        """x plus a part of it, normalized before the part or after the sum."""
        return x + part(norm(x)) if self.norm_first else norm(x + part(x))


@numeric
class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear layers, each with dropout, a sum and a normalization.

    (Vaswani et al., NIPS 2017, section 3.1.) With ``norm_first`` the normalizations come before
    the two parts (Xiong et al., ICML 2020), which trains without a warm-up.

    Args:
        d_model: E of x [N, L, E].
        nhead: parts of the attention.
        dim_feedforward: between the two linear layers.
        dropout: probability in three places, and in the attention's weights.
        activation: ``relu``, ``gelu`` or ``silu``.
        norm_first: see above.
        layer_norm_eps: of the normalizations.

    Example:
        >>> nn.TransformerEncoderLayer(64, 4, 128, norm_first=True)(tg.zeros((8, 10, 64))).shape
        (8, 10, 64)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        layer_norm_eps: float = 1e-5,
    ):
        self.self_attn = MultiHeadAttention(d_model, nhead, dropout)
        self.add_parts(d_model, dim_feedforward, dropout, activation, norm_first)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps) for _ in range(2))
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

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

        x = self.added(x, self.norm1, attend)
        return self.added(x, self.norm2, lambda x: self.dropout2(self.fed(x)))


@numeric
class TransformerDecoderLayer(_Layer):
    """Causal self-attention, attention to an encoder's result, then two linear layers.

    (Vaswani et al., NIPS 2017, section 3.1.) Arguments are those of TransformerEncoderLayer, names
    of parameters those of PyTorch's layer.

    Arguments are those of ``nn.TransformerEncoderLayer``.

    Example:
        >>> x, memory = tg.zeros((8, 10, 64)), tg.zeros((8, 20, 64))
        >>> nn.TransformerDecoderLayer(64, 4)(x, memory).shape
        (8, 10, 64)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        layer_norm_eps: float = 1e-5,
    ):
        self.self_attn = MultiHeadAttention(d_model, nhead, dropout)
        self.multihead_attn = MultiHeadAttention(d_model, nhead, dropout)
        self.add_parts(d_model, dim_feedforward, dropout, activation, norm_first)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))

    def forward(
        self,
        x: Node,
        memory: Node,
        *,
        mask: Node | None = None,
        causal: bool = True,
        memory_mask: Node | None = None,
        cache: KeyValueCache | None = None,
        position: Node | None = None,
        training: bool = False,
    ) -> Node:
        """x [N, L, E] with an encoder's memory [N, S, E] -> [N, L, E].

        Args:
            mask, cache, position: of the self-attention, as in ``MultiHeadAttention.forward``.
            causal: whether position i sees x's positions 0 to i only.
            memory_mask: which positions of the memory each position may see, or what is added to
                its scores; broadcasts to [N, heads, L, S].
        """

        def attend(x: Node) -> Node:
            alone = causal and cache is None
            y = self.self_attn(x, mask=mask, causal=alone, cache=cache, position=position)
            return self.dropout1(y)

        def look(x: Node) -> Node:
            return self.dropout2(self.multihead_attn(x, memory, mask=memory_mask))

        x = self.added(x, self.norm1, attend)
        x = self.added(x, self.norm2, look)
        return self.added(x, self.norm3, lambda x: self.dropout3(self.fed(x)))


class TransformerEncoder(Module):
    """Layers one after the other; with ``norm_first``, put a normalization after the last.

    Args:
        layers: of one size.
        norm: what comes after the last one.

    Example:
        >>> net = nn.TransformerEncoder([nn.TransformerEncoderLayer(64, 4, 128) for _ in range(2)])
        >>> net(tg.zeros((8, 10, 64))).shape
        (8, 10, 64)
    """

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
