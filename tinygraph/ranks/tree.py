"""One order of sums for any number of ranks: a fixed binary tree over the shards of a batch.

The leaves are the shards, numbered from 0. The tree over n leaves halves at the largest power of
two below n. A rank holds neighbouring shards: it adds up what whole subtrees it holds, and the rest
of the tree is added up from all ranks' subtrees. So every element is summed in one order, whoever
holds what, which no sum of MPI promises.
"""

from __future__ import annotations

from functools import cache

import numpy as np

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


def pieces(rank: int, ranks: int, shards: int) -> tuple[Subtree, ...]:
    """The largest whole subtrees of the shards that a rank holds, left to right."""
    return pieces_of(shards_of(rank, ranks, shards), shards)


@cache
def pieces_of(held: range, shards: int) -> tuple[Subtree, ...]:
    """The largest whole subtrees of neighbouring shards, left to right."""
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
