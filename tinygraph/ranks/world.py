"""The ranks: the processes that a launcher such as ``mpiexec`` started together, and this one.

Without a launcher a process is alone: rank 0 of 1. What the ranks do together is made of two
exchanges, so that whatever stands on them is written, and tested, once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

# How many ranks there are: by the launchers of MPICH, Intel MPI and Cray, of Open MPI, of PMIx.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "PMIX_SIZE")
FAILED = 70  # exit status where a rank ends all: EX_SOFTWARE
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


class DistributedError(RuntimeError):
    """Ranks that cannot work together, or one that is missing."""


class RankLostError(DistributedError):
    """A rank has died, and the others can go on: see ``World.recover``."""


@dataclass
class Pending:
    """Messages that compiled code waits for.

    Attributes:
        peers: of each message: "from" or "to", the rank, the bytes.
        done: a word for each, which is not 0 once it is complete.
    """

    peers: list[tuple[str, int, int]]
    done: np.ndarray


class Messages(Protocol):
    """How compiled code sends and receives, without Python.

    Attributes:
        functions: words: the addresses of MPI_Isend, MPI_Irecv, MPI_Test and MPI_Get_count, the
            communicator, the datatype of bytes, and the address of ``void watch(number, error)``,
            to be called every ``CHECK`` seconds of a wait, and with what is wrong: MPI's error, or
            -1 for a message of another size than is due; last whether a rank is lost, so that waits
            return.
        far: whether there are ranks on other hosts.
        lost: whether a rank has died, so that no message of these ranks counts any more.
        when_lost: called then, while compiled code waits.
    """

    functions: np.ndarray
    far: bool
    when_lost: Callable[[], None] | None

    @property
    def lost(self) -> bool: ...

    def expect(self, pending: Pending) -> int:
        """A number for what a wait is for, to be told to ``watch``."""


CHECK = 0.05  # seconds between two looks at whether the others are still there


class World(Protocol):
    """All ranks, seen from one of them.

    Attributes:
        rank, size: this one's number, and how many there are.
        local_rank, local_size: the same among the ranks of this host.
        doing: what this rank does at present, for messages about ranks that are missing.
        messages: how compiled code exchanges; None if this rank is alone.
        tolerant: whether the others can go on when a rank has died.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    doing: str
    messages: Messages | None
    tolerant: bool

    def exchange(self, send: Sequence[np.ndarray], receive: Sequence[np.ndarray]) -> None:
        """Sends ``send[r]`` to each other rank r, and fills ``receive[r]`` with what r sent.

        Arrays are contiguous; those of this rank itself are not touched, empty ones not sent. Every
        rank calls it, in the same order as all its other exchanges.
        """

    def gather(self, value: Any) -> list[Any]:
        """A small value of each rank, in their order, for all of them."""

    def end(self, why: str) -> NoReturn:
        """Ends all ranks with this message."""

    def agree(self, done: bool) -> bool:
        """Whether all ranks are done, and none has died."""

    def recover(self) -> None:
        """Goes on without the ranks that have died, with other numbers. All others call it."""


class Alone:
    """The only rank."""

    rank, size, local_rank, local_size, doing = 0, 1, 0, 1, ""
    messages: Messages | None = None
    tolerant = False

    def exchange(self, send: Sequence[np.ndarray], receive: Sequence[np.ndarray]) -> None:
        pass

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def end(self, why: str) -> NoReturn:
        print(f"tinygraph: {why}", file=sys.stderr, flush=True)
        os._exit(FAILED)

    def agree(self, done: bool) -> bool:
        return done

    def recover(self) -> None:
        raise AssertionError("there are no other ranks")


_found: World | None = None


def require_same(world: World, facts: dict[str, Any]) -> None:
    """That all ranks have the same facts, by name.

    Raises:
        DistributedError: a rank differs from rank 0; names it and what differs.
    """
    first, *others = world.gather(facts)
    for rank, theirs in enumerate(others, 1):
        for what, value in first.items():
            if theirs[what] != value:
                raise DistributedError(
                    f"rank {rank} differs from rank 0 in {what}: {theirs[what]} instead of {value}"
                )


def launched() -> bool:
    """Whether a launcher started this process as one of several ranks, by the environment."""
    sizes = [os.environ[name] for name in SIZES if name in os.environ]
    if sizes:
        return any(size.isdecimal() and int(size) > 1 for size in sizes)
    return any(name in os.environ for name in RANKS)


def world() -> World:
    """The ranks that this process is one of; connects to them when first asked.

    Raises:
        DistributedError: a launcher started several ranks, and mpi4py is missing.
    """
    global _found
    if _found is None:
        _found = _connected() if launched() else Alone()
    return _found


def _connected() -> World:
    try:
        importlib.import_module("mpi4py")
    except ImportError:
        raise DistributedError(
            "a launcher started this process as one of several ranks, which needs mpi4py: "
            "pip install 'tinygraph[mpi]'"
        ) from None
    found: World = importlib.import_module("tinygraph_mpi").connect()
    return found
