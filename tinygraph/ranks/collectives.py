"""What the operators that all ranks compute together do to arrays.

Each works in place on the flat memory of its result, which begins with this rank's own part, so
that compiled code and the NumPy meaning are one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .levels import levels
from .tree import fold, pieces_of, shards_of
from .world import DistributedError, World

KINDS = ("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce")


def collective(world: World, kind: str, memory: np.ndarray, root: int = 0) -> None:
    """Computes in place, with all ranks, what ``memory`` [n] shall hold.

    all_reduce: the sum. reduce: the sum on ``root``, zeros elsewhere. broadcast: what root has.
    all_gather: the first n / size elements of each rank, in their order. reduce_scatter: of the sum
    the rank-th of size equal parts, then zeros.

    Raises:
        DistributedError: the ranks do not compute the same.
    """
    if world.size == 1:
        return
    mine = kind, memory.dtype.name, memory.size, root
    for rank, theirs in enumerate(world.gather(mine)):
        if theirs != mine:
            raise DistributedError(
                f"rank {world.rank} computes {_told(*mine)}, rank {rank} {_told(*theirs)}"
            )
    if memory.size:
        FUNCTIONS[kind](world, memory, root)


def _told(kind: str, dtype: str, size: int, root: int) -> str:
    return f"{kind} of {size} {dtype}" + (f", root {root}" if root else "")


def _all_reduce(world: World, memory: np.ndarray, root: int) -> None:
    cuts = [memory.size * r // world.size for r in range(world.size + 1)]
    slices = [memory[a:b] for a, b in pairwise(cuts)]
    slices[world.rank][...] = _sum_of_own(world, slices)
    world.exchange([slices[world.rank]] * world.size, slices)


def _sum_of_own(world: World, slices: list[np.ndarray]) -> np.ndarray:
    """The sum over all ranks of this rank's slice, by the tree over ranks."""
    own = slices[world.rank]
    got = np.empty((world.size, own.size), own.dtype)
    world.exchange(slices, list(got))
    got[world.rank] = own
    return fold({(r, 1): got[r] for r in range(world.size)}, 0, world.size)


def _reduce_scatter(world: World, memory: np.ndarray, root: int) -> None:
    parts = memory.reshape(world.size, -1)
    total = _sum_of_own(world, list(parts))
    parts[0], parts[1:] = total, 0


def _all_gather(world: World, memory: np.ndarray, root: int) -> None:
    parts = memory.reshape(world.size, -1)
    if world.rank:
        parts[world.rank] = parts[0]
    world.exchange([parts[world.rank]] * world.size, list(parts))


def _broadcast(world: World, memory: np.ndarray, root: int) -> None:
    none = memory[:0]
    if world.rank == root:
        world.exchange([memory] * world.size, [none] * world.size)
    else:
        got = [none] * world.size
        got[root] = memory
        world.exchange([none] * world.size, got)


def _reduce(world: World, memory: np.ndarray, root: int) -> None:
    none = memory[:0]
    if world.rank != root:
        send = [none] * world.size
        send[root] = memory
        world.exchange(send, [none] * world.size)
        memory[...] = 0
        return
    got = np.empty((world.size, memory.size), memory.dtype)
    world.exchange([none] * world.size, list(got))
    got[root] = memory
    memory[...] = fold({(r, 1): got[r] for r in range(world.size)}, 0, world.size)


FUNCTIONS = {
    "all_reduce": _all_reduce,
    "reduce_scatter": _reduce_scatter,
    "all_gather": _all_gather,
    "broadcast": _broadcast,
    "reduce": _reduce,
}
assert (*FUNCTIONS,) == KINDS


def sent_bytes(kind: str, bytes: int, ranks: int) -> int:
    """Bytes that each rank sends, on average, for a result of ``bytes``."""
    once = bytes * (ranks - 1) // ranks
    return {"all_reduce": 2 * once}.get(kind, once)


def summed_bytes(world: World, bytes: int, shards: int, gathers: bool = True) -> int:
    """Bytes that a rank sends for a sum over shards: at each level its peers' slices of all it has,
    then, if all ranks need all of the sum, its own slice of it to each of them.
    """
    sent, left = 0, bytes
    for level in levels(world.rank, world.size):
        held = [shards_of(r, world.size, shards) for r in level.held[level.me]]
        trees = pieces_of(range(held[0].start, held[-1].stop), shards)
        own = level.slices(bytes, world.size)[level.me]
        mine = own.stop - own.start
        sent += len(trees) * (left - mine) + gathers * len(level.others) * mine
        left = mine
    return sent


def gathered_bytes(world: World, own: int) -> int:
    """Bytes that a rank with ``own`` sends, so that all ranks have all of an array."""
    sent, held = 0, own
    for level in reversed(levels(world.rank, world.size)):
        sent += len(level.others) * held
        held *= len(level.peers)
    return sent
