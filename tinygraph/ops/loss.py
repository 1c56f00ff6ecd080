"""Losses, as functions that build graphs: means over the batch, if they do not say otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..graph.convert import whole
from ..graph.dtype import is_integer
from ..graph.ir import Node
from ..graph.op import ShapeError
from .activation import log_softmax
from .arithmetic import div
from .gather import index_of
from .logic import equal, less, where
from .math import exp
from .reduce import SUM, mean, sum
from .source import axis_index, full
from .view import reshape

__all__ = ("cross_entropy", "l2_penalty", "mse_loss")


def cross_entropy(
    logits: Node,
    labels: Node,
    label_smoothing: float = 0.0,
    *,
    axis: int = 1,
    reduction: str = "mean",
) -> Node:
    """-log softmax(logits)[label], its mean over all labels.

    Args:
        logits: [N, C, ...], C classes along ``axis``; of a text [N, L, C] that is axis -1.
        labels: integers, of the logits' shape without ``axis``. A negative one adds nothing to the
            label's part; one from C on is a mistake, and the loss NaN.
        label_smoothing: s makes the target 1 - s on the label plus s / C on each class, as in
            PyTorch.
        reduction: ``mean``, or ``none`` for the loss of each label, to be weighted or masked.
    """
    if not isinstance(logits, Node):
        raise ShapeError(
            f"cross_entropy requires one node of logits, got {type(logits).__name__}; what a "
            "network with auxiliary classifiers returns is for models.auxiliary_loss"
        )
    if logits.op is div and logits.inputs[0].op is exp and logits.inputs[1].op is SUM:
        raise ShapeError("cross_entropy requires logits, got a softmax of them: it makes its own")
    axis = whole("cross_entropy axis", axis)
    axis = axis + logits.ndim if axis < 0 else axis
    rest = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if logits.ndim < 2 or not 0 <= axis < logits.ndim or labels.shape != rest:
        raise ShapeError(
            "cross_entropy requires logits[N, C, ...] and labels[N, ...], "
            f"got {logits.type} and {labels.type}, classes along axis {axis}"
        )
    if not is_integer(labels.dtype):
        raise ShapeError(f"cross_entropy requires integer labels, got {labels.type}")
    labels = index_of("cross_entropy", labels)
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction is 'mean' or 'none', got {reduction!r}")
    logp = log_softmax(logits, axis=axis)
    classes = tuple(n if i == axis else 1 for i, n in enumerate(logits.shape))
    column = reshape(labels, (*logits.shape[:axis], 1, *logits.shape[axis + 1 :]))
    beyond = where(less(column, logits.shape[axis]), 0.0, full((), math.nan, logits.dtype))
    chosen = where(equal(column, axis_index(classes, axis, labels.dtype)), logp, beyond)
    if reduction == "none":
        loss, smooth = -sum(chosen, axis), mean(logp, axis) if label_smoothing else None
    else:
        loss, smooth = -sum(chosen) / labels.type.size, mean(logp) if label_smoothing else None
    return loss if smooth is None else loss * (1 - label_smoothing) - smooth * label_smoothing


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
