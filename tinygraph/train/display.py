"""Progress: a bar on a terminal, one in a notebook, a line for each epoch elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

from ..compiler.progress import in_notebook
from ..graph.html import preformatted
from .callbacks import Callback
from .run import Run

EVERY = 0.1  # seconds between changes of what a notebook shows


def display() -> Callback:
    """The one that fits where this process writes to."""
    if in_notebook():
        return Notebook()
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        return Bar()
    return Lines()


def place(run: Run) -> str:
    """'epoch  3/10'."""
    return f"epoch {run.epoch + 1:{len(str(run.epochs))}}/{run.epochs}"


def line(run: Run) -> str:
    """The result of the epoch that has ended."""
    return f"{place(run)}  {run.history[-1]}"


class Lines(Callback):
    """A line for each epoch."""

    def on_epoch_end(self, run: Run) -> None:
        self.write(line(run))

    def on_train_end(self, run: Run) -> None:
        if run.stopped:
            self.write(f"stopped: {run.stopped}")

    def write(self, text: str) -> None:
        """Shows a line that stays."""
        print(text, flush=True)


class Bar(Lines):
    """A bar of the library rich over the steps of an epoch, with the loss so far, below the lines
    of the epochs that have ended.
    """

    progress: Any = None

    def on_train_begin(self, run: Run) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, transient=True)
        self.task = self.progress.add_task(place(run), total=run.batches)
        self.progress.start()

    def on_batch_end(self, run: Run) -> None:
        text = f"{place(run)}  loss {run.loss:.4f}"
        self.progress.update(self.task, completed=len(run.losses), description=text)

    def on_train_end(self, run: Run) -> None:
        if self.progress is not None:
            self.progress.stop()
        super().on_train_end(run)

    def write(self, text: str) -> None:
        """Prints a line above the bar."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Notebook(Lines):
    """The same in a notebook: the bar changes in place."""

    def on_train_begin(self, run: Run) -> None:
        from IPython.display import HTML, display

        self.html: Any = HTML
        self.rows: list[str] = []
        self.handle: Any = display(HTML(""), display_id=True)
        self.changed = 0.0

    def on_batch_end(self, run: Run) -> None:
        if time.perf_counter() - self.changed > EVERY:
            self.changed = time.perf_counter()
            total = "" if run.batches is None else f'max="{run.batches}"'
            value = "" if run.batches is None else f'value="{len(run.losses)}"'
            self._show(
                f"<progress {value} {total}></progress> {place(run)}, batch {len(run.losses)}"
                f"{'' if run.batches is None else f' of {run.batches}'}, loss {run.loss:.4f}"
            )

    def write(self, text: str) -> None:
        """Adds a line."""
        self.rows.append(text)
        self._show("")

    def _show(self, bar: str) -> None:
        self.handle.update(self.html(preformatted("\n".join(self.rows)) + bar))
