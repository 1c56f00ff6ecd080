"""One rank that fails ends all of them, with one message; neither MPI nor its launcher does that.

An exception that nobody catches leaves the other ranks waiting, and so does an early exit. So what
Python would print ends in ``MPI_Abort``, and a rank that exits tells the others, which end as soon
as they wait for it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import sys
import termios
import threading
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from mpi4py import MPI

from tinygraph.ranks.world import FAILED

if TYPE_CHECKING:
    from .connection import Connection


def end(world: Connection, why: str) -> NoReturn:
    """Prints one line and ends all ranks."""
    sys.stdout.flush()
    print(f"tinygraph: rank {world.rank} of {world.size} ends all ranks in {world.doing}: {why}",
          file=sys.stderr, flush=True)  # fmt: skip
    wait_until_read(sys.stderr.fileno())
    world.comm.Abort(FAILED)
    os._exit(FAILED)  # no MPI returns from Abort


def wait_until_read(file: int, most: float = 1.0) -> None:
    """Until the launcher has read what is in a pipe: it drops the rest when a rank aborts."""
    end, left = time.monotonic() + most, bytearray(4)
    while time.monotonic() < end:
        try:
            fcntl.ioctl(file, termios.FIONREAD, left)
        except OSError:
            return  # it is no pipe
        if not any(left):
            return
        time.sleep(1e-3)


def alive(process: int) -> bool:
    """Whether a process of this host runs; one that was killed and not yet waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")
    except OSError:
        return True


def install(world: Connection) -> None:
    """Makes ranks end together."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        shown(kind, error, trace)
        end(world, _short(error))

    def thread_hook(given: Any) -> None:
        if given.exc_type is not SystemExit:
            traceback.print_exception(given.exc_type, given.exc_value, given.exc_traceback)
            end(world, f"thread {given.thread.name if given.thread else '?'}: "
                       f"{_short(given.exc_value)}")  # fmt: skip

    sys.excepthook, threading.excepthook = hook, thread_hook
    atexit.register(_leave, world)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _leave(world: Connection) -> None:
    """Tells the other ranks that this one has left, and waits for them: a rank that needs this one
    ends all.
    """
    from .connection import LEFT

    open: list[MPI.Request] = [
        world.comm.isend(world.doing, r, tag=LEFT) for r in range(world.size) if r != world.rank
    ]
    others = [r for r in range(world.size) if r != world.rank and r not in world.ended]
    open += [world.comm.irecv(source=r, tag=LEFT) for r in others]
    open.append(world.comm.Ibarrier())
    while not MPI.Request.testall(open)[0]:
        time.sleep(1e-3)
        if any(not alive(p) for host, p in world.places if host == world.places[world.rank][0]):
            end(world, "a rank has died while the others exit")
