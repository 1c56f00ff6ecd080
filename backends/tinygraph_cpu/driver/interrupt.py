"""Ctrl-C in a run: the thread that runs a table asks Python now and then whether it should stop.

A signal sets a flag; its handler is run by the main thread, which is in native code. So the driver
calls back from there every tenth of a second, and where a handler raises, skips what is left.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator

from .launch_table import words

ASK, MAIN = range(2)  # words of the desk: the address of the function to call, the main thread

_raised: BaseException | None = None
_functions: list[ctypes._CFunctionType] = []  # the one that is called, kept alive


def _answers() -> Iterator[int]:
    """0 each time; 1 at last, when a signal's handler has raised.

    Handlers are run where Python code goes on: in a function they would raise before its first
    line, where nothing can be caught. A generator goes on within its ``try``.
    """
    global _raised
    try:
        while True:
            yield 0
    except GeneratorExit:
        return
    except BaseException as error:
        _raised = error
    yield 1


def _open_desk() -> None:
    answers = _answers()
    next(answers)
    _functions[:] = [ctypes.CFUNCTYPE(ctypes.c_int64)(answers.__next__)]
    desk[ASK] = ctypes.cast(_functions[0], ctypes.c_void_p).value or 0
    desk[MAIN] = threading.main_thread().ident or 0


def stop() -> None:
    """Raises what a signal's handler has raised during a run that was stopped, if that was why."""
    global _raised
    error, _raised = _raised, None
    if error is not None:
        _open_desk()
        raise error


desk = words(8)
_open_desk()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_desk)
