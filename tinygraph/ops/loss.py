"""Losses, as functions that build graphs: means over the batch, if they do not say otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Node
from ..op import ShapeError
from .activation import log_softmax
from .logic import equal, where
from .reduce import mean, sum
from .source import axis_index
from .view import reshape


def cross_entropy(logits: Node, labels: Node, label_smoothing: float = 0.0) -> Node:
    """The mean of -log softmax(logits)[label]: logits[N, C, ...], integer labels[N, ...].

    With ``label_smoothing`` s the target is 1 - s on the label plus s / C on each class, as in
    PyTorch. A label outside of 0 to C - 1 adds nothing to the label's part.
    """
    if logits.ndim < 2 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        got = f"{logits.type} and {labels.type}"
        raise ShapeError(f"cross_entropy requires logits[N, C, ...] and labels[N, ...], got {got}")
    if labels.dtype not in ("int32", "int64", "uint8"):
        raise ShapeError(f"cross_entropy requires integer labels, got {labels.type}")
    logp = log_softmax(logits, axis=1)
    classes = (1, logits.shape[1]) + (1,) * (logits.ndim - 2)
    column = reshape(labels, (labels.shape[0], 1, *labels.shape[1:]))
    chosen = where(equal(column, axis_index(classes, 1, labels.dtype)), logp, 0)
    loss = -sum(chosen) / labels.type.size
    if not label_smoothing:
        return loss
    return loss * (1 - label_smoothing) - mean(logp) * label_smoothing


def mse_loss(prediction: Node, target: Node) -> Node:
    """The mean squared difference of two nodes of one shape."""
    if prediction.shape != target.shape:
        raise ShapeError(f"mse_loss requires equal shapes, got {prediction.type} and {target.type}")
    difference = prediction - target
    return mean(difference * difference)


def l2_penalty(parameters: Iterable[Node], weight: float = 1.0) -> Node:
    """weight * the sum of all squares: its gradient is 2 * weight * parameter."""
    squares = [sum(p * p) for p in parameters]
    if not squares:
        raise ShapeError("l2_penalty requires at least one parameter, got none")
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    return total * weight
