"""Backends from outside: registered by a script or announced by a package, whole or not at all."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler import backend as backends

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def python(monkeypatch, tmp_path) -> ModuleType:
    """The example's backend, registered, with a store of its own."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(backends, "REGISTERED", {})
    import custom_backend

    backends.register("python", custom_backend)
    monkeypatch.setattr(custom_backend, "TEXTS", {})
    before, tg.settings.cache = tg.settings.cache, tmp_path
    yield custom_backend
    tg.settings.cache = before


def test_programs_of_two_backends_share_parameters_and_prepare_anew(python):
    x, w = tg.input("x", 3, 5), tg.parameter(np.ones((5, 40), np.float32), "w")
    y = x @ (w * 2)  # w * 2 depends on parameters alone: it is prepared
    data = np.arange(15, dtype=np.float32).reshape(3, 5)
    program = tg.compile([x], [y], backend="python")
    assert program.built.code.prepare
    np.testing.assert_array_equal(program(data)[0], data @ np.full((5, 40), 2, np.float32))
    tg.compile([], [tg.sum(w)], updates=[(w, w + 1)])()
    np.testing.assert_array_equal(program(data)[0], data @ np.full((5, 40), 4, np.float32))


@pytest.mark.parametrize("unfinished", [None, "in launch 1 of 1, add", ""])
def test_a_run_that_fails_loses_what_it_changes(python, monkeypatch, unfinished):
    """Where its runner says that it stopped midway, and where it says nothing."""
    w = tg.parameter(np.ones(3, np.float32), "w")
    step = tg.compile([], [], updates=[(w, w + 1)], backend="python", name="step")
    if unfinished is not None:
        monkeypatch.setattr(python.Interpreter, "unfinished", unfinished, raising=False)
    monkeypatch.setattr(python.Interpreter, "launch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step()
    if unfinished == "":
        assert (w.value == 1).all()
        return
    story = f"program step failed {unfinished or 'midway'} .division by zero."
    with pytest.raises(tg.LostValueError, match=f"^the value of parameter w: .* is lost: {story}"):
        _ = w.value


def test_loops_move_their_arguments(python):
    xs, first = tg.input("xs", 6, 4), tg.input("first", 4)
    (last,), (sums,) = tg.scan(lambda c, x: (c * 0.5 + x, c), first, xs)
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    start = np.ones(4, np.float32)
    programs = [tg.compile([xs, first], [last, sums], backend=b) for b in ("cpu", "python")]
    assert programs[1].built.code.loops
    for cpu, mine in zip(*(p(values, start) for p in programs), strict=True):
        np.testing.assert_allclose(mine, cpu, rtol=1e-6)


def test_a_profile_times_every_call(python):
    x = tg.input("x", 4, 4)
    program = tg.compile([x], [tg.sum(tg.exp(x @ x))], backend="python")
    profile = program.profile(np.ones((4, 4), np.float32), repeat=1)
    assert len(profile.launches) == program.cost()["launches"]


def test_a_program_from_the_store_has_kernels_without_text(python):
    x = tg.input("x", 4)
    for _ in range(2):
        program = tg.compile([x], [x - 3], backend="python")
        python.TEXTS.clear()
        assert program(np.ones(4, np.float32))[0].tolist() == [-2, -2, -2, -2]
    assert [k.text for k in program.built.code.kernels] == [""]


def test_a_store_that_cannot_be_written_is_not_needed(python, monkeypatch):
    monkeypatch.setattr("tinygraph.compiler.store.Store.put", lambda *_: None)
    x = tg.input("x", 4)
    (y,) = tg.compile([x], [x / 4], backend="python")(np.ones(4, np.float32))
    assert y.tolist() == [0.25] * 4


def test_a_kernel_that_the_store_has_lost_is_compiled_again(python, tmp_path):
    x = tg.input("x", 4)

    def run() -> np.ndarray:
        return tg.compile([x], [x * 3], backend="python")(np.ones(4, np.float32))[0]

    run()
    python.TEXTS.clear()
    for file in (tmp_path / "kernel").iterdir():
        file.unlink()
    assert run().tolist() == [3, 3, 3, 3]
    assert list((tmp_path / "kernel").iterdir())


@pytest.mark.parametrize("name", ["cpu", "cuda", "mine:fast"])
def test_names_that_are_taken_are_refused(python, name):
    with pytest.raises(tg.BackendError, match="cannot be named"):
        backends.register(name, python)


def test_a_module_that_is_no_backend_is_named(monkeypatch):
    half = SimpleNamespace(target=len, build=len, load=len)
    lacks = "'mine' .* lacks fingerprint, assemble, cards"
    with pytest.raises(tg.BackendError, match=lacks):
        backends.register("mine", half)
    monkeypatch.setitem(sys.modules, "half", half)
    entry = EntryPoint("mine", "half", backends.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    with pytest.raises(tg.BackendError, match=lacks):
        backends.find("mine")


def test_what_there_is_is_listed(python):
    with pytest.raises(tg.BackendError, match=r"no backend 'gpu' is installed; .*cpu.*python"):
        backends.find("gpu")
