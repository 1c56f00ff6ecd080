"""Logs: the history as a CSV file, as JSON lines, and for TensorBoard; rank 0 of several writes."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from uuid import uuid4

from ..ranks.world import world
from .callbacks import Callback
from .events import EventFile
from .run import Run


class CSVLog(Callback):
    """A CSV file with a line for each epoch, whole after each; its first line has the names.

    A run that goes on after a checkpoint writes its earlier epochs, too.

    Args:
        path: of the file, which is written anew; its folder is made where there is none.

    Example:
        >>> train.CSVLog("run.csv")
        CSVLog('run.csv')
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def on_epoch_end(self, run: Run) -> None:
        if world().rank != 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{uuid4().hex}")
        try:
            temporary.write_text(self.text(run), encoding="utf-8")
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def text(self, run: Run) -> str:
        """What the file holds."""
        text = io.StringIO()
        table = csv.DictWriter(text, run.history.names, lineterminator="\n")
        table.writeheader()
        table.writerows(epoch.as_dict() for epoch in run.history)
        return text.getvalue()


class JSONLog(CSVLog):
    """A file of JSON lines, an object for each epoch, whole after each.

    Args:
        path: of the file, which is written anew; its folder is made where there is none.

    Example:
        >>> train.JSONLog("run.jsonl")
        JSONLog('run.jsonl')
    """

    def text(self, run: Run) -> str:
        """What the file holds."""
        return "".join(json.dumps(epoch.as_dict()) + "\n" for epoch in run.history)


class TensorBoard(Callback):
    """A file of events that TensorBoard shows: the loss of each step, the numbers of each epoch.

    ``tensorboard --logdir FOLDER`` shows them (pip install tensorboard); to write them needs
    nothing. ``loss/step`` counts steps, all other names count epochs from 1.

    Args:
        folder: of the events, one for each run; it is made where there is none.

    Example:
        >>> train.TensorBoard("runs/first")
        TensorBoard('runs/first')
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self._file: EventFile | None = None
        self._step = 0

    def __repr__(self) -> str:
        return f"TensorBoard({str(self.folder)!r})"

    def on_train_begin(self, run: Run) -> None:
        self._file = EventFile(self.folder) if world().rank == 0 else None
        self._step = len(run.history) * (run.batches or 0)

    def on_batch_end(self, run: Run) -> None:
        if self._file is not None:
            self._step += 1
            self._file.scalar("loss/step", run.losses[-1], self._step)

    def on_epoch_end(self, run: Run) -> None:
        if self._file is not None:
            for name, value in run.history[-1].as_dict().items():
                if name != "epoch":
                    self._file.scalar(name, value, run.epoch + 1)
            self._file.flush()

    def on_train_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
