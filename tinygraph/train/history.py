"""What training gave: a record of each epoch, as a table, as arrays, as a picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import overload

import numpy as np

from ..metrics import Share
from ..pictures import panels, save

SHOWN = 12  # epochs of a long history in its text


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch.

    Attributes:
        number: from 0.
        loss: the mean over its batches.
        seconds: its time, validation included.
        values: what validation found, by name, such as ``val_loss``.

    Example:
        >>> print(train.Epoch(0, 0.125, 1.26, {"val_loss": 0.25}))
        loss 0.1250  val_loss 0.2500  1.3 s
    """

    number: int
    loss: float
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """What ``fit(score=...)`` found."""
        return self.values.get("score")

    def __str__(self) -> str:
        found = {"loss": self.loss, **self.values}
        return "  ".join(f"{k} {shown(v)}" for k, v in found.items()) + f"  {self.seconds:.1f} s"

    def as_dict(self) -> dict[str, float]:
        """All numbers by name, ``epoch`` first."""
        return {"epoch": self.number, "loss": self.loss, **self.values, "seconds": self.seconds}


def shown(value: float) -> str:
    """A share in percent; another number with four digits after its point, more if it is small."""
    if isinstance(value, Share):
        return f"{value:.2%}"
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e5 else f"{value:.3g}"


class History(Sequence[Epoch]):
    """The epochs of a training run, a sequence of ``Epoch``; by a name, an array.

    Example:
        >>> first = train.Epoch(0, 2.0, 1.0, {"val_loss": 1.5})
        >>> history = train.History([first, train.Epoch(1, 1.0, 1.0)])
        >>> history["val_loss"]
        array([1.5, nan])
        >>> history[-1].loss, len(history), history.best("val_loss").number
        (1.0, 2, 0)
        >>> history
        epoch    loss  val_loss  seconds
            1  2.0000    1.5000      1.0
            2  1.0000                1.0
    """

    def __init__(self, epochs: Sequence[Epoch] = ()):
        self._epochs = list(epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    @overload
    def __getitem__(self, key: int) -> Epoch: ...
    @overload
    def __getitem__(self, key: slice) -> list[Epoch]: ...
    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    def __getitem__(self, key: int | slice | str) -> Epoch | list[Epoch] | np.ndarray:
        if not isinstance(key, str):
            return self._epochs[key]
        if key not in self.names:
            raise KeyError(f"there is no {key!r} in this history; there is {', '.join(self.names)}")
        return np.array([e.as_dict().get(key, np.nan) for e in self])

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    def append(self, epoch: Epoch) -> None:
        """Adds the epoch that has ended.

        Args:
            epoch: its result.

        Example:
            >>> history = train.History()
            >>> history.append(train.Epoch(0, 0.5, 1.0))
            >>> len(history)
            1
        """
        self._epochs.append(epoch)

    @property
    def names(self) -> list[str]:
        """The names of all numbers: epoch, loss, those of validation, seconds."""
        found = dict.fromkeys(name for e in self for name in e.values)
        return ["epoch", "loss", *found, "seconds"]

    @property
    def shares(self) -> set[str]:
        """The names of numbers that are shares, which are shown in percent."""
        return {k for e in self for k, v in e.values.items() if isinstance(v, Share)}

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers as float64 [epochs] by name; NaN where an epoch has none.

        Example:
            >>> train.History([train.Epoch(0, 0.5, 1.0)]).arrays()
            {'epoch': array([0.]), 'loss': array([0.5]), 'seconds': array([1.])}
        """
        return {name: np.asarray(self[name], np.float64) for name in self.names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> History:
        """The history of which these are the ``arrays()``.

        Args:
            arrays: ``epoch``, ``loss``, ``seconds`` and those of validation, [epochs] each.
        """
        special = ("epoch", "loss", "seconds")
        rows = [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
        return cls([
            Epoch(int(r["epoch"]), float(r["loss"]), float(r["seconds"]),
                  {k: float(v) for k, v in r.items() if k not in special and not np.isnan(v)})
            for r in rows
        ])  # fmt: skip

    def best(self, name: str, mode: str | None = None) -> Epoch:
        """The epoch with the best of the numbers of a name, the first of equal ones.

        Args:
            name: one of ``names``.
            mode: ``min`` or ``max``, what is best; None: known from the name of a loss or metric.

        Raises:
            KeyError: there is no such name.
            ValueError: ``mode`` is needed, or no epoch has a number of that name.

        Example:
            >>> train.History([train.Epoch(k, 1 / (k + 1), 1.0) for k in range(3)]).best("loss")
            Epoch(number=2, loss=0.3333333333333333, seconds=1.0, values={})
        """
        values = self[name]
        if np.isnan(values).all():
            raise ValueError(f"no epoch has a {name}")
        best = np.nanargmin(values) if direction(name, mode) == "min" else np.nanargmax(values)
        return self._epochs[int(best)]

    def learning_curve(self, path: str | os.PathLike[str]) -> Path:
        """Draws losses and metrics over the epochs into an SVG file, and returns its path.

        Args:
            path: a file ending in .svg; its folder is made where there is none.

        Raises:
            ValueError: the path does not end in .svg.

        Example:
            >>> train.History([train.Epoch(0, 0.5, 1.0)]).learning_curve("curve.svg").name
            'curve.svg'
        """
        return save(path, self.svg())

    def svg(self) -> str:
        """The learning curve as SVG: losses in one diagram, shares in one, each other metric in
        its own.

        Example:
            >>> train.History([train.Epoch(0, 0.5, 1.0)]).svg().startswith("<svg")
            True
        """
        diagrams: dict[str, dict[str, np.ndarray]] = {}
        for name in self.names[1:-1]:
            unit = "loss" if name.endswith("loss") else name
            unit = "share" if name in self.shares else unit
            label = "training" if name == "loss" else name
            diagrams.setdefault(unit, {})[label] = np.asarray(self[name], float)
        return panels(1 + self["epoch"], diagrams, "epoch")

    def _rows(self) -> list[list[str]]:
        names, shares = self.names, self.shares
        rows = [names]
        for e in self:
            found = {k: Share(v) if k in shares else v for k, v in e.as_dict().items()}
            cells = [shown(found[n]) if n in found else "" for n in names[1:-1]]
            rows.append([str(e.number + 1), *cells, f"{e.seconds:.1f}"])
        return rows

    def __repr__(self) -> str:
        head, *rows = self._rows()
        if len(rows) > SHOWN:
            half = SHOWN // 2
            rows = [*rows[:half], ["..."] + [""] * (len(head) - 1), *rows[-half:]]
        table = [head, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [[c.rjust(w) for c, w in zip(row, widths, strict=True)] for row in table]
        return "\n".join("  ".join(line) for line in lines)

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        cells = "".join(f"<th>{escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
        last = f"{len(self)} epochs; {escape(str(self[-1]))}" if self._epochs else "no epoch"
        table = f"<table><tr>{cells}</tr>{body}</table>"
        curve = self.svg() if self._epochs else ""
        return f"<details><summary>{last}</summary>{table}</details>{curve}"


LESS, MORE = ("loss", "error", "perplexity", "seconds"), ("accuracy", "score", "auc")


def direction(name: str, mode: str | None = None) -> str:
    """``min`` or ``max``: which value of a name is best.

    Raises:
        ValueError: no such mode, or none for a name that does not tell.

    Example:
        >>> direction("val_loss"), direction("val_top_k_accuracy"), direction("val_iou", "max")
        ('min', 'max', 'max')
    """
    if mode is None:
        mode = "min" if name.endswith(LESS) else "max" if name.endswith(MORE) else None
    if mode not in ("min", "max"):
        raise ValueError(f"mode='min' or mode='max' says which {name} is best, got {mode!r}")
    return mode
