"""How far a compile is, for whoever waits longer than a second: a line that changes in place, on a
terminal or in a notebook. The log ``tinygraph`` gets one message when it is done, for programs
whose output goes to a file: ``logging.basicConfig(level="INFO")`` shows it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from ..graph.html import preformatted

PATIENCE = 1.0  # seconds of a compile before anything is shown
EVERY = 0.1  # seconds between changes
LOG = logging.getLogger("tinygraph")


class StatusLine(Protocol):
    """A line that changes in place."""

    def show(self, text: str) -> None: ...
    def end(self, text: str) -> None: ...


class TerminalLine:
    def show(self, text: str) -> None:
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def end(self, text: str) -> None:
        """Leaves nothing behind."""
        self.show("")


class NotebookLine:
    handle: Any = None

    def show(self, text: str) -> None:
        from IPython.display import HTML, display

        line = HTML(preformatted(text))
        if self.handle is None:
            self.handle = display(line, display_id=True)
        else:
            self.handle.update(line)

    def end(self, text: str) -> None:
        """Leaves what was done."""
        self.show(text)


class Progress:
    """The progress of one compile.

    Args:
        name: of the program.
        line: where it is shown, if anywhere.
    """

    def __init__(self, name: str, line: StatusLine | None) -> None:
        self.name, self.line = name, line
        self.began = self.shown = time.monotonic()
        self.visible = False

    def tell(self, text: str) -> None:
        """Says what is done at the moment."""
        now = time.monotonic()
        if self.line is None or now - self.began < PATIENCE or now - self.shown < EVERY:
            return
        self.shown, self.visible = now, True
        self.line.show(f"tinygraph: compiling {self.name}: {text}, {now - self.began:.0f} s")

    def end(self, done: bool) -> None:
        seconds = time.monotonic() - self.began
        what = "compiled" if done else "did not compile"
        text = f"{what} {self.name} in {seconds:.1f} s"
        if self.visible and self.line is not None:
            self.line.end(f"tinygraph: {text}")
        if seconds >= PATIENCE:
            LOG.info(text)


_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def progress(name: str) -> Iterator[None]:
    """What is told in it is about the compile of ``name``."""
    current = Progress(name, _line())
    token, done = _CURRENT.set(current), False
    try:
        yield
        done = True
    finally:
        _CURRENT.reset(token)
        current.end(done)


def tell(text: str) -> None:
    """Says what the compile that goes on does at the moment, if there is one."""
    if (current := _CURRENT.get()) is not None:
        current.tell(text)


def _line() -> StatusLine | None:
    if in_notebook():
        return NotebookLine()
    return TerminalLine() if sys.stderr.isatty() else None


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and hasattr(running, "kernel")
