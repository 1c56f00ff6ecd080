"""Settings of the whole process that are others while something is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..graph.locks import TABLES, new_lock

T = TypeVar("T")


class ProcessSetting(Generic[T]):
    """One of them, which any number of threads want changed at once.

    Args:
        get: reads it; ``set`` writes it.
        other: what it is meanwhile, by what it was.
    """

    def __init__(
        self, get: Callable[[], T], set: Callable[[T], object], other: Callable[[T], T]
    ) -> None:
        self._get, self._set, self._other = get, set, other
        self._lock = new_lock(TABLES)
        self._users = 0
        self._before, self._meanwhile = get(), get()

    @contextmanager
    def changed(self) -> Iterator[None]:
        """It is as before when the last thread is done, unless somebody else has set it."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = self._get()
                self._set(self._other(self._before))
                self._meanwhile = self._get()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and self._get() == self._meanwhile:
                    self._set(self._before)
