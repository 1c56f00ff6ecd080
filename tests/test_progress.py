"""A compile that takes long says how far it is: on a terminal, in a notebook, in the log."""

import logging
import sys
import types

import pytest

from tinygraph.compiler import progress


def compile_for(seconds, monkeypatch):
    """Tells three times, ``seconds`` apart, by a clock of its own."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress("step"):
        for count in range(3):
            now[0] += seconds
            progress.tell(f"{count} of 3 kernels")


def test_nothing_is_shown_where_nobody_looks(capsys, monkeypatch):
    compile_for(2.0, monkeypatch)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_line_that_goes_when_it_is_done(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    compile_for(0.2, monkeypatch)
    assert capsys.readouterr().err == ""  # it took less than a second
    compile_for(0.8, monkeypatch)
    shown = capsys.readouterr().err
    assert "0 of 3" not in shown and "compiling step: 1 of 3 kernels, 2 s" in shown
    assert shown.endswith("\r\033[K")


def test_a_notebook_shows_a_line_and_keeps_what_was_done(monkeypatch):
    shown = []
    handle = types.SimpleNamespace(update=lambda html: shown.append(html))
    fake = types.ModuleType("IPython.display")
    fake.HTML = str
    fake.display = lambda html, display_id: shown.append(html) or handle
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    compile_for(1.0, monkeypatch)
    assert len(shown) == 4 and "compiled step in 3.0 s" in shown[-1]


@pytest.mark.parametrize(("seconds", "lines"), [(0.1, 0), (1.0, 1)])
def test_the_log_says_when_a_long_one_is_done(seconds, lines, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "tinygraph")
    compile_for(seconds, monkeypatch)
    assert [r.message for r in caplog.records] == ["compiled step in 3.0 s"] * lines


def test_the_log_says_that_one_failed(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "tinygraph")
    times = iter([0.0, 2.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    with pytest.raises(KeyError), progress.progress("step"):
        raise KeyError
    assert [r.message for r in caplog.records] == ["did not compile step in 2.0 s"]


def test_nothing_is_told_outside_of_a_compile():
    progress.tell("nothing")
