"""The sum of an array over all shards of a batch, as steps that compiled code makes.

Steps are additions, copies and messages between spans of memory. They follow from the number of
shards, the number of ranks and this rank's number, and are the same in every step of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from .levels import levels, part_of
from .tree import Subtree, halves, pieces_of, shards_of, siblings
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
        found = levels(self.rank, self.ranks)
        leaves = dict(zip(self._pieces(range(self.rank, self.rank + 1)), own, strict=True))
        base = 0
        for level in found:
            slices = [
                slice(s.start - base, s.stop - base) for s in level.slices(self.size, self.ranks)
            ]
            mine = slices[level.me]
            parts = {t: s.of(mine) for t, s in leaves.items()}
            for to, source in level.others:
                got = {t: self._memory(length(mine)) for t in self._pieces(level.held[source])}
                parts |= got
                for s in got.values():
                    yield from (Receive(x, level.peers[source]) for x in messages(s))
                for _, s in sorted(leaves.items(), key=itemgetter(0)):  # as they are received
                    yield from (Send(x, level.peers[to]) for x in messages(s.of(slices[to])))
            yield Wait()
            base, width, leaves = base + mine.start, length(mine), parts
            everything = range(level.held[0].start, level.held[-1].stop)
            target = Span(TOTAL, base if self._gathers else 0, width)
            for tree in self._pieces(everything) if width else ():
                yield from fold(leaves, tree, target if level is found[-1] else None)
        if self._gathers:
            yield from gathering(total, self.rank, self.ranks)

    def _pieces(self, ranks: range) -> tuple[Subtree, ...]:
        """The subtrees that neighbouring ranks hold together."""
        held = [shards_of(r, self.ranks, self.shards) for r in (ranks[0], ranks[-1])]
        return pieces_of(range(held[0].start, held[-1].stop), self.shards)


class GatheredSlices:
    """All ranks' slices of one array of ``size`` elements, OWN on each, gathered in TOTAL."""

    memories: Sequence[np.ndarray] = ()

    def __init__(self, rank: int, ranks: int, size: int, dtype: str = "float32"):
        self.itemsize = np.dtype(dtype).itemsize
        mine, total = own_slice(size, rank, ranks), Span(TOTAL, 0, size)
        width = length(mine)
        copy = CopySpan(total.of(mine), Span(OWN, 0, width))
        self._steps = (copy, *gathering(total, rank, ranks))

    def steps(self, shard: int, empty: bool = False) -> tuple[SumStep, ...]:
        return self._steps


def own_slice(size: int, rank: int, ranks: int) -> slice:
    """The slice of an array that a rank ends with the sum of."""
    part = part_of(rank, ranks)
    return slice(size * part // ranks, size * (part + 1) // ranks)


def length(part: slice) -> int:
    return int(part.stop - part.start)


def messages(span: Span) -> Iterator[Span]:
    """A span as messages; none if it is empty."""
    most = LARGEST // 8
    for first in range(0, span.count, most):
        yield span.of(slice(first, min(first + most, span.count)))


def gathering(total: Span, rank: int, ranks: int) -> Iterator[SumStep]:
    """Each rank sends its slice of an array to its peers, then theirs and its own to others."""
    for level in reversed(levels(rank, ranks)):
        slices = level.slices(total.count, ranks)
        for to, source in level.others:
            got, own = total.of(slices[source]), total.of(slices[level.me])
            yield from (Receive(part, level.peers[source]) for part in messages(got))
            yield from (Send(part, level.peers[to]) for part in messages(own))
        yield Wait()


def fold(leaves: dict[Subtree, Span], whole: Subtree, total: Span | None) -> Iterator[SumStep]:
    """Adds up what a subtree is made of, each pair in the memory of one of them, the last in
    ``total`` if that is given. The subtree is a leaf then.
    """

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

    yield from visit(*whole, total)


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
