"""Several threads call one program at a time: right results, in turn, and nobody waits for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models
from tinygraph.compiler.callers import Callers
from tinygraph.graph.locks import PROGRAMS, SharedLock


class FakeRunner:
    """Counts its twins."""

    memory, unfinished, alone = None, "", False

    def __init__(self) -> None:
        self.twins: list[FakeRunner] = []

    def twin(self) -> FakeRunner:
        self.twins.append(FakeRunner())
        return self.twins[-1]


@pytest.fixture
def callers() -> Callers:
    made = Callers(FakeRunner(), SharedLock(PROGRAMS))  # type: ignore[arg-type]
    made.most = 2
    return made


def take(callers: Callers, me: int = 1) -> Any:
    """As a call does."""
    return callers.idle.pop() if callers.idle else callers.another(me)


def give(callers: Callers, runner: Any) -> None:
    callers.idle.append(runner)
    if callers.waiting:
        callers.pass_on()


def started(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_each_caller_has_a_runner_of_its_own_up_to_the_number_of_processors(callers):
    first, second = take(callers, 1), take(callers, 2)
    assert first is callers.first and second is callers.first.twins[0]
    give(callers, second)
    assert take(callers, 3) is second
    assert len(callers.first.twins) == 1


def test_further_callers_wait_in_their_order(callers):
    mine = [take(callers, 1), take(callers, 2)]
    order: list[int] = []
    got: dict[int, object] = {}

    def wait(number: int) -> None:
        got[number] = take(callers, number)
        order.append(number)

    threads = []
    for number in (3, 4, 5):
        threads.append(started(lambda number=number: wait(number)))  # type: ignore[misc]
        while len(callers.waiting) < len(threads):
            pass
    give(callers, mine[0])
    threads[0].join(10)
    give(callers, mine[1])
    threads[1].join(10)
    assert order == [3, 4] and got[3] is mine[0] and got[4] is mine[1]
    give(callers, mine[0])
    threads[2].join(10)
    assert order == [3, 4, 5] and not callers.waiting


def test_a_thread_that_runs_never_waits_for_itself(callers):
    callers.lock.sharing.append(1)
    taken = [take(callers, 1) for _ in range(4)]
    assert len(set(map(id, taken))) == 4


def test_a_twin_that_cannot_be_made_leaves_its_place(callers, monkeypatch):
    take(callers, 1)

    def fails() -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(callers.first, "twin", fails)
    for _ in range(3):
        with pytest.raises(MemoryError):
            take(callers, 2)
    monkeypatch.undo()
    assert take(callers, 2) is callers.first.twins[0]


def leave(lock: SharedLock, me: int) -> None:
    """As a call does."""
    lock.sharing.remove(me)
    if lock.awaited:
        lock.left()


def test_a_lock_is_shared_or_held_alone():
    lock, log = SharedLock(PROGRAMS), []
    lock.sharing += [1, 2]
    alone = started(lambda: (lock.acquire(), log.append("alone"), lock.release()))
    alone.join(0.1)
    leave(lock, 1)
    alone.join(0.1)
    assert alone.is_alive() and not log
    leave(lock, 2)
    alone.join(10)
    assert log == ["alone"]


def test_who_shares_a_lock_may_hold_it_alone_as_well():
    """A signal's handler reads a parameter in the middle of a run."""
    lock, me = SharedLock(PROGRAMS), threading.get_ident()
    lock.sharing.append(me)
    with lock:
        assert lock.owner == me
    assert lock.owner == 0


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(tg.settings, "threads", 1)


def test_many_callers_of_one_program_get_what_one_gets(one_thread):
    net, x = models.lenet5(), tg.input("x", 1, 1, 28, 28)
    program = tg.compile([x], [net(x)])
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((1, 1, 28, 28), dtype=np.float32) for _ in range(8)]
    want = [program(image)[0] for image in images]
    wrong: list[int] = []

    def call(i: int) -> None:
        for _ in range(50):
            if not np.array_equal(program(images[i])[0], want[i]):
                wrong.append(i)

    threads = [started(lambda i=i: call(i)) for i in range(8)]  # type: ignore[misc]
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


def test_prepared_weights_follow_a_parameter_while_others_call(one_thread):
    """Convolution weights are prepared: every result is that of one value of the weights."""
    w = tg.parameter(np.ones((8, 3, 3, 3), np.float32), "w")
    x = tg.input("x", 1, 3, 12, 12)
    program = tg.compile([x], [tg.conv2d(x, w)])
    ones, stop = np.ones((1, 3, 12, 12), np.float32), threading.Event()
    wrong: list[np.ndarray] = []

    def call() -> None:
        while not stop.is_set():
            found = np.unique(program(ones)[0])
            if found.size != 1 or abs(found[0] / 27 - round(found[0] / 27)) > 1e-6:
                wrong.append(found)

    threads = [started(call) for _ in range(3)]
    for k in range(200):
        w.value = np.full((8, 3, 3, 3), k, np.float32)
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_has_all_runners(one_thread):
    x = tg.input("x", 4)
    program, ones = tg.compile([x], [x + 1.0]), np.ones(4, np.float32)
    program(ones)
    callers = program._callers  # type: ignore[attr-defined]
    taken = [take(callers, -1) for _ in range(callers.most)]  # by threads that a child has not
    child = os.fork()
    if not child:
        os._exit(0 if program(ones)[0].tolist() == [2.0] * 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
    for runner in taken:
        give(callers, runner)
