"""The sum of an array over all shards of a batch, as steps that compiled code makes.

Steps are additions, copies and messages between spans of memory. They follow from the number of
shards, the number of ranks and this rank's number, and are the same in every step of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .tree import Subtree, halves, pieces, shards_of, siblings
from .world import Messages

OWN, TOTAL = -1, -2  # the shard's array, where the sum goes
LARGEST = 1 << 30  # bytes of a message: MPI counts them in 32 bits


@dataclass(frozen=True, slots=True)
class Span:
    """So many elements of OWN, of TOTAL or of one of the sum's own memories."""

    memory: int
    first: int
    count: int

    def of(self, part: slice) -> Span:
        return Span(self.memory, self.first + part.start, part.stop - part.start)


@dataclass(frozen=True, slots=True)
class AddSpans:
    """target = left + right; the target may be one of them."""

    target: Span
    left: Span
    right: Span


@dataclass(frozen=True, slots=True)
class CopySpan:
    target: Span
    source: Span


@dataclass(frozen=True, slots=True)
class Send:
    """Begins to send; those to one rank arrive in their order."""

    source: Span
    rank: int


@dataclass(frozen=True, slots=True)
class Receive:
    """Begins to receive."""

    target: Span
    rank: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Until all messages that were begun are complete."""


SumStep = AddSpans | CopySpan | Send | Receive | Wait


class ShardSum:
    """Adds up one array for each shard of a batch, over all ranks.

    The steps of each held shard take its array as OWN. They are made in the order of shards; those
    of the ``last`` then make the sum over all shards in TOTAL, the same bits on every rank.

    Args:
        size, dtype: of the array.
        new: memory for so many elements of the dtype: flat, contiguous.
        gathers: whether TOTAL is all of the sum; else it is this rank's slice.
    """

    def __init__(
        self,
        rank: int,
        ranks: int,
        shards: int,
        size: int,
        dtype: str = "float32",
        new: Callable[[int, str], np.ndarray] = np.empty,
        gathers: bool = True,
    ):
        self._gathers = gathers
        self._dtype = np.dtype(dtype)
        self.rank, self.ranks, self.shards, self.size = rank, ranks, shards, size
        self.memories: list[np.ndarray] = []
        self.last = shards_of(rank, ranks, shards)[-1]
        self._new, self._zeros = new, -1
        self._steps: dict[int, tuple[SumStep, ...]] = {}
        self._push()

    def steps(self, shard: int, empty: bool = False) -> tuple[SumStep, ...]:
        """The steps of a held shard; zeros stand in place of the array of one that is empty."""
        if not empty:
            return self._steps[shard]
        if self._zeros < 0:
            self._zeros = self._memory(self.size).memory
            self.memories[self._zeros][...] = 0
        return tuple(_without_own(s, self._zeros) for s in self._steps[shard])

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._dtype.itemsize

    @property
    def sent(self) -> int:
        """Elements that this rank sends."""
        steps = (s for steps in self._steps.values() for s in steps)
        return sum(s.source.count for s in steps if isinstance(s, Send))

    def _memory(self, count: int) -> Span:
        self.memories.append(self._new(count, self._dtype.name))
        return Span(len(self.memories) - 1, 0, count)

    def _push(self) -> None:
        """Each shard joins the subtrees that are whole with it."""
        joins, free = siblings(self.shards), list[Span]()
        stack: list[tuple[Subtree, Span]] = []
        for shard in shards_of(self.rank, self.ranks, self.shards):
            steps: list[SumStep] = []
            tree, span = (shard, 1), Span(OWN, 0, self.size)
            while stack and (whole := joins.get((stack[-1][0], tree))):
                _, left = stack.pop()
                steps.append(AddSpans(left, left, span))
                if span.memory >= 0:
                    free.append(span)
                tree, span = whole, left
            if shard != self.last and span.memory == OWN:
                row = free.pop() if free else self._memory(self.size)
                steps.append(CopySpan(row, span))
                span = row
            stack.append((tree, span))
            if shard == self.last:
                steps += self._total(steps, [s for _, s in stack])
            self._steps[shard] = tuple(steps)

    def _total(self, before: list[SumStep], own: Sequence[Span]) -> Iterator[SumStep]:
        """From the sums of this rank's subtrees to the sum of all."""
        total = Span(TOTAL, 0, self.size)
        if self.ranks == 1:
            if before:
                step = before.pop()
                assert isinstance(step, AddSpans)
                yield replace(step, target=total)
            else:
                yield CopySpan(total, own[0])
            return
        slices = slices_of(self.size, self.ranks)
        mine = slices[self.rank]
        trees = {r: pieces(r, self.ranks, self.shards) for r in range(self.ranks)}
        width = mine.stop - mine.start
        leaves = {t: s.of(mine) for t, s in zip(trees[self.rank], own, strict=True)}
        for to, source in others(self.rank, self.ranks):
            got = {t: self._memory(width) for t in trees[source]}
            leaves |= got
            yield from (Receive(part, source) for s in got.values() for part in messages(s))
            rows = (s.of(slices[to]) for s in own)
            yield from (Send(part, to) for s in rows for part in messages(s))
        yield Wait()
        target = total.of(mine) if self._gathers else Span(TOTAL, 0, width)
        yield from fold(leaves, target, self.shards)
        if self._gathers:
            yield from gathering(total, self.rank, self.ranks)


class GatheredSlices:
    """All ranks' slices of one array of ``size`` elements, OWN on each, gathered in TOTAL."""

    memories: Sequence[np.ndarray] = ()

    def __init__(self, rank: int, ranks: int, size: int, dtype: str = "float32"):
        self.itemsize = np.dtype(dtype).itemsize
        mine = slices_of(size, ranks)[rank]
        width, total = mine.stop - mine.start, Span(TOTAL, 0, size)
        copy = CopySpan(total.of(mine), Span(OWN, 0, width))
        self._steps = (copy, *gathering(total, rank, ranks))

    def steps(self, shard: int, empty: bool = False) -> tuple[SumStep, ...]:
        return self._steps


def slices_of(size: int, ranks: int) -> list[slice]:
    """Each rank's slice of an array."""
    return [slice(size * r // ranks, size * (r + 1) // ranks) for r in range(ranks)]


def others(rank: int, ranks: int) -> Iterator[tuple[int, int]]:
    """For each distance the ranks to send to and to receive from."""
    for distance in range(1, ranks):
        yield (rank + distance) % ranks, (rank - distance) % ranks


def messages(span: Span) -> Iterator[Span]:
    """A span as messages; none if it is empty."""
    most = LARGEST // 8
    for first in range(0, span.count, most):
        yield span.of(slice(first, min(first + most, span.count)))


def gathering(total: Span, rank: int, ranks: int) -> Iterator[SumStep]:
    """Each rank sends its slice of an array to all others."""
    slices = slices_of(total.count, ranks)
    for to, source in others(rank, ranks):
        yield from (Receive(part, source) for part in messages(total.of(slices[source])))
        yield from (Send(part, to) for part in messages(total.of(slices[rank])))
    if ranks > 1:
        yield Wait()


def fold(leaves: dict[Subtree, Span], total: Span, shards: int) -> Iterator[SumStep]:
    """Adds up subtrees, each pair in the memory of one of them, the last in ``total``."""

    def visit(first: int, size: int, target: Span | None) -> Iterator[SumStep]:
        if (first, size) in leaves:
            return
        pair = halves(first, size)
        for half in pair:
            yield from visit(*half, None)
        left, right = (leaves.pop(half) for half in pair)
        if target is None:
            target = left if left.memory >= 0 else right
        leaves[first, size] = target
        yield AddSpans(target, left, right)

    if total.count:
        yield from visit(0, shards, total)


def _without_own(step: SumStep, zeros: int) -> SumStep:
    spans = {
        name: replace(span, memory=zeros)
        for name in ("left", "right", "source")
        if (span := getattr(step, name, None)) is not None and span.memory == OWN
    }
    return replace(step, **spans)


@dataclass(frozen=True, eq=False)
class ShardSums:
    """The sums that a step makes, in their order, what it gathers after them, and how they exchange
    messages.
    """

    sums: tuple[ShardSum, ...]
    messages: Messages | None
    gathered: tuple[GatheredSlices, ...] = ()
    tolerant: bool = False

    def of(self, shard: int) -> tuple[ShardSum | GatheredSlices, ...]:
        """What a shard makes steps of."""
        return (*self.sums, *(self.gathered if shard == self.last else ()))

    @property
    def last(self) -> int:
        """The last shard that this rank holds."""
        return self.sums[0].last

    @property
    def apart(self) -> bool:
        """Whether sums are best made beside other launches: there are ranks on other hosts, and no
        update need wait until it is known that all sums are complete, as it must where the others
        go on without a rank that dies.
        """
        return self.messages is not None and self.messages.far and not self.tolerant

    @property
    def functions(self) -> int:
        """The address of ``Messages.functions``; 0 where this rank is alone."""
        return self.messages.functions.ctypes.data if self.messages is not None else 0
