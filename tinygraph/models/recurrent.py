"""Recurrent networks: sequences to classes, and characters to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..graph.ir import Node
from ..graph.numeric import numeric


@numeric
class SequenceClassifier(nn.Module):
    """Sequences [N, L, inputs] to logits [N, classes], by the last step of a recurrent layer.

    Args:
        layer: which takes [N, L, inputs].
        classes: how many logits.

    Example:
        >>> net = models.SequenceClassifier(nn.LSTM(16, 32, batch_first=True), 5)
        >>> net(tg.zeros((8, 10, 16))).shape
        (8, 5)
    """

    def __init__(self, layer: nn.RNN | nn.LSTM, classes: int):
        self.layer = layer
        self.fc = nn.Linear(layer.sizes[1], classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        y, _ = self.layer(x)
        return self.fc(y[:, -1])


@numeric
def rnn(inputs: int, hidden: int, classes: int, **options: Any) -> SequenceClassifier:
    """Sequences [N, L, inputs] to logits [N, classes] by ``nn.RNN``, with its options.

    Args:
        inputs, hidden: of the layer.
        classes: how many logits.

    Example:
        >>> models.rnn(28, 64, 10)(tg.zeros((8, 28, 28))).shape
        (8, 10)
    """
    return SequenceClassifier(nn.RNN(inputs, hidden, batch_first=True, **options), classes)


@numeric
def lstm(inputs: int, hidden: int, classes: int, **options: Any) -> SequenceClassifier:
    """Sequences [N, L, inputs] to logits [N, classes] by ``nn.LSTM``, with its options.

    Args:
        inputs, hidden: of the layer.
        classes: how many logits.

    Example:
        >>> models.lstm(28, 64, 10)(tg.zeros((8, 28, 28))).shape
        (8, 10)
    """
    return SequenceClassifier(nn.LSTM(inputs, hidden, batch_first=True, **options), classes)


@numeric
class CharLanguageModel(nn.Module):
    """Symbols int32 [N, L] to the logits [N, L, symbols] of each next one, and the state it leaves.

    A call takes the state (h, c), each [layers, N, hidden], that a call for the text before left;
    zeros by default.

    Args:
        symbols: in the alphabet.
        hidden, layers: of the LSTM.
        size: of a symbol's embedding.

    Example:
        >>> logits, state = models.CharLanguageModel(62)(tg.input("text", 8, 50, dtype="int32"))
        >>> logits.shape
        (8, 50, 62)
    """

    def __init__(self, symbols: int, hidden: int = 256, layers: int = 1, size: int = 64):
        self.embedding = nn.Embedding(symbols, size)
        self.lstm = nn.LSTM(size, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, symbols)

    def forward(
        self, tokens: Node, state: Sequence[Node] | None = None, training: bool = False
    ) -> tuple[Node, tuple[Node, Node]]:
        y, left = self.lstm(self.embedding(tokens), state)
        return self.head(y), left
