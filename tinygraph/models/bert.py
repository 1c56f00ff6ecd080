"""BERT, with Hugging Face's names, and the Vision Transformer, with torchvision's."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..graph.op import ShapeError
from ..nn.drawn import drawn

EPS = 1e-12  # of BERT's layer normalizations


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, initial=nn.init.normal(0.02))


class BertEmbeddings(nn.Module):
    """Symbols int32 [N, L] to the sum of vectors of symbol, position and segment (figure 2)."""

    def __init__(self, symbols: int, length: int, size: int, segments: int, dropout: float):
        initial = nn.init.normal(0.02)
        self.word_embeddings = nn.Embedding(symbols, size, initial=initial)
        self.position_embeddings = nn.Embedding(length, size, initial=initial)
        self.token_type_embeddings = nn.Embedding(segments, size, initial=initial)
        self.LayerNorm, self.dropout = nn.LayerNorm(size, eps=EPS), nn.Dropout(dropout)

    def forward(self, tokens: Node, segments: Node | None, training: bool = False) -> Node:
        most = self.position_embeddings.weight.shape[0]
        if tokens.ndim != 2 or tokens.shape[1] > most:
            raise ShapeError(f"BERT requires symbols [N, up to {most}], got {tokens.type}")
        kinds = self.token_type_embeddings
        kind = kinds.weight[0] if segments is None else kinds(segments)
        places = self.position_embeddings.weight[: tokens.shape[1]]
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + places + kind))


class BertSelfAttention(nn.Module):
    """Three projections and attention in ``heads`` parts."""

    def __init__(self, size: int, heads: int, dropout: float):
        self.query, self.key, self.value = (_linear(size, size) for _ in range(3))
        self.heads, self.dropout = heads, nn.Dropout(dropout)

    def forward(self, x: Node, mask: Node | None, training: bool = False) -> Node:
        q, k, v = self.query(x), self.key(x), self.value(x)
        return nn.multi_head_attention(q, k, v, self.heads, mask, dropout=self.dropout)


class BertOutput(nn.Module):
    """A linear layer, dropout, the branch's input added, layer normalization."""

    def __init__(self, inputs: int, size: int, dropout: float):
        self.dense, self.LayerNorm = _linear(inputs, size), nn.LayerNorm(size, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Node, shortcut: Node, training: bool = False) -> Node:
        return self.LayerNorm(self.dropout(self.dense(x)) + shortcut)


class BertLayer(nn.Module):
    """Self-attention, then two linear layers with GELU (Vaswani et al., 2017, section 3.1)."""

    def __init__(self, size: int, heads: int, hidden: int, dropout: float):
        parts = {
            "self": BertSelfAttention(size, heads, dropout),
            "output": BertOutput(size, size, dropout),
        }
        self.attention = nn.Sequential(**parts)
        self.intermediate = nn.Sequential(dense=_linear(size, hidden))
        self.output = BertOutput(hidden, size, dropout)

    def forward(self, x: Node, mask: Node | None, training: bool = False) -> Node:
        attend, output = self.attention[0], self.attention[1]
        x = output(attend(x, mask), x)
        return self.output(ops.gelu(self.intermediate(x)), x)


class BertEncoder(nn.Module):
    """Layers one after the other, with one mask."""

    def __init__(self, layers: list[BertLayer]):
        self.layer = layers

    def forward(self, x: Node, mask: Node | None, training: bool = False) -> Node:
        for layer in self.layer:
            x = layer(x, mask)
        return x


@numeric
class Bert(nn.Module):
    """Symbols int32 [N, L] to vectors [N, L, size] and the first one's pooled, [N, size].

    Devlin et al., NAACL 2019, section 3.

    Args:
        symbols: how many there are.
        length: the most positions.
        size, layers, heads, hidden: of the encoder; hidden is 4 * size by default.
        segments: kinds of segments; a symbol's is 0 by default.
        dropout: of embeddings, attention's weights and each branch.

    Example:
        >>> net = models.Bert(symbols=100, length=16, size=32, layers=2, heads=4)
        >>> vectors, pooled = net(tg.input("symbols", 8, 16, dtype="int32"))
        >>> vectors.shape, pooled.shape
        ((8, 16, 32), (8, 32))
    """

    def __init__(
        self,
        symbols: int = 30522,
        length: int = 512,
        size: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int | None = None,
        segments: int = 2,
        dropout: float = 0.1,
    ):
        self.embeddings = BertEmbeddings(symbols, length, size, segments, dropout)
        self.encoder = BertEncoder(
            [BertLayer(size, heads, hidden or 4 * size, dropout) for _ in range(layers)]
        )
        self.pooler = nn.Sequential(dense=_linear(size, size))

    def forward(
        self,
        tokens: Node,
        mask: Node | None = None,
        segments: Node | None = None,
        training: bool = False,
    ) -> tuple[Node, Node]:
        """``mask`` as in ``nn.MultiHeadAttention``; ``segments`` int32 [N, L]."""
        x = self.encoder(self.embeddings(tokens, segments), mask)
        return x, ops.tanh(self.pooler(x[:, 0]))


class VisionLayer(nn.Module):
    """Attention and a multilayer perceptron, each behind a layer normalization (figure 1)."""

    def __init__(self, size: int, heads: int, hidden: int):
        self.ln_1 = nn.LayerNorm(size, eps=1e-6)
        self.self_attention = nn.MultiHeadAttention(size, heads)
        self.ln_2 = nn.LayerNorm(size, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(size, hidden), nn.GELU(), nn.Dropout(0.0),
            nn.Linear(hidden, size), nn.Dropout(0.0),
        )  # fmt: skip

    def forward(self, x: Node, training: bool = False) -> Node:
        x = x + self.self_attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionEncoder(nn.Module):
    def __init__(self, places: int, layers: int, size: int, heads: int, hidden: int):
        self.pos_embedding = drawn((1, places, size), nn.init.normal(0.02))
        self.layers = nn.Sequential(
            **{f"encoder_layer_{i}": VisionLayer(size, heads, hidden) for i in range(layers)}
        )
        self.ln = nn.LayerNorm(size, eps=1e-6)

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.ln(self.layers(x + self.pos_embedding))


@numeric
class VisionTransformer(nn.Module):
    """Images [N, 3, side, side] to logits (Dosovitskiy et al., ICLR 2021, section 3.1).

    Args:
        side: pixels of a side, a multiple of ``patch``.
        patch: pixels of a patch's side.
        layers, heads, size, hidden: of the encoder; hidden is 4 * size by default.
        classes: how many logits.

    Example:
        >>> net = models.VisionTransformer(side=32, patch=4, layers=2, heads=4, size=64, classes=10)
        >>> net(tg.zeros((8, 3, 32, 32))).shape
        (8, 10)
    """

    def __init__(
        self,
        side: int = 224,
        patch: int = 16,
        layers: int = 12,
        heads: int = 12,
        size: int = 768,
        hidden: int | None = None,
        classes: int = 1000,
    ):
        if side % patch:
            raise ShapeError(f"a side of {side} pixels has no whole patches of {patch}")
        self.class_token = drawn((1, 1, size), nn.init.constant(0))
        self.conv_proj = nn.Conv2d(3, size, patch, stride=patch)
        places = (side // patch) ** 2 + 1
        self.encoder = VisionEncoder(places, layers, size, heads, hidden or 4 * size)
        self.heads = nn.Sequential(head=nn.Linear(size, classes))

    def forward(self, x: Node, training: bool = False) -> Node:
        n, size = x.shape[0], self.class_token.shape[2]
        x = ops.transpose(ops.flatten(self.conv_proj(x), 2), (0, 2, 1))
        first = ops.broadcast_to(self.class_token, (n, 1, size))
        return self.heads(self.encoder(ops.concat([first, x], axis=1))[:, 0])


def bert_base() -> Bert:
    """BERT base: 12 layers of 768 in 12 heads; 109,482,240 parameters.

    Example:
        >>> net = models.bert_base()
    """
    return Bert()


@numeric
def vit_b_16(classes: int = 1000) -> VisionTransformer:
    """ViT-B/16: images [N, 3, 224, 224] to logits; 86,567,656 parameters at 1,000 classes.

    Dosovitskiy et al., ICLR 2021. Names of weights are torchvision's.

    Example:
        >>> net = models.vit_b_16(classes=10)
    """
    return VisionTransformer(classes=classes)
