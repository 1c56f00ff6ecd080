"""A process and its surroundings: memory that is not there, the collector, pickling, threads."""

import copy
import gc
import mmap
import os
import pickle
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.compiler import build
from tinygraph.graph import state
from tinygraph.graph.types import Type
from tinygraph_cpu.compilation import compile_kernel
from tinygraph_cpu.driver import driver, team
from tinygraph_cpu.machine import features, objects


@pytest.mark.parametrize("size", [1 << 47, 1 << 61])
def test_memory_that_is_not_there_is_named(size):
    w = tg.parameter((size,), "w", initial=lambda: 0.0)
    with pytest.raises(MemoryError, match=rf"parameter w: f32\[{size}\], of .* GiB does not fit"):
        _ = w.value
    m = tg.input("m", 2_000_000, 4)
    with pytest.raises(MemoryError, match=r"intermediate values of large of 14,901\.2 GiB"):
        tg.compile([m], [tg.sum(tg.exp(m @ m.T) @ m)], name="large")
    x = tg.input("x", 3)
    assert tg.compile([x], [x + 1.0])(np.zeros(3, np.float32))[0].tolist() == [1.0] * 3


def test_an_initial_value_that_fails_is_asked_for_again():
    answers = [ValueError("not yet"), np.ones(3)]

    def initial():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    w = tg.parameter((3,), "w", initial=initial)
    with pytest.raises(ValueError, match="not yet"):
        _ = w.value
    assert w.value.tolist() == [1.0] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_writes_to_memory_of_its_own(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)  # as on macOS
    large = state.aligned(Type((state.HUGE,), "uint8"))
    child = os.fork()
    if child == 0:
        large[:] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not large.any()


def test_the_collector_stays_on_and_is_put_back():
    before = gc.get_threshold()
    with build.rarely_collected():
        assert gc.isenabled() and gc.get_threshold() == (build.OBJECTS, *before[1:])
        with build.rarely_collected():
            assert gc.get_threshold()[0] == build.OBJECTS
        assert gc.get_threshold()[0] == build.OBJECTS
    assert gc.get_threshold() == before
    try:
        with build.rarely_collected():
            gc.set_threshold(5)  # by somebody else meanwhile
        assert gc.get_threshold()[0] == 5
        gc.disable()
        with build.rarely_collected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*before)


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("size", [3, None])
def test_a_program_says_why_it_cannot_be_pickled(make, size):
    x = tg.input("x", size, 2)
    program = tg.compile([x], [x + 1.0], name="mine")
    with pytest.raises(TypeError, match="'mine' cannot be pickled or copied: compile it in each"):
        make(program)


def test_the_path_of_the_source_is_a_file_even_without_a_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAPH_CACHE", str(tmp_path / "file"))
    x = tg.input("x", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = tg.compile([x], [tg.exp(x) * 3.0])
    path = Path(program.source_path)
    assert path.is_file() and path.parent.stat().st_mode & 0o777 == 0o700
    assert path.read_text() == program.dump("source")
    assert program.source_path == str(path)


def test_more_threads_than_processors_are_warned_of_once(monkeypatch):
    team._warn.cache_clear()
    count = len(team.allowed_cpus())
    monkeypatch.setenv("TINYGRAPH_THREADS", str(count + 1))
    with pytest.warns(RuntimeWarning, match=f"{count + 1} threads on {count} processors"):
        assert team.default_threads() == count + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert team.default_threads() == count + 1
        monkeypatch.setenv("TINYGRAPH_THREADS", str(count))
        assert team.default_threads() == count


@pytest.mark.filterwarnings("ignore:TINYGRAPH_THREADS asks for")
def test_a_team_does_without_threads_that_cannot_be_started(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    x = tg.input("x", 300, 300)
    run = tg.compile([x], [x @ x])
    assert run._runner.threads == 2
    own = team.Team()
    monkeypatch.setattr(run._runner, "team", own)
    starts = []

    def fail(_):
        starts.append(1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    ones = np.ones((300, 300), np.float32)
    for _ in range(3):
        assert (run(ones)[0] == 300.0).all()
    assert len(starts) == 1 and not own.workers


def test_levels_of_another_architecture_are_refused(monkeypatch):
    monkeypatch.setattr(features.platform, "machine", lambda: "aarch64")
    with pytest.raises(ValueError, match=r"x86-64-v3 is a level of x86-64, which this processor"):
        features._features.__wrapped__("x86-64-v3")
    assert features._features.__wrapped__("native").lanes
    assert features._features.__wrapped__("armv8-a").registers == 32
    monkeypatch.setattr(features.platform, "machine", lambda: "x86_64")
    with pytest.raises(ValueError, match="armv8-a is a level of aarch64, which this processor"):
        features._features.__wrapped__("armv8-a")


@pytest.mark.parametrize(
    ("triple", "waits"),
    [("x86_64-unknown-linux-gnu", "pause"), ("aarch64-unknown-linux-gnu", "isb")],
)
def test_the_driver_is_legal_code_of_each_architecture(triple, waits, monkeypatch):
    llvm = driver.llvm
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
    module = llvm.parse_assembly(driver.driver_module())
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine()
    assert waits in machine.emit_assembly(module).split()


def test_kernels_are_legal_code_of_another_architecture(monkeypatch):
    """All kernels of a training step become aarch64 objects: none assumes the processor at hand."""
    llvm = objects.llvm
    objects.initialize()  # as a process that runs on the processor at hand
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    other = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    level = replace(features.LEVELS["armv8-a"][1], quick=True)
    x, y = tg.input("x", 4, 1, 28, 28), tg.input("y", 4, dtype="int32")
    net = models.lenet5()
    updates = optim.Adam(1e-3).updates(loss := nn.cross_entropy(net(x), y), net.parameters())
    step = tg.compile([x, y], [loss], updates=updates, backend="cpu:quick")
    monkeypatch.setattr(llvm.Target, "from_default_triple", lambda: other)
    monkeypatch.setattr(objects, "_made", threading.local())
    for number, kernel in enumerate(step.source.translate().code.kernels):  # with their text
        code = compile_kernel(kernel, f"k{number}", level)
        assert code[:4] == b"\x7fELF" and code[18:20] == b"\xb7\x00", kernel.name  # of AArch64
