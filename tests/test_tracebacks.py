"""Errors that the library raises on purpose show the user's frames alone; faults show all."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoint, data, metrics, nn, optim, tracebacks, train

X = tg.input("x", 4, 8)
PURPOSE = {
    "shape": lambda: tg.matmul(X, tg.input("y", 3, 2)),
    "argument": lambda: tg.compile([X], [X + 1.0])(5),
    "name": lambda: tg.cat,
    "keyword": lambda: tg.sum(X, dim=1),
    "gradient": lambda: tg.grad(X, [X]),
    "text": lambda: tg.parse("nothing"),
    "file": lambda: checkpoint.load("weights.txt", nn.Linear(2, 2)),
    "batches": lambda: data.Batches(np.zeros(3), np.zeros(4), batch_size=1),
    "worker": lambda: list(data.Batches(np.zeros(3), batch_size=1, collate=data.Pad(0))),
    "metric": lambda: metrics.accuracy([0.5], [1]),
    "fit": lambda: train.fit(lambda x: [float("nan")], [[1]], 1, show=False),
    "optimizer": lambda: optim.SGD(-1),
    "module": lambda: nn.Linear(2, 2).fit,
}


def caught(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize("name", PURPOSE)
def test_mistakes_are_shown_where_they_were_made(name):
    error = caught(PURPOSE[name])
    if name == "worker":  # len() of a number: Python raises it
        assert not tracebacks.on_purpose(error)
        return
    assert tracebacks.on_purpose(error)
    traceback = tracebacks.shortened(error).__traceback__
    while traceback is not None:
        assert traceback.tb_frame.f_code.co_filename == __file__
        traceback = traceback.tb_next


def test_faults_and_the_users_own_errors_keep_all_frames():
    def mine(x):
        raise ValueError("mine")

    for call in (lambda: 1 / 0, lambda: train.fit(mine, [[1]], 1), lambda: tracebacks.trimmed(5)):
        error = caught(call)
        before = error.__traceback__
        assert tracebacks.shortened(error).__traceback__ is before


def ran(program):
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_in_ipython_too():
    pytest.importorskip("IPython")
    shown = ran(
        """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance(colors="NoColor")
        shell.run_cell("import tinygraph as tg; x = tg.input('x', 4, 8)")
        shell.run_cell("def build():\\n    return tg.matmul(x, x)\\nbuild()")
        shell.run_cell("1 / 0")
        """
    )
    assert "ShapeError" in shown and "in build()" in shown and "ZeroDivisionError" in shown
    assert "tinygraph/" not in shown
