"""Small transformers: an encoder that classifies, a causal decoder that continues a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..graph.op import ShapeError


class TokenEmbedding(nn.Module):
    """Symbols int32 [N, L] to vectors [N, L, size]: learned ones of symbols plus positions."""

    def __init__(self, symbols: int, length: int, size: int, dropout: float):
        # 0.1: about what the first layers add; far less is drowned by it, and learning starts late
        self.symbols = nn.Embedding(symbols, size, initial=nn.init.normal(0.1))
        self.positions = nn.Embedding(length, size, initial=nn.init.normal(0.1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Node, position: Node | None = None, training: bool = False) -> Node:
        """``position`` is that of the first symbols, 0 by default."""
        length, size = self.positions.weight.shape
        if tokens.ndim != 2 or tokens.shape[1] > length:
            raise ShapeError(f"TokenEmbedding requires [N, up to {length}], got {tokens.type}")
        start = 0 if position is None else position
        places = ops.dynamic_slice(self.positions.weight, (start, 0), (tokens.shape[1], size))
        return self.dropout(self.symbols(tokens) + places)


def _encoder(
    layers: int, size: int, heads: int, hidden: int | None, dropout: float
) -> nn.TransformerEncoder:
    """Layers that normalize first; ``hidden`` is 4 * size by default."""
    options: dict[str, Any] = {"dropout": dropout, "activation": "gelu", "norm_first": True}
    return nn.TransformerEncoder(
        [nn.TransformerEncoderLayer(size, heads, hidden or 4 * size, **options)
         for _ in range(layers)],
        nn.LayerNorm(size),
    )  # fmt: skip


@numeric
class TransformerClassifier(nn.Module):
    """Symbols int32 [N, length] to logits [N, classes]: an encoder, the mean over positions.

    Args:
        symbols: how many there are; a symbol is below it.
        classes: how many logits.
        length: the most positions.
        size, heads, hidden, dropout: see ``nn.TransformerEncoderLayer``; hidden is 4 * size by
            default.
        layers: of the encoder.

    Example:
        >>> net = models.TransformerClassifier(symbols=100, classes=2, length=20, size=32, layers=2)
        >>> net(tg.input("symbols", 8, 20, dtype="int32")).shape
        (8, 2)
    """

    def __init__(
        self,
        symbols: int,
        classes: int,
        length: int,
        size: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
    ):
        self.embedding = TokenEmbedding(symbols, length, size, dropout)
        self.encoder = _encoder(layers, size, heads, hidden, dropout)
        self.fc = nn.Linear(size, classes)

    def forward(self, tokens: Node, mask: Node | None = None, training: bool = False) -> Node:
        """``mask`` as in ``nn.MultiHeadAttention``."""
        return self.fc(ops.mean(self.encoder(self.embedding(tokens), mask=mask), 1))


@numeric
class TransformerLanguageModel(nn.Module):
    """Symbols int32 [N, L] to the logits [N, L, symbols] of each next one.

    A decoder of causal self-attention with learned positions (Radford et al., Language models are
    unsupervised multitask learners, 2019). The output layer shares the symbols' embedding (Press
    and Wolf, EACL 2017). Arguments are those of
    ``models.TransformerClassifier``.

    Generation step by step, where a call reads one symbol and remembers keys and values:

        token, position = tg.input("token", 1, 1, dtype="int32"), tg.input("at", dtype="int32")
        step = tg.compile([token, position], [net(token, net.caches(batch=1), position)])
        for at, symbol in enumerate(text):
            (logits,) = step([[symbol]], at)

    Example:
        >>> net = models.TransformerLanguageModel(symbols=62, length=32, size=32, layers=2)
        >>> net(tg.input("text", 8, 32, dtype="int32")).shape
        (8, 32, 62)
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        size: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
    ):
        self.length, self.heads = length, heads
        self.embedding = TokenEmbedding(symbols, length, size, dropout)
        self.encoder = _encoder(layers, size, heads, hidden, dropout)
        self.head = nn.Linear(size, symbols, bias=False)
        self.head.weight = self.embedding.symbols.weight

    def caches(self, batch: int) -> list[nn.KeyValueCache]:
        """The keys and values that generation remembers, one pair for each layer."""
        size = self.head.weight.shape[1]
        return [
            nn.KeyValueCache(batch, self.heads, self.length, size // self.heads, f"cache.{i}")
            for i in range(len(self.encoder.layers))
        ]

    def forward(
        self,
        tokens: Node,
        caches: Sequence[nn.KeyValueCache] = (),
        position: Node | None = None,
        training: bool = False,
    ) -> Node:
        """With caches, ``tokens`` continue the ``position`` symbols that earlier calls have read.

        ``position`` is a node, int32 []; logits are NaN if the tokens go beyond ``length``.
        """
        x = self.embedding(tokens, position)
        return self.head(self.encoder(x, causal=not caches, caches=caches, position=position))
