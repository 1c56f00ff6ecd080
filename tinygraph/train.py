"""A training loop with live progress, and how well a classifier does.

The loop takes any callable from a batch's arrays to (loss, ...), usually a program compiled with
updates; ``Batches`` decides what it sees and in which order.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np

from .compiler.program import Program
from .data import Batches
from .graph.size import Size

MANY = 500  # examples at a time for a program that takes any number
Step = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch: its mean loss, a score if one was asked for, and seconds."""

    number: int
    loss: float
    score: float | None
    seconds: float

    def __str__(self) -> str:
        score = "" if self.score is None else f"  score {self.score:.2%}"
        return f"loss {self.loss:.4f}{score}  {self.seconds:.1f} s"


def fit(
    step: Step,
    batches: Batches,
    epochs: int,
    *,
    first: int = 0,
    score: Callable[[], float] | None = None,
    show: bool = True,
) -> list[Epoch]:
    """Runs ``step`` on the batches of epochs ``first`` to ``epochs - 1``.

    Args:
        step: takes the arrays of a batch, returns the loss first; all else is its own affair.
        first: the epoch to continue with after a checkpoint, with the batches of an unbroken run.
        score: called after each epoch, such as an accuracy in 0..1 on examples kept apart.
        show: live progress on a terminal, a line for each epoch elsewhere.

    Raises:
        FloatingPointError: the loss is infinite or NaN; says where.
    """
    history = []
    with _display(epochs, len(batches), show) as display:
        for number in range(first, epochs):
            start, total = time.perf_counter(), 0.0
            for i, batch in enumerate(batches.epoch(number)):
                loss = float(step(*batch)[0])
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss is {loss} at epoch {number}, batch {i}; "
                        "compile with check_nan=True to see which node began it"
                    )
                total += loss
                display.batch(number, i, loss)
            result = score() if score is not None else None
            seconds = time.perf_counter() - start
            history.append(Epoch(number, total / len(batches), result, seconds))
            display.epoch(history[-1])
    return history


# ------------------------------------------------------------------ progress


class Display(Protocol):
    def batch(self, epoch: int, number: int, loss: float) -> None:
        """A step is done."""

    def epoch(self, result: Epoch) -> None:
        """An epoch is done."""


@dataclass
class _Lines:
    """A line for each epoch; none if there is no file."""

    epochs: int
    file: TextIO | None

    def batch(self, epoch: int, number: int, loss: float) -> None:
        pass

    def epoch(self, result: Epoch) -> None:
        if self.file is not None:
            place = f"epoch {result.number + 1:{len(str(self.epochs))}}/{self.epochs}"
            print(f"{place}  {result}", file=self.file, flush=True)


class _Bar:
    """One bar of the library rich over all steps."""

    def __init__(self, progress: Any, epochs: int, batches: int):
        self.progress, self.epochs, self.batches = progress, epochs, batches
        self.task = progress.add_task("", total=epochs * batches)

    def batch(self, epoch: int, number: int, loss: float) -> None:
        done = epoch * self.batches + number + 1
        self.progress.update(self.task, completed=done)

    def epoch(self, result: Epoch) -> None:
        text = f"epoch {result.number + 1}/{self.epochs}  {result}"
        self.progress.update(self.task, description=text)


@contextmanager
def _display(epochs: int, batches: int, show: bool) -> Iterator[Display]:
    if not (show and sys.stdout.isatty() and importlib.util.find_spec("rich")):
        yield _Lines(epochs, sys.stdout if show else None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}")
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), text) as progress:
        yield _Bar(progress, epochs, batches)


# ------------------------------------------------------------------ classifiers


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How examples were classified: ``confusion`` counts int64 [true class, predicted class]."""

    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """The part of all examples that is right."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def per_class(self) -> np.ndarray:
        """The part of each class that is right, float64 [classes]; NaN without an example."""
        count = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return self.confusion.diagonal() / count


def classify(predict: Program, images: np.ndarray) -> np.ndarray:
    """The most likely classes int64 [n] of examples [n, ...], by a program: [batch, ...] -> scores.

    The program's batch size need not divide n.
    """
    size = predict.graph.inputs[0].shape[0]
    fixed = not isinstance(size, Size)  # a size that is bound at the call takes any
    batches = Batches(
        images,
        batch_size=size if fixed else MANY,
        shuffle=False,
        last="pad" if fixed else "keep",
    )
    found = [predict(batch)[0].argmax(axis=1) for (batch,) in batches]
    return np.concatenate(found)[: len(images)]


def evaluate(predict: Program, images: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Classifies examples [n, ...] of known classes [n] with a program: [batch, ...] -> scores.

    Raises:
        ValueError: a label is no class of the program's.
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
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, classify(predict, images)), 1)
    return Evaluation(confusion)
