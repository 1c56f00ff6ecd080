"""Several callers of one program at a time: each runs in intermediate memory of its own."""

from __future__ import annotations

import os
from collections import deque
from threading import Lock
from weakref import WeakSet

from ..graph.locks import TABLES, SharedLock, new_lock
from .backend import Runner, Twofold


class Callers:
    """The runners of one program, one for each of its callers at a time, up to the number of
    processors: more would not run faster and take more memory. Further callers wait in their order.

    A caller takes one with ``idle.pop()``, else from ``another``, and appends it to ``idle`` again;
    then it calls ``pass_on`` if others are ``waiting``. Both changes of the list are atomic.

    Attributes:
        lock: that of the program's parameters, which its callers share.
    """

    def __init__(self, first: Twofold, lock: SharedLock) -> None:
        self.first, self.lock = first, lock
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self.most = max(processors, 2)
        self._guard = new_lock(TABLES)
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self.idle: list[Runner] = [self.first]
        self.waiting: deque[_Turn] = deque()
        self._count = 1

    def pass_on(self) -> None:
        """Gives what is idle to who has waited longest."""
        with self._guard:
            while self.waiting and self.idle:
                try:
                    runner = self.idle.pop()
                except IndexError:  # a new caller was faster
                    return
                turn = self.waiting.popleft()
                turn.runner = runner
                turn.bell.release()

    def another(self, me: int) -> Runner:
        """A new runner, or the next that comes back; at once for a thread that runs already, as a
        signal's handler does that calls the program which it interrupts.
        """
        with self._guard:
            grows = self._count < self.most or me in self.lock.sharing
            if grows:
                self._count += 1
            else:
                turn = _Turn()
                self.waiting.append(turn)
        if grows:
            return self._made()
        self.pass_on()  # one may have come back before the turn was noted
        return self._awaited(turn)

    def _made(self) -> Runner:
        try:
            return self.first.twin()
        except BaseException:
            with self._guard:
                self._count -= 1
            raise

    def _awaited(self, turn: _Turn) -> Runner:
        try:
            turn.bell.acquire()
        except BaseException:  # Ctrl-C: the turn is given up, or what it has been given
            with self._guard:
                if turn.runner is not None:
                    self.idle.append(turn.runner)
                else:
                    self.waiting.remove(turn)
            self.pass_on()
            raise
        assert turn.runner is not None
        return turn.runner


class _Turn:
    """A caller that waits."""

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self.bell = Lock()
        self.bell.acquire()


_all: WeakSet[Callers] = WeakSet()


def _in_child() -> None:
    """A child has the thread that forked only: other callers are gone, with what they had."""
    for callers in tuple(_all):
        callers._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
