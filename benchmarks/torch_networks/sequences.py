"""Recurrent networks and transformers."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RNN(nn.Module):
    """Sequences [N, L, inputs] to classes, by the last step."""

    kind: type[nn.Module] = nn.RNN

    def __init__(self, inputs: int, hidden: int, classes: int, layers: int = 1):
        super().__init__()
        self.layer = self.kind(inputs, hidden, layers, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(x)
        return self.fc(y[:, -1])


class LSTM(RNN):
    kind = nn.LSTM


class GRU(RNN):
    kind = nn.GRU


class CharLanguageModel(nn.Module):
    def __init__(self, symbols: int, hidden: int, layers: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(symbols, size)
        self.lstm = nn.LSTM(size, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        y, _ = self.lstm(self.embedding(tokens))
        return self.head(y)


class LanguageModel(CharLanguageModel):
    """Texts [N, L] to the logits [N L, symbols] of each next symbol."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).flatten(0, 1)


class TokenEmbedding(nn.Module):
    def __init__(self, symbols: int, length: int, size: int):
        super().__init__()
        self.symbols, self.positions = nn.Embedding(symbols, size), nn.Embedding(length, size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.symbols(tokens) + self.positions.weight[: tokens.shape[1]]


class Encoder(nn.Module):
    def __init__(self, layers: int, size: int, heads: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, heads, 4 * size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=mask is not None)
        return self.norm(x)


class TransformerClassifier(nn.Module):
    def __init__(
        self, symbols: int, classes: int, length: int, size: int, layers: int, heads: int
    ):
        super().__init__()
        self.embedding = TokenEmbedding(symbols, length, size)
        self.encoder, self.fc = Encoder(layers, size, heads), nn.Linear(size, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc(self.encoder(self.embedding(tokens)).mean(1))


class TransformerLanguageModel(nn.Module):
    def __init__(self, symbols: int, length: int, size: int, layers: int, heads: int):
        super().__init__()
        self.embedding = TokenEmbedding(symbols, length, size)
        self.encoder, self.head = Encoder(layers, size, heads), nn.Linear(size, symbols, bias=False)
        self.head.weight = self.embedding.symbols.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.head(self.encoder(x, mask))


class Generation(TransformerLanguageModel):
    """A symbol [1, 1] at the last position; keys and values of those before it are zeros."""

    def __init__(self, symbols: int, length: int, size: int, layers: int, heads: int):
        super().__init__(symbols, length, size, layers, heads)
        self.head = nn.Linear(size, symbols, bias=False)
        past = torch.zeros(layers, 2, 1, heads, length - 1, size // heads)
        self.register_buffer("past", past, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding.symbols(tokens) + self.embedding.positions.weight[-1]
        for layer, past in zip(self.encoder.layers, self.past, strict=True):
            x = x + self.attended(layer.self_attn, layer.norm1(x), past)
            x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x))))
        return self.head(self.encoder.norm(x))[:, 0]

    @staticmethod
    def attended(attention: nn.MultiheadAttention, x: Tensor, past: Tensor) -> Tensor:
        n, length, size = x.shape
        parts = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = parts.view(n, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, size)
        return attention.out_proj(y)


class Recommendation(nn.Module):
    """Bags of numbers [N, tables, bag] to a score [N, 1]."""

    def __init__(self, rows: int, tables: int, size: int):
        super().__init__()
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(rows, size, mode="sum") for _ in range(tables)
        )
        sizes = [tables * size, 512, 256, 1]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.bags(table, x[:, i]) for i, table in enumerate(self.tables)], 1)
        for layer in self.layers[:-1]:
            y = F.relu(layer(y))
        return self.layers[-1](y)

    @staticmethod
    def bags(table: nn.EmbeddingBag, x: Tensor) -> Tensor:
        """The sums of bags; in files as a lookup and a sum, for runtimes know no bags."""
        if torch.compiler.is_exporting():
            return F.embedding(x, table.weight).sum(1)
        return table(x)


class BertLayer(nn.Module):
    def __init__(self, size: int, heads: int, hidden: int):
        super().__init__()
        attention = {"query": nn.Linear(size, size), "key": nn.Linear(size, size)}
        attention["value"] = nn.Linear(size, size)
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(attention), "output": self.closing(size, size)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, hidden)})
        self.output, self.heads = self.closing(hidden, size), heads

    @staticmethod
    def closing(inputs: int, size: int) -> nn.ModuleDict:
        norm = nn.LayerNorm(size, eps=1e-12)
        return nn.ModuleDict({"dense": nn.Linear(inputs, size), "LayerNorm": norm})

    def forward(self, x: Tensor) -> Tensor:
        parts, (n, length, size) = self.attention["self"], x.shape
        q, k, v = (
            parts[kind](x).view(n, length, self.heads, -1).transpose(1, 2)
            for kind in ("query", "key", "value")
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, size)
        close = self.attention["output"]
        x = close["LayerNorm"](close["dense"](y) + x)
        y = self.output["dense"](F.gelu(self.intermediate["dense"](x)))
        return self.output["LayerNorm"](y + x)


class Bert(nn.Module):
    """Symbols [N, L] to the pooled vector [N, size]."""

    def __init__(self, symbols: int, length: int, size: int, layers: int, heads: int):
        super().__init__()
        kinds = {"word": symbols, "position": length, "token_type": 2}
        embeddings = {f"{k}_embeddings": nn.Embedding(n, size) for k, n in kinds.items()}
        self.embeddings = nn.ModuleDict({**embeddings, "LayerNorm": nn.LayerNorm(size, eps=1e-12)})
        blocks = nn.ModuleList(BertLayer(size, heads, 4 * size) for _ in range(layers))
        self.encoder = nn.ModuleDict({"layer": blocks})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(size, size)})

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.embeddings
        x = parts["word_embeddings"](tokens) + parts["token_type_embeddings"].weight[0]
        x = parts["LayerNorm"](x + parts["position_embeddings"].weight[: tokens.shape[1]])
        for layer in self.encoder["layer"]:
            x = layer(x)
        return torch.tanh(self.pooler["dense"](x[:, 0]))


class VisionLayer(nn.Module):
    def __init__(self, size: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(size, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(size, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(size, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(size, 4 * size), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * size, size)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    def __init__(self, side: int, patch: int, layers: int, heads: int, size: int, classes: int):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, size))
        self.conv_proj = nn.Conv2d(3, size, patch, patch)
        self.encoder = nn.Module()
        places = (side // patch) ** 2 + 1
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, places, size))
        self.encoder.layers = nn.ModuleDict(
            {f"encoder_layer_{i}": VisionLayer(size, heads) for i in range(layers)}
        )
        self.encoder.ln = nn.LayerNorm(size, eps=1e-6)
        self.heads = nn.ModuleDict({"head": nn.Linear(size, classes)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        x = torch.cat([first, x], 1) + self.encoder.pos_embedding
        for layer in self.encoder.layers.values():
            x = layer(x)
        return self.heads["head"](self.encoder.ln(x)[:, 0])
