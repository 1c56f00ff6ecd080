"""Locks of what several threads share. Fork waits for all of them: a child then finds nothing half
done, and nothing locked by a thread that it does not have.

Locks are taken in order, which is that of their levels, then that of their age: a thread that holds
one takes only later ones, and fork takes all of them in that order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from threading import Condition, Lock, RLock, get_ident
from weakref import WeakKeyDictionary

PROGRAMS, TEAMS, TABLES = range(3)  # levels: programs run on teams; tables are looked up anywhere

_numbers = count()
_places: WeakKeyDictionary[RLock | SharedLock, tuple[int, int]] = WeakKeyDictionary()
_forking: list[Locks] = []


def new_lock(level: int) -> RLock:
    """A re-entrant lock that fork waits for."""
    lock = RLock()
    _places[lock] = (level, next(_numbers))
    return lock


class SharedLock:
    """A re-entrant lock that is held by one thread alone, or by any number that share it; fork
    waits for both.

    Whoever wants it passes the gate first. Alone, a thread keeps the gate until it is done, and
    waits until those that share it have left; to share it, it notes that and opens the gate, so
    that others may follow. What a thread shares itself it does not wait for.

    Attributes:
        gate: a lock that is held for a moment to share this one.
        owner: the thread that holds it alone, or 0.
        sharing: the threads that share it. Each adds itself with the gate held and removes itself,
            which are atomic changes of a list, and calls ``left`` if others are ``awaited``.
    """

    def __init__(self, level: int) -> None:
        self.gate = RLock()
        self.owner, self._depth = 0, 0
        self.sharing: list[int] = []
        self.awaited = 0  # threads that wait for others to leave
        self._change = Condition(Lock())
        _places[self] = (level, next(_numbers))

    def acquire(self) -> None:
        self.gate.acquire()
        try:
            self._drain(get_ident())
        except BaseException:
            self.gate.release()
            raise
        self.owner = get_ident()
        self._depth += 1

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self.owner = 0
        self.gate.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _drain(self, me: int) -> None:
        """Waits until no other thread shares it."""
        if not self._shared_by_others(me):
            return
        with self._change:
            self.awaited += 1
            try:
                while self._shared_by_others(me):
                    self._change.wait()
            finally:
                self.awaited -= 1

    def _shared_by_others(self, me: int) -> bool:
        return bool(self.sharing) and any(thread != me for thread in tuple(self.sharing))

    def left(self) -> None:
        """Tells those who wait that a thread has left."""
        with self._change:
            self._change.notify_all()


class Locks:
    """Several of these locks, held together and alone by ``with``."""

    def __init__(self, locks: Iterable[RLock | SharedLock]) -> None:
        self.locks = sorted(locks, key=_places.__getitem__)

    def __enter__(self) -> None:
        for lock in self.locks:
            lock.acquire()

    def __exit__(self, *_: object) -> None:
        for lock in reversed(self.locks):
            lock.release()


def _before_fork() -> None:
    every = Locks(list(_places))
    every.__enter__()
    _forking.append(every)


def _after_fork() -> None:
    _forking.pop().__exit__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
