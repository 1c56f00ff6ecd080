"""Networks of the comparison that tinygraph.models does not have."""

from __future__ import annotations

from itertools import pairwise

import tinygraph as tg
from tinygraph import models, nn


class LanguageModel(models.CharLanguageModel):
    """Texts [N, L] to the logits [N L, symbols] of each next symbol."""

    def forward(self, tokens: tg.Node, training: bool = False) -> tg.Node:  # type: ignore[override]
        logits, _ = super().forward(tokens)
        return tg.reshape(logits, (-1, logits.shape[-1]))


class PooledBert(models.Bert):
    """Texts [N, L] to the pooled vector [N, size]."""

    def forward(self, tokens: tg.Node, training: bool = False) -> tg.Node:  # type: ignore[override]
        return super().forward(tokens)[1]


class Generation(models.TransformerLanguageModel):
    """A symbol [1, 1] at the last position to the next one's logits [1, symbols].

    Keys and values of all positions before are kept; they are zeros, which take as long as others.
    """

    def __init__(self, symbols: int, length: int, size: int, layers: int, heads: int):
        super().__init__(symbols, length, size, layers, heads)
        self.head = nn.Linear(size, symbols, bias=False)  # of its own: weights are drawn by name
        self.kept = self.caches(batch=1)

    def forward(self, tokens: tg.Node, training: bool = False) -> tg.Node:  # type: ignore[override]
        last = tg.constant(self.length - 1, "int32")
        return super().forward(tokens, self.kept, last)[:, 0]


class Recommendation(nn.Module):
    """Bags of numbers [N, tables, bag] to a score [N, 1]: rows of each table are added up, and go
    through three linear layers.
    """

    def __init__(self, rows: int, tables: int, size: int):
        self.tables = [nn.Embedding(rows, size) for _ in range(tables)]
        sizes = [tables * size, 512, 256, 1]
        self.layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        bags = [tg.sum(table(x[:, i]), 1) for i, table in enumerate(self.tables)]
        y = tg.concat(bags, 1)
        for layer in self.layers[:-1]:
            y = tg.relu(layer(y))
        return self.layers[-1](y)
