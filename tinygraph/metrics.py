"""Metrics as functions on NumPy arrays: (predictions, targets) -> a number.

    metrics.accuracy(predict(images)[0], labels)

Classes are predicted by scores [..., classes], such as logits or probabilities, or by their numbers
[...]; targets are numbers of classes [...]. ``train.fit`` takes these functions, and any other of
this form, in its ``metrics``. A result that is a ``Share`` is shown in percent, all others as
they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import hints
from .graph.numeric import numeric

__all__ = [
    "Share",
    "accuracy",
    "confusion_matrix",
    "f1_score",
    "mean_absolute_error",
    "perplexity",
    "r2_score",
    "roc_auc",
    "top_k_accuracy",
]


class Share(float):
    """A part of a whole, from 0 to 1: a float, which progress and histories show in percent.

    Args:
        x: the number.

    Example:
        >>> metrics.Share(0.5) + 0.25
        0.75
    """


def accuracy(predictions: Any, labels: Any) -> Share:
    """The share of examples whose label is predicted; of equal scores the first class counts.

    Args:
        predictions: scores [..., classes], or predicted classes, bool or integer [...].
        labels: classes [...].

    Raises:
        ValueError: shapes that do not fit, NaN among the scores, labels that are no class, or no
            example.

    Example:
        >>> metrics.accuracy([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [1, 0, 0])
        0.6666666666666666
    """
    predicted, labels, _ = _classes("accuracy", predictions, labels)
    return Share(np.mean(predicted == labels))


@numeric
def top_k_accuracy(scores: Any, labels: Any, k: int = 5) -> Share:
    """The share of examples whose label is among the k highest scores; of equal ones the first.

    Args:
        scores: [..., classes].
        labels: classes [...].
        k: from 1 to the number of classes.

    Raises:
        ValueError: as ``accuracy`` does, or a k out of its range.

    Example:
        >>> metrics.top_k_accuracy([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [1, 2], k=2)
        0.5
    """
    scores, labels = _scored("top_k_accuracy", scores, labels)
    classes = scores.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy requires 1 <= k <= {classes} classes, got {k}")
    own = np.take_along_axis(scores, labels[..., None], axis=-1)
    earlier = np.arange(classes) < labels[..., None]
    ahead = np.sum((scores > own) | ((scores == own) & earlier), axis=-1)
    return Share(np.mean(ahead < k))


def f1_score(predictions: Any, labels: Any, average: str = "macro") -> float:
    """F1, 2 true positives / (2 true positives + false positives + false negatives).

    Args:
        predictions: scores [..., classes], or predicted classes [...].
        labels: classes [...].
        average: ``macro``, the mean over the classes that occur among labels or predictions;
            ``micro``, of all examples together, which is the accuracy; ``binary``, of class 1,
            where there are the classes 0 and 1; it is 0 if class 1 does not occur.

    Raises:
        ValueError: as ``accuracy`` does, no such average, or more classes than ``binary`` takes.

    Example:
        >>> metrics.f1_score([1, 1, 0, 0], [1, 0, 0, 0], average="binary")
        0.6666666666666666
    """
    if average not in ("macro", "micro", "binary"):
        raise ValueError(f"average is 'macro', 'micro' or 'binary', got {average!r}")
    predicted, labels, classes = _classes("f1_score", predictions, labels)
    counts = _counted(predicted, labels, classes)
    right = counts.diagonal()
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)  # 2 TP + FP + FN
    if average == "micro":
        return float(2 * right.sum() / occurrences.sum())
    if average == "binary":
        if classes > 2:
            raise ValueError(f"average='binary' requires classes 0 and 1, got {classes} classes")
        occurs = classes == 2 and occurrences[1]
        return float(2 * right[1] / occurrences[1]) if occurs else 0.0
    known = occurrences > 0
    return float(np.mean(2 * right[known] / occurrences[known]))


def roc_auc(scores: Any, labels: Any) -> float:
    """The area under the ROC curve: how often an example of class 1 scores above one of class 0.

    Pairs of equal scores count by half (Hanley and McNeil, Radiology 143, 1982).

    Args:
        scores: of class 1, [n]; probabilities, logits, or anything that orders the examples.
        labels: 0 or 1, or bool, [n]; both must occur.

    Raises:
        ValueError: shapes that do not fit, NaN among the scores, or only one class.

    Example:
        >>> metrics.roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f"roc_auc requires scores [n] of class 1 and labels [n], got {list(scores.shape)} and "
            f"{list(labels.shape)}"
        )
    if np.isnan(scores).any():
        raise ValueError("roc_auc: there is NaN among the scores")
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        raise ValueError(f"roc_auc requires labels 0 and 1, both, got {np.unique(labels)[:5]}")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # the mean one among equal scores
    positive = labels.astype(bool)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def mean_absolute_error(predictions: Any, targets: Any) -> float:
    """The mean of |prediction - target| over all elements, in the unit of the targets.

    Args:
        predictions, targets: of one shape; nothing is broadcast.

    Raises:
        ValueError: two shapes, or no element.

    Example:
        >>> metrics.mean_absolute_error([1.0, 2.0], [1.5, 2.0])
        0.25
    """
    predictions, targets = _alike("mean_absolute_error", predictions, targets)
    return float(np.mean(np.abs(predictions - targets)))


def r2_score(predictions: Any, targets: Any) -> float:
    """R2, 1 - squared errors / squared deviations of the targets from their mean.

    1 is right everywhere, 0 as good as the mean of the targets; it may be negative.

    Args:
        predictions, targets: [n] or [n, outputs], of one shape; the mean over the outputs.

    Raises:
        ValueError: two shapes, or targets of an output that are all alike.

    Example:
        >>> metrics.r2_score([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
        0.9486081370449679
    """
    predictions, targets = _alike("r2_score", predictions, targets)
    spread = np.sum((targets - targets.mean(axis=0)) ** 2, axis=0)
    if not np.all(spread > 0):
        raise ValueError("r2_score requires targets that differ; a constant has no deviations")
    return float(np.mean(1 - np.sum((predictions - targets) ** 2, axis=0) / spread))


def perplexity(logits: Any, labels: Any) -> float:
    """exp of the mean cross entropy: between how many classes the model hesitates.

    Args:
        logits: [..., classes], not normalized.
        labels: classes [...].

    Raises:
        ValueError: as ``accuracy`` does.

    Example:
        >>> round(metrics.perplexity(np.zeros((3, 10)), [1, 2, 3]), 9)
        10.0
    """
    scores, labels = _scored("perplexity", logits, labels)
    scores = scores.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    own = np.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    mean = np.mean(np.log(np.exp(scores).sum(axis=-1)) - own)
    with np.errstate(over="ignore"):  # it may be infinite
        return float(np.exp(mean))


@numeric
def confusion_matrix(predictions: Any, labels: Any, classes: int | None = None) -> np.ndarray:
    """Counts of examples, int64 [classes, classes]: rows are true classes, columns predicted ones.

    ``pictures.confusion_matrix`` draws it.

    Args:
        predictions: scores [..., classes], or predicted classes [...].
        labels: classes [...]; there may be none.
        classes: their number, by default that of the scores, or up to the greatest class.

    Raises:
        ValueError: as ``accuracy`` does, except for no example.

    Example:
        >>> metrics.confusion_matrix([0, 1, 1], [0, 1, 0])
        array([[1, 1],
               [0, 1]])
    """
    name = "confusion_matrix"
    predicted, labels, found = _classes(name, predictions, labels, classes, empty=True)
    return _counted(predicted, labels, found)


def _counted(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    places = labels.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def _classes(
    name: str, predictions: Any, labels: Any, classes: int | None = None, empty: bool = False
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted classes, labels, and the number of classes."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape:
        scores, labels = _scored(name, predictions, labels, empty)
        return scores.argmax(axis=-1), labels, classes or scores.shape[-1]
    if predictions.dtype.kind not in "biu" and predictions.size:
        raise ValueError(
            f"{name}: predictions {predictions.dtype}{list(predictions.shape)} are no classes, "
            "which are integers or bool; compare scores with a threshold, or give those of all "
            "classes, one more axis than the labels"
        )
    _require_examples(name, labels, empty)
    both = [x.astype(np.int64) for x in (predictions, labels)]
    found = classes or 1 + max((int(x.max()) for x in both if x.size), default=-1)
    for x in both:
        _require_classes(name, x, found)
    return both[0], both[1], found


def _scored(
    name: str, scores: Any, labels: Any, empty: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [..., classes] and labels [...] that are classes of theirs."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim == 0 or scores.shape[:-1] != labels.shape or scores.shape[-1] == 0:
        raise ValueError(
            f"{name} requires scores [..., classes] and labels [...], got {list(scores.shape)} "
            f"and {list(labels.shape)}"
        )
    _require_examples(name, labels, empty)
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        raise ValueError(f"{name}: there is NaN among the scores")
    _require_classes(name, labels, scores.shape[-1])
    return scores, labels.astype(np.int64)


def _require_examples(name: str, labels: np.ndarray, empty: bool) -> None:
    if labels.size == 0 and not empty:
        raise ValueError(f"{name} of no example is not defined")
    if labels.dtype.kind not in "biu" and labels.size:
        raise ValueError(f"{name} requires integer labels, got {labels.dtype}{list(labels.shape)}")


def _require_classes(name: str, labels: np.ndarray, classes: int) -> None:
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{name}: of {classes} classes, labels are 0 to {classes - 1}; got "
            f"{labels.min()} to {labels.max()}"
        )


def _alike(name: str, predictions: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    predictions, targets = (np.asarray(x, np.float64) for x in (predictions, targets))
    if predictions.shape != targets.shape or not targets.size:
        raise ValueError(
            f"{name} requires predictions and targets of one shape, with an element, got "
            f"{list(predictions.shape)} and {list(targets.shape)}"
        )
    return predictions, targets


if not TYPE_CHECKING:

    def __getattr__(name):
        hints.missing("metrics", name, hints.METRICS, __all__)
