"""Tracebacks that end where the user wrote the mistake, without the library's frames.

Errors that the library raises on purpose, by a ``raise`` statement of its own, are shown trimmed:
shapes, arguments, files, and what its checks find. An error that Python or another library raises
within it, and a failed ``assert``, are faults of the library: they keep all frames.
"""

from __future__ import annotations

import sys
from dis import opmap
from pathlib import Path
from types import TracebackType
from typing import Any

_PACKAGE = Path(__file__).parent
_ROOTS = tuple(f"{folder}/" for folder in (
    _PACKAGE, *(_PACKAGE.parent / f"{path}tinygraph_{name}" for path in ("", "backends/")
                for name in ("cpu", "cuda", "mpi", "scalar"))
))  # fmt: skip
_RAISE = opmap["RAISE_VARARGS"]


def _ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_ROOTS)


def on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` statement of the library raised it."""
    traceback = error.__traceback__
    if traceback is None or isinstance(error, AssertionError):
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code.co_code
    return _ours(traceback) and code[traceback.tb_lasti] == _RAISE


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without frames of the library; None if all are."""
    kept: list[TracebackType] = []
    while traceback is not None:
        if not _ours(traceback):
            kept.append(traceback)
        traceback = traceback.tb_next
    rest: TracebackType | None = None
    for entry in reversed(kept):
        rest = TracebackType(rest, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rest


def shortened(error: BaseException) -> BaseException:
    """The error, if it was raised on purpose, without frames of the library and without what it
    was made of, unless it names its cause.
    """
    if on_purpose(error):
        error.__suppress_context__ = True
        error.__traceback__ = trimmed(error.__traceback__) or error.__traceback__
    return error


def install() -> None:
    """From now on an uncaught error of the library is shown trimmed, in IPython too; everything
    else as before.
    """
    before = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        before(kind, shortened(error), error.__traceback__)

    sys.excepthook = hook
    ipython = sys.modules.get("IPython")
    if ipython is not None and (shell := ipython.get_ipython()) is not None:
        _install_in(shell)


def _install_in(shell: Any) -> None:
    """In IPython, which has a hook of its own; one that the user has set is kept."""
    if shell.custom_exceptions:
        return

    def show(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
        tb_offset: int | None = None,
    ) -> list[str]:
        found = shortened(error).__traceback__
        lines = shell.InteractiveTB.structured_traceback(kind, error, found, tb_offset=tb_offset)
        shell._showtraceback(kind, error, lines)
        return lines

    shell.set_custom_exc((Exception,), show)
