"""The world over MPI: exchanges in pairs, which sleep while they wait and end if a rank is missing.

MPI spins while it waits, which takes the core from a rank that computes; so requests are looked at
in bursts with naps in between. One look between two naps would be too few: each moves only a few
pieces of a long message (28 MB: 362 ms; with 64 looks 25 ms, as fast as spinning).
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from tinygraph.ranks.world import CHECK, RankLostError
from tinygraph.settings import settings

from . import failures
from .messages import NativeMessages

SHORT = 256  # bytes of a gathered value that are sent with its length
LOOKS = 64  # at requests between two naps
NAPS = (0.0, 2e-5, 5e-5, 2e-4, 1e-3)  # seconds, the longer the wait, the longer
DATA, VALUE, LEFT = 1, 2, 3  # tags
TOLERANT = "OMPI_MCA_mpi_ft_enable"  # set by Open MPI's mpiexec --with-ft ulfm


class Connection:
    """The ranks of MPI's world; see ``tinygraph.ranks.world.World``."""

    def __init__(self) -> None:
        self.doing = "the start"
        self.tolerant = os.environ.get(TOLERANT) == "1"
        self.adopt(MPI.COMM_WORLD.Dup())
        local = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = local.Get_rank(), local.Get_size()
        self.messages = NativeMessages(self)
        self.cpus = _share_processors(local.allgather(_cpus()), self.local_rank)

    def adopt(self, comm: MPI.Intracomm) -> None:
        """This rank is one of this communicator's."""
        self.comm = comm
        self.comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.ended: dict[int, str] = {}  # ranks that have left, and at what
        self.places: list[tuple[str, int]] = []
        self.places = self.gather((MPI.Get_processor_name(), os.getpid()))

    def agree(self, done: bool) -> bool:
        try:
            return bool(self.comm.Agree(int(done)))
        except MPI.Exception:
            return False

    def recover(self) -> None:
        before = self.places
        while True:
            try:
                self.comm.Revoke()  # who still waits for an old message learns of it
                self.adopt(self.comm.Shrink())
                break
            except (MPI.Exception, RankLostError):
                continue  # another one has died meanwhile
        self.messages.far = len({host for host, _ in self.places}) > 1
        self.messages.over(self.comm)
        dead = [f"rank {r} (process {p[1]})" for r, p in enumerate(before) if p not in self.places]
        if self.rank == 0 and dead:
            print(f"tinygraph: {', '.join(dead)} of {len(before)} ranks died in {self.doing}; "
                  f"{self.size} go on", file=sys.stderr, flush=True)  # fmt: skip

    def lose(self) -> None:
        """A rank has died: all others learn that no message of these ranks counts any more."""
        self.comm.Revoke()
        self.messages.lose()

    def is_loss(self, error: int) -> bool:
        """Whether an error of MPI says that a rank has died, and the others can go on."""
        kinds = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)
        return self.tolerant and MPI.Get_error_class(error) in kinds

    def exchange(self, send: Sequence[np.ndarray], receive: Sequence[np.ndarray]) -> None:
        self._exchange(send, receive, DATA)

    def _exchange(
        self, send: Sequence[np.ndarray], receive: Sequence[np.ndarray], tag: int
    ) -> None:
        requests: list[MPI.Request] = []
        sources: list[tuple[str, int, int]] = []
        for distance in range(1, self.size):
            to, source = (self.rank + distance) % self.size, (self.rank - distance) % self.size
            if receive[source].size:
                requests.append(self.comm.Irecv(_bytes(receive[source]), source, tag))
                sources.append(("from", source, receive[source].nbytes))
            if send[to].size:
                requests.append(self.comm.Isend(_bytes(send[to]), to, tag))
                sources.append(("to", to, send[to].nbytes))
        self._wait(requests, sources)

    def gather(self, value: Any) -> list[Any]:
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        own = np.zeros(SHORT, np.uint8)  # the length, and all of a value that is short
        own[:8] = np.array([data.size]).view(np.uint8)
        own[8 : 8 + data.size] = data[: SHORT - 8]
        first = [np.empty(SHORT, np.uint8) for _ in range(self.size)]
        self._exchange([own] * self.size, first, VALUE)
        first[self.rank] = own
        sizes = [int(f[:8].view(np.int64)[0]) for f in first]
        rest = [np.empty(max(n - (SHORT - 8), 0), np.uint8) for n in sizes]
        self._exchange([data[SHORT - 8 :]] * self.size, rest, VALUE)
        rest[self.rank] = data[SHORT - 8 :]
        found = (np.concatenate([f[8:], r])[:n] for f, r, n in zip(first, rest, sizes, strict=True))
        return [pickle.loads(f.tobytes()) for f in found]

    def end(self, why: str) -> NoReturn:
        failures.end(self, why)

    def _wait(self, requests: list[MPI.Request], peers: list[tuple[str, int, int]]) -> None:
        """Until requests are complete. If a rank is missing, all ranks end.

        Raises:
            RankLostError: one has died, and the others can go on.
        """
        try:
            self._look(requests, peers)
        except MPI.Exception as error:
            if not self.is_loss(error.Get_error_code()):
                raise
            self.comm.Revoke()
            raise RankLostError(f"a rank has died in {self.doing}") from None

    def _look(self, requests: list[MPI.Request], peers: list[tuple[str, int, int]]) -> None:
        began = checked = 0.0
        rounds, done = 0, [MPI.Status() for _ in requests]
        while True:
            for _ in range(LOOKS):
                if MPI.Request.Testall(requests, done):
                    self._complete(done, peers)
                    return
            now = time.monotonic()
            began, checked = began or now, checked or now
            if now - checked > CHECK:
                checked = now
                open = [p for r, p in zip(requests, peers, strict=True) if not r.Get_status()]
                self.look_for_missing(open, now - began)
            time.sleep(NAPS[min(rounds // 20, len(NAPS) - 1)])
            rounds += 1

    def _complete(self, done: list[MPI.Status], peers: list[tuple[str, int, int]]) -> None:
        """That each rank has sent as much as was waited for: no other message came in its place."""
        for status, (way, rank, bytes) in zip(done, peers, strict=True):
            if way == "from" and (got := status.Get_count(MPI.BYTE)) != bytes:
                self.end(unequal(f"rank {rank} sent {got:,} bytes where {bytes:,} are due"))

    def look_for_missing(self, open: list[tuple[str, int, int]], waited: float) -> None:
        """Ends all ranks if one that these messages are from or to does not take part any more.

        Args:
            open: ("from" or "to", rank, bytes) of each message; waited: seconds.
        """
        status = MPI.Status()
        while self.comm.Iprobe(MPI.ANY_SOURCE, LEFT, status):
            self.ended[status.source] = self.comm.recv(source=status.source, tag=LEFT)
        for rank in sorted({p[1] for p in open}):
            if rank in self.ended:
                self._give_up(f"rank {rank} has ended, at {self.ended[rank]}", open)
            if not self.places:  # not known yet
                continue
            host, process = self.places[rank]
            if host == self.places[self.rank][0] and not failures.alive(process):
                if self.tolerant:
                    self.lose()
                    raise RankLostError(f"rank {rank} (process {process}) has died")
                self._give_up(f"rank {rank} (process {process}) has died", open)
        if waited > settings.timeout:
            missing = ", ".join(f"rank {r}" for r in sorted({p[1] for p in open}))
            self._give_up(
                f"{missing} did not take part within {waited:.1f} s (TINYGRAPH_TIMEOUT)", open
            )

    def _give_up(self, why: str, open: list[tuple[str, int, int]]) -> None:
        bytes = ", ".join(f"{n:,} bytes {way} rank {r}" for way, r, n in open)
        failures.end(self, f"{why}; waited for {bytes}")


def unequal(what: str) -> str:
    return f"{what}: ranks do not make the same steps"


def _bytes(array: np.ndarray) -> Any:
    return [array.reshape(-1).view(np.uint8), MPI.BYTE]


def _cpus() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _share_processors(sets: list[frozenset[int]], local_rank: int) -> frozenset[int]:
    """Gives this rank its share of the processors that all ranks of its host may use, unless the
    launcher has bound them apart. Returns those that it may use.
    """
    own = sets[local_rank]
    if len(sets) == 1 or any(s != own for s in sets) or not own:
        return own
    cpus, ranks = sorted(own), len(sets)
    first, last = (len(cpus) * r // ranks for r in (local_rank, local_rank + 1))
    share = cpus[first:last] or [cpus[local_rank % len(cpus)]]
    os.sched_setaffinity(0, share)
    return frozenset(share)


def connect() -> Connection:
    """The world over MPI, whose ranks end together from now on."""
    found = Connection()
    failures.install(found)
    return found
