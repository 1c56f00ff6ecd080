"""Losses over classes, squares, and what all losses share: means, if they do not say otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..graph.convert import whole
from ..graph.dtype import is_float, is_integer
from ..graph.ir import Node
from ..graph.op import ShapeError, constant, promote
from .activation import log_softmax
from .arithmetic import div
from .gather import index_of
from .logic import equal, less, not_equal, where
from .math import exp
from .reduce import SUM, mean, sum
from .source import axis_index, full
from .view import reshape

__all__ = ("cross_entropy", "l2_penalty", "mse_loss", "nll_loss")


REDUCTIONS = ("mean", "sum", "none")


def reduced(name: str, loss: Node, reduction: str, total: Any = None) -> Node:
    """A loss's parts as their mean (their sum over ``total``, if given), as their sum, or alone."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name} requires reduction of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    return mean(loss) if total is None else div(sum(loss), total)


def alike(name: str, a: Any, b: Any) -> tuple[Node, Node]:
    """Two nodes of one shape: that they broadcast is more often a mistake than meant."""
    a, b = promote(name, (a, b))
    if a.shape != b.shape:
        raise ShapeError(f"{name} requires equal shapes, got {a.type} and {b.type}")
    return a, b


def cross_entropy(
    logits: Node,
    labels: Node,
    label_smoothing: float = 0.0,
    *,
    axis: int = 1,
    reduction: str = "mean",
    ignore_index: int | None = None,
    weight: Any = None,
) -> Node:
    """-log softmax(logits)[label], its mean over all labels.

    Args:
        logits: [N, C, ...], C classes along ``axis``; of a text [N, L, C] that is axis -1.
        labels: integers, of the logits' shape without ``axis``. A negative one adds nothing to the
            label's part; one from C on is a mistake, and the loss NaN. Or floats of the logits'
            shape: a probability for each class, as mixup and distillation have them.
        label_smoothing: s makes the target 1 - s on the label plus s / C on each class, as in
            PyTorch.
        reduction: ``mean``, ``sum``, or ``none`` for the loss of each label, to be weighted or
            masked.
        ignore_index: labels of this value add nothing and do not count in the mean.
        weight: [C], what a label of each class counts; the mean is a weighted one, as in PyTorch.

    Raises:
        ShapeError: shapes or dtypes do not fit, or the logits are a softmax's result.

    Example:
        >>> import tinygraph as tg
        >>> loss = tg.cross_entropy(tg.constant([[2.0, 0.0]]), tg.constant([0], "int32"))
        >>> round(float(tg.run(loss)), 4)
        0.1269
    """
    axis = _checked("cross_entropy", logits, labels, axis)
    if not isinstance(labels, Node):
        (labels,) = promote("cross_entropy", (labels,))
    logp = log_softmax(logits, axis=axis)
    options = {"ignore_index": ignore_index, "weight": weight}
    if not is_integer(labels.dtype):
        if ignore_index is not None:
            raise ShapeError("cross_entropy requires integer labels for ignore_index")
        return _soft(logp, labels, label_smoothing, axis, reduction, weight)
    return _picked("cross_entropy", logp, labels, label_smoothing, axis, reduction, **options)


def nll_loss(
    logp: Node,
    labels: Node,
    *,
    axis: int = 1,
    reduction: str = "mean",
    ignore_index: int | None = None,
    weight: Any = None,
) -> Node:
    """-logp[label], its mean over all labels: ``cross_entropy`` of what is a log_softmax already.

    Args:
        logp: logarithms of probabilities, [N, C, ...], C classes along ``axis``.
        labels, axis, reduction, ignore_index, weight: see ``cross_entropy``.

    Example:
        >>> logp = tg.log(tg.constant([[0.25, 0.75]]))
        >>> round(float(tg.run(tg.nll_loss(logp, tg.constant([1], "int32")))), 4)
        0.2877
    """
    axis = _checked("nll_loss", logp, labels, axis)
    options = {"ignore_index": ignore_index, "weight": weight}
    return _picked("nll_loss", logp, labels, 0.0, axis, reduction, **options)


def _checked(name: str, logits: Any, labels: Any, axis: int) -> int:
    """The axis of the classes, counted from the front, if labels fit the logits."""
    if not isinstance(logits, Node):
        raise ShapeError(
            f"{name} requires one node of logits, got {type(logits).__name__}; what a "
            "network with auxiliary classifiers returns is for models.auxiliary_loss"
        )
    if logits.op is div and logits.inputs[0].op is exp and logits.inputs[1].op is SUM:
        raise ShapeError(f"{name} requires logits, got a softmax of them: it makes its own")
    axis = whole(f"{name} axis", axis)
    axis = axis + logits.ndim if axis < 0 else axis
    (labels,) = promote(name, (labels,))
    rest = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    soft = name == "cross_entropy" and is_float(labels.dtype) and labels.shape == logits.shape
    if logits.ndim < 2 or not 0 <= axis < logits.ndim or not (soft or labels.shape == rest):
        raise ShapeError(
            f"{name} requires logits[N, C, ...] and labels[N, ...], "
            f"got {logits.type} and {labels.type}, classes along axis {axis}"
        )
    if not soft and not is_integer(labels.dtype):
        raise ShapeError(f"{name} requires integer labels, got {labels.type}")
    return axis


def _picked(
    name: str,
    logp: Node,
    labels: Node,
    smoothing: float,
    axis: int,
    reduction: str,
    ignore_index: int | None,
    weight: Any,
) -> Node:
    """The loss of integer labels from the logarithms of probabilities."""
    (labels,) = promote(name, (labels,))
    labels = index_of(name, labels)
    counted = None if ignore_index is None else not_equal(labels, ignore_index)
    labels = labels if counted is None else where(counted, labels, -1)
    classes = tuple(n if i == axis else 1 for i, n in enumerate(logp.shape))
    column = reshape(labels, (*logp.shape[:axis], 1, *logp.shape[axis + 1 :]))
    hit = equal(column, axis_index(classes, axis, labels.dtype))
    count: Any = labels.type.size
    if weight is not None:
        row = _class_weights(name, weight, logp, classes)
        count = sum(where(hit, row, 0), axis)
        logp = logp * row
    if counted is not None:
        one = count if weight is not None else full((), 1, logp.dtype)
        count = where(counted, one, 0)
        logp = where(reshape(counted, column.shape), logp, 0)
    beyond = where(less(column, logp.shape[axis]), 0.0, full((), math.nan, logp.dtype))
    chosen = where(hit, logp, beyond)
    count = sum(count) if isinstance(count, Node) else count
    if reduction == "mean" and weight is None and counted is None:  # one sum, over all axes
        loss, smooth = -sum(chosen) / count, mean(logp) if smoothing else None
        return loss if smooth is None else loss * (1 - smoothing) - smooth * smoothing
    loss = -sum(chosen, axis)
    if smoothing:
        loss = loss * (1 - smoothing) - mean(logp, axis) * smoothing
    return reduced(name, loss, reduction, count)


def _soft(
    logp: Node, targets: Node, smoothing: float, axis: int, reduction: str, weight: Any
) -> Node:
    """The loss of probabilities as labels."""
    classes = tuple(n if i == axis else 1 for i, n in enumerate(logp.shape))
    if smoothing:
        targets = targets * (1 - smoothing) + div(smoothing, logp.shape[axis])
    if weight is not None:
        logp = logp * _class_weights("cross_entropy", weight, logp, classes)
    return reduced("cross_entropy", -sum(targets * logp, axis), reduction)


def _class_weights(name: str, weight: Any, logp: Node, classes: tuple[int, ...]) -> Node:
    if not isinstance(weight, Node):
        weight = constant(weight, logp.dtype)
    if weight.type.size != math.prod(classes) or weight.ndim != 1:
        raise ShapeError(f"{name} requires a weight for each class of {logp.type}, got {weight}")
    return reshape(weight, classes)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """The squared difference of two nodes of one shape: its mean, its sum, or each.

    Args:
        prediction, target: floats of one shape.
        reduction: ``mean``, ``sum`` or ``none``; all losses take it.

    Example:
        >>> tg.run(tg.mse_loss(tg.constant([1.0, 2.0]), tg.constant([1.0, 4.0])))
        array(2., dtype=float32)
    """
    prediction, target = alike("mse_loss", prediction, target)
    difference = prediction - target
    return reduced("mse_loss", difference * difference, reduction)


def l2_penalty(parameters: Iterable[Node], weight: float = 1.0) -> Node:
    """weight * the sum of all squares: its gradient is 2 * weight * parameter.

    Args:
        parameters: floats of one dtype.

    Raises:
        ShapeError: there are none.

    Example:
        >>> tg.run(tg.l2_penalty([tg.constant([3.0, 4.0])], 0.5))
        array(12.5, dtype=float32)
    """
    squares = [sum(p * p) for p in parameters]
    if not squares:
        raise ShapeError("l2_penalty requires at least one parameter, got none")
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    return total * weight
