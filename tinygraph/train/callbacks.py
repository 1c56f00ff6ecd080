"""Callbacks: what happens next to the steps of a training run.

Whatever one must know of earlier epochs it reads from the run's history, so that a run that goes on
after a checkpoint treats them as an unbroken one does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .. import checkpoint
from ..graph.numeric import numeric
from ..nn.module import Module
from ..optim import Optimizer
from .history import History, direction, shown
from .run import Run


class Callback:
    """The base of callbacks; each method may be left out.

    A plain function of the run is a callback, too: it is called after each epoch.

    Example:
        >>> class Print(train.Callback):
        ...     def on_epoch_end(self, run):
        ...         print(run.history[-1].loss)
        >>> _ = train.fit(lambda x: [x], [[1.0], [2.0]], 1, callbacks=[Print()], show=False)
        1.5
    """

    def restore(self, run: Run) -> None:
        """Before all others: it may put the epochs of an earlier run into ``run.history``."""

    def on_train_begin(self, run: Run) -> None:
        """Before the first step."""

    def on_batch_end(self, run: Run) -> None:
        """After each step: ``run.outputs`` is what it returned."""

    def on_epoch_end(self, run: Run) -> None:
        """After each epoch and its validation: ``run.history[-1]`` is its result."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, and when an exception ends the training."""


class AfterEpoch(Callback):
    """A function of the run, as a callback."""

    def __init__(self, function: Callable[[Run], object]):
        self.function = function

    def on_epoch_end(self, run: Run) -> None:
        self.function(run)


@numeric
class EarlyStopping(Callback):
    """Ends training once a number has not become better for ``patience`` epochs.

    Args:
        monitor: the name of a number in the history, such as ``val_loss``.
        patience: so many epochs without a new best one are waited for.
        threshold: a new best one differs by more than this.
        mode: ``min`` or ``max``, what is better; None: known from the name of a loss or metric.

    Raises:
        ValueError: ``mode`` is needed, or a number is out of its range.
        KeyError: in training, if there is no such number.

    Example:
        >>> train.EarlyStopping("val_loss", patience=3)
        EarlyStopping('val_loss', patience=3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        threshold: float = 0.0,
        mode: str | None = None,
    ):
        if patience < 1 or threshold < 0:
            raise ValueError(
                f"EarlyStopping requires patience >= 1 and threshold >= 0, got {patience} and "
                f"{threshold}"
            )
        self.monitor, self.patience, self.threshold = monitor, patience, threshold
        self.mode = direction(monitor, mode)

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, patience={self.patience})"

    def on_train_begin(self, run: Run) -> None:
        if run.history:
            self.on_epoch_end(run)

    def on_epoch_end(self, run: Run) -> None:
        values = run.history[self.monitor]
        sign = 1 if self.mode == "min" else -1
        best, waited = np.inf, 0
        for value in sign * values:
            better = value < best - self.threshold
            best, waited = (value, 0) if better else (best, waited + 1)
        if waited >= self.patience:
            run.stop(f"{self.monitor} was best, {shown(sign * best)}, {waited} epochs ago")


class Checkpoint(Callback):
    """Saves a network after each epoch, or only when a number is the best so far.

        last = train.Checkpoint("run.npz", net, optimizer, resume=True)
        best = train.Checkpoint("best.npz", net, monitor="val_loss")
        train.fit(step, batches, 60, validation=..., callbacks=[last, best])

    With an optimizer the file has all that a run needs to go on: called again after it was
    interrupted, the first of these continues after the last whole epoch, with the same bits as a
    run without a break, history included.

    Args:
        path: a .npz or .safetensors file, which appears whole or not at all.
        net: the module that is saved.
        optimizer: its optimizer, or several.
        monitor: the name of a number in the history; None: every epoch is saved.
        mode: ``min`` or ``max``, which number is best; None: known from the name.
        resume: if the file exists, training continues from it; needs the optimizer.

    Raises:
        ValueError: ``resume`` without an optimizer, or of the best epoch only; when training
            begins, a file that does not fit.

    Example:
        >>> train.Checkpoint("best.npz", nn.Linear(2, 1), monitor="val_loss")
        Checkpoint('best.npz', monitor='val_loss')
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        net: Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        resume: bool = False,
    ):
        if resume and (optimizer is None or monitor is not None):
            raise ValueError(
                "Checkpoint(resume=True) requires an optimizer, whose state is part of a run, and "
                "every epoch: no monitor"
            )
        self.path, self.net, self.optimizer = Path(path), net, optimizer
        self.monitor, self.resume = monitor, resume
        self.mode = None if monitor is None else direction(monitor, mode)

    def __repr__(self) -> str:
        monitor = f", monitor={self.monitor!r}" if self.monitor else ""
        return f"Checkpoint({str(self.path)!r}{monitor}{', resume=True' * self.resume})"

    def restore(self, run: Run) -> None:
        if self.resume and self.path.exists():
            found = checkpoint.load(self.path, self.net, self.optimizer)
            run.history = History.from_arrays(
                {
                    name.removeprefix("history."): np.atleast_1d(value)
                    for name, value in found.items()
                    if name.startswith("history.")
                }
            )

    def on_epoch_end(self, run: Run) -> None:
        latest = run.history[-1]
        if self.monitor is not None and run.history.best(self.monitor, self.mode) is not latest:
            return
        numbers = {f"history.{name}": values for name, values in run.history.arrays().items()}
        checkpoint.save(self.path, self.net, self.optimizer, epoch=latest.number + 1, **numbers)
