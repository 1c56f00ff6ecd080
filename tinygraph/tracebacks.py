"""Tracebacks that end where the user wrote the mistake, without the compiler's frames."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from .graph.op import ShapeError

_PACKAGE = str(Path(__file__).parent)


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without frames of this package."""
    kept: list[TracebackType] = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept.append(traceback)
        traceback = traceback.tb_next
    rest: TracebackType | None = None
    for entry in reversed(kept):
        rest = TracebackType(rest, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rest


def install() -> None:
    """From now on an uncaught ShapeError is shown trimmed; everything else as before."""
    before = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, ShapeError):
            error.__suppress_context__ = True
            traceback = trimmed(traceback) or traceback
            error = error.with_traceback(traceback)
        before(kind, error, traceback)

    sys.excepthook = hook
