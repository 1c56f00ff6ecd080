"""The team: the caller's thread and its workers, shared by all programs of the process.

A worker spins for a short while for the next run and then parks. Linux wakes a parked thread on the
core of the thread that woke it and, for runs of a millisecond, leaves it there: so workers are
pinned to cores other than the caller's, and moved when the caller turns up on one of theirs.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from tinygraph.graph.locks import TEAMS, new_lock
from tinygraph.settings import MOST_THREADS, settings
from tinygraph_cpu.driver.interrupt import stop
from tinygraph_cpu.driver.launch_table import (
    GATE,
    INSIDE_BITS,
    LIMIT,
    OPEN,
    STATE_WORDS,
    LaunchTable,
    words,
)
from tinygraph_cpu.driver.native import driver
from tinygraph_cpu.machine.processors import allowed_cpus

PATIENCE = 0.002  # seconds until a worker parks
PAUSES = 1000  # that are timed; one takes 3 to 50 nanoseconds, by processor
_PINS = hasattr(os, "sched_setaffinity")


def default_threads() -> int:
    """settings.threads, else the number of processors that this process may use."""
    threads, processors = settings.threads, len(allowed_cpus())
    if threads is not None and threads > processors:
        _warn(threads, processors)
    return threads or processors


@cache
def _warn(threads: int, processors: int) -> None:
    warnings.warn(
        f"TINYGRAPH_THREADS asks for {threads} threads on {processors} processors: more threads "
        "than processors are slower",
        RuntimeWarning,
        stacklevel=2,
    )


@cache
def patience() -> int:
    """The pauses of a worker before it parks."""
    state, seconds = words(STATE_WORDS), []
    for _ in range(3):
        start = time.perf_counter()
        driver().serve(state.ctypes.data, 0, PAUSES)
        seconds.append(time.perf_counter() - start)
    return round(PAUSES * PATIENCE / min(seconds))


class _Thread:
    """A thread that serves runs, and the lock on which it sleeps between them."""

    def __init__(self, team: Team) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()
        self.cpu: int | None = None
        self.thread = threading.Thread(
            target=self.serve, args=(team, driver().serve), name="tinygraph", daemon=True
        )
        self.thread.start()

    def serve(self, team: Team, serve: Callable[[int, int, int], int]) -> None:
        seen = 0
        while not team.closed:
            seen = serve(team.state.ctypes.data, seen, patience())
            team.parked.append(self)
            if team.closed or team.joinable(seen):  # the waking thread may have looked too early
                with suppress(ValueError):  # just now taken from there, to be woken
                    team.parked.remove(self)
                    continue
            self.bell.acquire()

    def move(self, cpu: int) -> None:
        os.sched_setaffinity(self.thread.native_id or 0, {cpu})
        self.cpu = cpu


class Team:
    """Runs launch tables on one or more threads.

    Attributes:
        lock: held during a run on several threads. Fork waits for it, and a child starts without
            workers.
    """

    def __init__(self) -> None:
        self.closed = False
        self.lock = new_lock(TEAMS)
        self._walk, self._lead = driver().walk, driver().lead
        self._reset()
        _teams.add(self)

    def _reset(self) -> None:
        self.state = words(STATE_WORDS)
        self.workers: list[_Thread] = []
        self.parked: list[_Thread] = []
        self.most = MOST_THREADS  # workers
        self.runs = 0  # of which each has a number
        self.going = 0  # the number of the run that is about to begin, or goes on
        self._cpus = allowed_cpus()
        self._caller_cpu = -1

    def run(self, table: LaunchTable, threads: int = 1) -> None:
        """Runs a table and returns when all of it is complete.

        On one thread no lock is taken: two runs of one table at a time are the caller's mistake. A
        table with devices is walked by one thread if there are fewer than devices. One whose
        exchanges are apart has one thread more, or is walked if there is none.

        Raises:
            BaseException: what a signal's handler has raised, where the table has a desk.
        """
        if threads < table.together:
            if self._walk(table.address):
                stop()
            return
        threads, least = table.devices or threads + table.apart, max(table.devices - 1, table.apart)
        with self.lock:
            self._start(threads - 1)
            if len(self.workers) < least:
                stopped = self._walk(table.address)
            else:
                self._place()
                self.going = self.runs = self.runs + 1
                self._wake()
                stopped = self._lead(self.state.ctypes.data, table.address, threads)
                self.going = 0
        if stopped:
            stop()

    def joinable(self, seen: int) -> bool:
        """Whether a run later than number ``seen`` is about to begin, or goes on and has room."""
        gate = int(self.state[GATE])
        full = (gate & OPEN - 1) >= self.state[LIMIT]
        return self.going > seen and not (full and gate >> INSIDE_BITS + 1 == self.going)

    def _start(self, count: int) -> None:
        """Starts workers, up to ``count``, as far as the system lets this process have threads."""
        while len(self.workers) < min(count, self.most) and not self.closed:
            try:
                self.workers.append(_Thread(self))
            except RuntimeError:
                self.most = len(self.workers)
            self._caller_cpu = -1

    def _wake(self) -> None:
        # one that parks just now is missed, but sees that a run is going on
        while self.parked:
            self.parked.pop().bell.release()

    def _place(self) -> None:
        """Keeps the workers off the caller's core, as long as there is a core for each."""
        if not _PINS or len(self.workers) >= len(self._cpus):
            return
        here = _current_cpu()
        if here == self._caller_cpu:
            return
        free = [cpu for cpu in self._cpus if cpu not in {here, *(w.cpu for w in self.workers)}]
        try:
            for worker in self.workers:
                if worker.cpu in (None, here):
                    worker.move(free.pop())
        except OSError:  # the allowed processors changed, or pinning is not permitted
            self._cpus = []
        self._caller_cpu = here

    def close(self) -> None:
        """Ends the workers; runs after this one use the caller's thread alone."""
        with self.lock:
            self.closed = True
            self._wake()
            for worker in self.workers:
                worker.thread.join()
            self.workers.clear()


@cache
def _getcpu() -> Callable[[], int]:
    return ctypes.PyDLL(None).sched_getcpu


def _current_cpu() -> int:
    return _getcpu()()


@cache
def team() -> Team:
    """The team of this process."""
    return Team()


_teams: weakref.WeakSet[Team] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_teams):
        each._reset()


def _at_exit() -> None:
    # A worker must have left native code before the interpreter frees what it reads.
    for each in list(_teams):
        each.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
