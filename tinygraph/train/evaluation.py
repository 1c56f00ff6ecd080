"""How well a network does: numbers of a validation, and what a classifier takes for what."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import pictures
from ..compiler.program import Program
from ..data import Batches
from ..data.feed import arrays_of, called, epoch_of
from ..graph.size import Size
from ..metrics import Share, confusion_matrix

MANY = 500  # examples at a time for a program that takes any number
Metric = Callable[[Any, Any], float]
Metrics = Sequence[Metric] | Mapping[str, Metric]


def validate(
    program: Callable[..., Sequence[Any]], data: Any, metrics: Metrics = ()
) -> dict[str, float]:
    """The mean loss of a program over data, and metrics of its predictions.

        check = tg.compile([x, y], [loss, logits])        # without updates
        validate(check, (images, labels), [metrics.accuracy])

    Args:
        program: from the arrays of a batch to a loss, a number, and predictions [n, ...]; each may
            be missing. One that takes fewer arrays than a batch has, such as [images] -> [logits],
            gets the first ones.
        data: a tuple of arrays, which are cut into batches; or whatever ``fit`` takes as data.
        metrics: functions (predictions, targets) -> number, named by themselves or by a dict;
            they get those of all examples at once. Targets are the last array of a batch.

    Returns:
        ``loss``, the mean over all examples, if there is one, and each metric by its name.

    Raises:
        ValueError: no batch, arrays that a program of one batch size cannot take, or metrics of a
            program without predictions.

    Example:
        >>> train.validate(lambda x, y: [np.mean((x - y) ** 2)], (np.ones(3), np.zeros(3)))
        {'loss': 1.0}
    """
    batches = _examples(program, data) if _is_arrays(data) else epoch_of(data, 0)
    count = len(program.graph.inputs) if isinstance(program, Program) else None
    total, examples = 0.0, 0
    predictions: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for batch in batches:
        arrays = arrays_of(batch)
        few = batch if count is None or count >= len(arrays) else tuple(arrays[:count])
        outputs = [np.asarray(out) for out in called(program, few)]
        n = len(arrays[0])
        total += float(outputs[0]) * n if outputs[0].ndim == 0 else 0.0
        examples += n
        if metrics:
            predictions += [out for out in outputs if out.ndim][:1]
            targets.append(np.asarray(arrays[-1]))
    if not examples:
        raise ValueError("validation requires data with at least one batch")
    values = {"loss": total / examples} if outputs[0].ndim == 0 else {}
    if metrics:
        if not predictions:
            raise ValueError(
                "metrics compare predictions with targets, but the program returns numbers only: "
                "compile it with the predictions after the loss, [loss, logits]"
            )
        predicted, known = np.concatenate(predictions), np.concatenate(targets)
        named = metrics if isinstance(metrics, Mapping) else {_name(m): m for m in metrics}
        values |= {name: metric(predicted, known) for name, metric in named.items()}
    return values


def _name(metric: Any) -> str:
    while isinstance(metric, functools.partial):
        metric = metric.func
    return getattr(metric, "__name__", type(metric).__name__)


def _is_arrays(data: Any) -> bool:
    return isinstance(data, tuple) and all(isinstance(a, np.ndarray) for a in data)


def _examples(program: Any, arrays: tuple[np.ndarray, ...]) -> Iterable[Any]:
    """The batches of arrays, each example once."""
    size = _batch_size(program)
    if size is not None and len(arrays[0]) % size:
        raise ValueError(
            f"{len(arrays[0]):,} examples are no multiple of {program.graph.name}'s batch size, "
            f"{size}, and each is to count once: leave its batch open, tg.input('x', None, ...)"
        )
    return Batches(*arrays, batch_size=size or MANY, shuffle=False, last="keep")


def _batch_size(program: Any) -> int | None:
    """The one that the program takes, if it does not take any."""
    if not isinstance(program, Program):
        return None
    size = program.graph.inputs[0].shape[0]
    return None if isinstance(size, Size) else size


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How examples were classified.

    Attributes:
        confusion: counts, int64 [true class, predicted class].
        predicted: the class of each example, int64 [n], where it is known.

    Example:
        >>> found = train.Evaluation(np.array([[8, 2], [1, 9]]))
        >>> found.accuracy, found.per_class.tolist()
        (0.85, [0.8, 0.9])
        >>> found
        85.00% of 20 right; rows are true classes, columns predicted ones
               0  1
            0  8  2   80.0%
            1  1  9   90.0%
    """

    confusion: np.ndarray
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def accuracy(self) -> Share:
        """The share of all examples that is right."""
        return Share(self.confusion.trace() / self.confusion.sum())

    @property
    def per_class(self) -> np.ndarray:
        """The part of each class that is right, float64 [classes]; NaN without an example."""
        count = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return self.confusion.diagonal() / count

    def save_svg(
        self, path: str | os.PathLike[str], names: Sequence[str] | None = None, title: str = ""
    ) -> Path:
        """Draws the confusion matrix and returns the file's path.

        Args:
            path: a file ending in .svg.
            names: of the classes; by default their numbers.
            title: a line above it.

        Raises:
            ValueError: the path does not end in .svg.

        Example:
            >>> found = train.Evaluation(np.array([[8, 2], [1, 9]]))
            >>> found.save_svg("confusion.svg", ["cat", "dog"]).name
            'confusion.svg'
        """
        return pictures.save(path, pictures.confusion_matrix(self.confusion, names, title))

    def __repr__(self) -> str:
        total, width = int(self.confusion.sum()), len(str(int(self.confusion.max(initial=1)))) + 2
        head = "".join(f"{k:{width}}" for k in range(len(self.confusion)))
        rows = [
            f"{k:5}" + "".join(f"{n:{width}}" for n in row) + _percent(part)
            for k, (row, part) in enumerate(zip(self.confusion, self.per_class, strict=True))
        ]
        right = f"{self.accuracy:.2%} of {total:,} right" if total else "no example"
        what = "rows are true classes, columns predicted ones"
        return "\n".join([f"{right}; {what}", " " * 5 + head, *rows])

    def _repr_html_(self) -> str:
        return pictures.confusion_matrix(self.confusion)


def _percent(part: float) -> str:
    return "" if np.isnan(part) else f"  {part:6.1%}"


def classify(predict: Program, images: np.ndarray) -> np.ndarray:
    """The most likely classes int64 [n] of examples [n, ...], by a program: [batch, ...] -> scores.

    Args:
        predict: its batch size need not divide n.
        images: the examples.

    Example:
        >>> x = tg.input("x", 2, 3)
        >>> train.classify(tg.compile([x], [x]), np.eye(3, dtype="float32"))
        array([0, 1, 2])
    """
    size = _batch_size(predict)
    batches = Batches(
        images,
        batch_size=size or MANY,
        shuffle=False,
        last="pad" if size else "keep",
    )
    found = [predict(batch)[0].argmax(axis=1) for (batch,) in batches]
    return np.concatenate(found)[: len(images)]


def evaluate(predict: Program, images: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Classifies examples [n, ...] of known classes [n] with a program: [batch, ...] -> scores.

    Args:
        predict: its batch size need not divide n.
        images: the examples.
        labels: integers.

    Raises:
        ValueError: a label is no class of the program's, or not one for each example.

    Example:
        >>> x = tg.input("x", 2, 3)
        >>> predict = tg.compile([x], [x])
        >>> train.evaluate(predict, np.eye(3, dtype="float32"), [0, 1, 1]).accuracy
        0.6666666666666666
    """
    classes, labels = predict.types[0].shape[1], np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"evaluate requires an integer label for each of {len(images)} examples, got "
            f"{labels.dtype}{list(labels.shape)}"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{predict.graph.name} gives scores of {classes} classes, so labels are 0 to "
            f"{classes - 1}; got {labels.min()} to {labels.max()}"
        )
    predicted = classify(predict, images)
    return Evaluation(confusion_matrix(predicted, labels, classes), predicted)
