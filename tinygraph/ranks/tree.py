"""One sum for any number of ranks: a fixed binary tree over the shards of a batch.

The leaves are the shards, numbered from 0. The tree over n leaves halves at the largest power of
two below n. A rank holds neighbouring shards: it adds up what whole subtrees it holds, and the rest
of the tree is added up from all ranks' subtrees. So every element is summed in one order, whoever
holds what, which no sum of MPI promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from .world import World

Subtree = tuple[int, int]  # its first shard, and how many


def shards_of(rank: int, ranks: int, shards: int) -> range:
    """The shards that a rank holds: neighbours, as evenly as can be."""
    return range(rank * shards // ranks, (rank + 1) * shards // ranks)


def halves(first: int, size: int) -> tuple[Subtree, Subtree]:
    """The two subtrees of a subtree of at least two shards."""
    left = 1 << (size - 1).bit_length() - 1
    return (first, left), (first + left, size - left)


@cache
def siblings(shards: int) -> dict[tuple[Subtree, Subtree], Subtree]:
    """The subtree that each pair of halves makes."""
    found, open = {}, [(0, shards)]
    while open:
        tree = open.pop()
        if tree[1] > 1:
            found[halves(*tree)] = tree
            open += halves(*tree)
    return found


@cache
def pieces(rank: int, ranks: int, shards: int) -> tuple[Subtree, ...]:
    """The largest whole subtrees of the shards that a rank holds, left to right."""
    held = shards_of(rank, ranks, shards)
    found: list[Subtree] = []

    def visit(first: int, size: int) -> None:
        if first >= held.stop or first + size <= held.start:
            return
        if held.start <= first and first + size <= held.stop:
            found.append((first, size))
            return
        for half in halves(first, size):
            visit(*half)

    visit(0, shards)
    return tuple(found)


def fold(values: dict[Subtree, np.ndarray], first: int, size: int) -> np.ndarray:
    """The sum of a subtree from sums of subtrees of it, of which it overwrites the left ones."""
    if (first, size) in values:
        return values[first, size]
    left, right = (fold(values, *half) for half in halves(first, size))
    return np.add(left, right, out=left)


@dataclass
class ShardSum:
    """Adds up one array for each shard of a step, over all ranks.

    Each held shard's array is written to ``row()`` and handed to ``add`` in the order of shards;
    ``total`` then is the sum over all shards, the same bits on every rank.
    """

    world: World
    shards: int
    new: Callable[[], np.ndarray]  # memory for a shard's array: flat, contiguous
    _free: list[np.ndarray] = field(default_factory=list)
    _stack: list[tuple[Subtree, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._total = self.new()
        self._got: dict[int, np.ndarray] = {}

    def row(self) -> np.ndarray:
        """Memory for the next shard's array."""
        return self._free.pop() if self._free else self.new()

    def add(self, shard: int, row: np.ndarray) -> None:
        """Takes a shard's array, and adds up the subtrees that are whole with it."""
        tree, joins = (shard, 1), siblings(self.shards)
        while self._stack and (whole := joins.get((self._stack[-1][0], tree))):
            _, left = self._stack.pop()
            np.add(left, row, out=left)
            self._free.append(row)
            tree, row = whole, left
        self._stack.append((tree, row))

    def total(self) -> np.ndarray:
        """The sum over all shards; its memory is used again by the next sum."""
        world, ranks = self.world, self.world.size
        own = [row for _, row in self._stack]
        self._free += own
        self._stack.clear()
        if ranks == 1:
            return own[0]
        count, me, dtype = self._total.size, world.rank, self._total.dtype
        slices = [slice(count * r // ranks, count * (r + 1) // ranks) for r in range(ranks)]
        mine = slices[me].stop - slices[me].start
        got = []
        for r in range(ranks):
            shape = len(pieces(r, ranks, self.shards)), mine
            if r not in self._got or self._got[r].shape != shape:
                self._got[r] = np.empty(shape, dtype)
            got.append(self._got[r])
        single = len(own) == 1
        send = [own[0][s] if single else np.stack([row[s] for row in own]) for s in slices]
        world.exchange(send, got)
        for number, row in enumerate(own):
            got[me][number] = row[slices[me]]
        trees = [t for r in range(ranks) for t in pieces(r, ranks, self.shards)]
        rows = [row for part in got for row in part]
        total = fold(dict(zip(trees, rows, strict=True)), 0, self.shards)
        self._total[slices[me]] = total
        world.exchange([self._total[slices[me]]] * ranks, [self._total[s] for s in slices])
        return self._total
