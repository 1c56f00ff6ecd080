"""What callbacks see of a training run while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .history import History


@dataclass
class Run:
    """A training run as callbacks see it.

    Attributes:
        epochs: how many there are to be in all.
        batches: in an epoch, where it is known.
        history: the epochs that have ended.
        epoch: the number of the current one, from 0.
        outputs: what the last step returned.
        losses: of the current epoch's steps so far; ``total`` is their sum.
        stopped: why training stops after this epoch, or nothing.

    Example:
        >>> def patient(run):
        ...     if run.history[-1].loss < 2:
        ...         run.stop("it is good enough")
        >>> train.fit(lambda x: [x], [[1.0]], 5, callbacks=[patient], show=False)["loss"]
        array([1.])
    """

    epochs: int
    batches: int | None
    history: History = field(default_factory=History)
    epoch: int = 0
    outputs: Sequence[Any] = ()
    losses: list[float] = field(default_factory=list)
    total: float = 0.0
    stopped: str = ""

    @property
    def loss(self) -> float:
        """The mean loss of the current epoch so far; NaN before its first step."""
        return self.total / len(self.losses) if self.losses else float("nan")

    def stop(self, why: str) -> None:
        """Training ends after this epoch.

        Args:
            why: is shown.

        Example:
            >>> run = train.Run(epochs=3, batches=None)
            >>> run.stop("it is good enough")
            >>> run.stopped
            'it is good enough'
        """
        self.stopped = why
