"""MPI for compiled code: the addresses of its functions, and what watches over those who wait."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from tinygraph.ranks.world import CHECK, Pending, RankLostError

if TYPE_CHECKING:
    from .connection import Connection

COMM, FAILED = 4, 7  # words of ``functions``
_WATCH = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)


class NativeMessages:
    """See ``tinygraph.ranks.world.Messages``."""

    def __init__(self, world: Connection) -> None:
        self.world = world
        self.far = len({host for host, _ in world.places}) > 1
        self.when_lost: Callable[[], None] | None = None
        self._pending: list[Pending] = []
        self._began: tuple[int, str, float] = (-1, "", 0.0)  # wait, what is done, when
        self._watch_function = _WATCH(self._watch)  # kept alive
        library = ctypes.CDLL(MPI.__file__)  # which finds what it is linked with
        names = ("MPI_Isend", "MPI_Irecv", "MPI_Test", "MPI_Get_count")
        addresses = [ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for n in names]
        handles = [0, MPI._handleof(MPI.BYTE)]
        watch = ctypes.cast(self._watch_function, ctypes.c_void_p).value or 0
        # a handle is an int or a pointer: its bits, in a word
        words = [x & (1 << 64) - 1 for x in (*addresses, *handles, watch, 0)]
        self.functions = np.array(words, np.uint64).view(np.int64)
        self.over(world.comm)

    def over(self, comm: MPI.Comm) -> None:
        """Messages go over this communicator, all of whose ranks live."""
        self.functions[COMM] = np.uint64(MPI._handleof(comm) & (1 << 64) - 1).view(np.int64)
        self.functions[FAILED] = 0

    @property
    def lost(self) -> bool:
        return bool(self.functions[FAILED])

    def lose(self) -> None:
        """Compiled code stops waiting, and leaves out what is left of its run."""
        if self.when_lost is not None:
            self.when_lost()
        self.functions[FAILED] = 1

    def expect(self, pending: Pending) -> int:
        self._pending.append(pending)
        return len(self._pending) - 1

    def _watch(self, number: int, error: int) -> None:
        """Called from native code, which no exception may enter: whatever goes wrong ends all."""
        try:
            if error > 0 and self.world.is_loss(error):
                self.world.lose()
                return
            if number < 0 or error > 0:
                self.world.end(f"MPI failed: {MPI.Get_error_string(error)}")
            pending, now = self._pending[number], time.monotonic()
            if error:
                self._unequal(pending)
            open = [p for p, done in zip(pending.peers, pending.done, strict=True) if not done]
            if self._began[:2] != (number, self.world.doing):
                self._began = number, self.world.doing, now - CHECK
            self.world.look_for_missing(open, now - self._began[2])
        except RankLostError:
            return  # compiled code sees it
        except BaseException as why:
            self.world.end(f"{type(why).__name__}: {why}")

    def _unequal(self, pending: Pending) -> None:
        from .connection import unequal

        ranks = sorted({rank for way, rank, _ in pending.peers if way == "from"})
        names = ", ".join(f"rank {r}" for r in ranks)
        self.world.end(unequal(f"a message of another size than is due came from one of {names}"))
