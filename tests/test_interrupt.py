"""Ctrl-C, and any signal whose handler raises, ends a run without updates; others end whole."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph_cpu.driver.launch_table import STOP

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are POSIX's")
N = 256


class Alarm(Exception):
    """Not an error that anything else raises."""


@pytest.fixture
def alarm():
    """Raises Alarm after some seconds."""

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def repeated(length, updates=False):
    """Half the sum of x and what the step before gave, so often; it may count its runs."""
    w, counter = tg.parameter(np.eye(N) * 0.5, "w"), tg.parameter(0.0, "counter")
    x = tg.input("x", N, N)
    ((last,), _) = tg.scan(lambda h: (h @ w + 0.5 * x,), x, length=length)
    changed = [(counter, counter + 1.0)] if updates else []
    return tg.compile([x], [last], updates=changed), counter


def stopped(program):
    """Whether the last run left out what was left."""
    return bool(program._runner.table._header[STOP])


ONES = np.ones((N, N), np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_without_updates_ends_when_a_handler_raises(threads, alarm, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", str(threads))
    long, _ = repeated(20_000)
    for _ in range(2):
        alarm(0.05)
        with pytest.raises(Alarm):
            long(ONES)
        assert stopped(long)
    short, _ = repeated(3)
    short._runner.table._header[STOP] = 1  # as a run that was stopped leaves it
    assert (short(ONES)[0] == 1.0).all() and not stopped(short)


def test_the_table_of_a_stopped_run_gives_right_values_again(alarm):
    program, _ = repeated(20_000)
    alarm(0.05)
    with pytest.raises(Alarm):
        program(ONES)
    assert stopped(program)
    header, records = program._runner.table._header, program._runner.table._records
    before = program._runner.table._counters[:, 0].copy()
    assert (before == records[:, 2] * header[6]).all()  # every part of every run is counted


def test_ctrl_c_is_a_keyboard_interrupt():
    program, _ = repeated(20_000)
    # a shell's background processes ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        program(ONES)
    signal.signal(signal.SIGINT, before)
    assert stopped(program)


def test_a_run_with_updates_ends_whole(alarm):
    program, counter = repeated(600, updates=True)
    assert (program(ONES)[0] == 1.0).all()
    alarm(0.01)
    with pytest.raises(Alarm):
        program(ONES)
        while True:  # should the run be faster than the alarm
            pass
    assert not stopped(program) and counter.value == 2.0


def test_handlers_that_do_not_raise_are_run_and_the_run_goes_on(alarm):
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    program, _ = repeated(600)
    alarm(0.01)
    assert (program(ONES)[0] == 1.0).all() and not stopped(program)
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_other_threads_are_not_asked(alarm):
    """The main thread gets the signal; what another one runs is not stopped."""
    program, _ = repeated(600)
    found = []
    thread = threading.Thread(target=lambda: found.append(program(ONES)[0]))
    thread.start()
    alarm(0.01)
    with pytest.raises(Alarm):
        while True:
            time.sleep(0.001)
    thread.join()
    assert (found[0] == 1.0).all() and not stopped(program)
