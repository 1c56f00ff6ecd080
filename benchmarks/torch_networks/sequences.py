"""Recurrent networks and transformers."""

from __future__ import annotations

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
