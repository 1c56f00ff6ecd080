"""Locks of what several threads share. Fork waits for all of them: a child then finds nothing half
done, and nothing locked by a thread that it does not have.

Locks are taken in order, which is that of their levels, then that of their age: a thread that holds
one takes only later ones, and fork takes all of them in that order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from threading import RLock
from weakref import WeakKeyDictionary

PROGRAMS, TEAMS, TABLES = range(3)  # levels: programs run on teams; tables are looked up anywhere

_numbers = count()
_places: WeakKeyDictionary[RLock, tuple[int, int]] = WeakKeyDictionary()
_forking: list[Locks] = []


def new_lock(level: int) -> RLock:
    """A re-entrant lock that fork waits for."""
    lock = RLock()
    _places[lock] = (level, next(_numbers))
    return lock


class Locks:
    """Several of these locks, held together by ``with``."""

    def __init__(self, locks: Iterable[RLock]) -> None:
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
