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
from .steps import (
    OWN,
    TOTAL,
    AddSpans,
    CopySpan,
    NarrowMessages,
    PeerMessages,
    Send,
    Span,
    SumStep,
)
from .tree import Subtree, halves, pieces_of, shards_of, siblings
from .world import Messages


class ShardSum:
    """Adds up one array for each shard of a batch, over all ranks.

    The steps of each held shard take its array as OWN. They are made in the order of shards; those
    of the ``last`` then make the sum over all shards in TOTAL, the same bits on every rank.

    Args:
        size, dtype: of the array.
        new: memory for so many elements of the dtype: flat, contiguous.
        gathers: whether TOTAL is all of the sum; else it is this rank's slice.
        narrow: whether it is sent as bfloat16. Then the arrays of the shards, and every sum in the
            tree, are rounded to it: whatever is sent, and by whom, it is sent as it is.
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
        narrow: bool = False,
    ):
        self._gathers, self._narrow = gathers, narrow
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

    def _memory(self, count: int, dtype: str = "") -> Span:
        self.memories.append(self._new(count, dtype or self._dtype.name))
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
                steps.append(AddSpans(left, left, span, self._narrow))
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
                yield CopySpan(total, own[0], self._narrow)
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
            exchange = self._exchange()
            for to, source in level.others:
                got = {t: self._memory(length(mine)) for t in self._pieces(level.held[source])}
                parts |= got
                for s in got.values():
                    yield from exchange.receive(s, level.peers[source])
                for _, s in sorted(leaves.items(), key=itemgetter(0)):  # as they are received
                    yield from exchange.send(s.of(slices[to]), level.peers[to])
            yield from exchange.wait()
            base, width, leaves = base + mine.start, length(mine), parts
            everything = range(level.held[0].start, level.held[-1].stop)
            target = Span(TOTAL, base if self._gathers else 0, width)
            for tree in self._pieces(everything) if width else ():
                last = target if level is found[-1] else None
                yield from fold(leaves, tree, last, self._narrow)
        if self._gathers:
            yield from gathering(total, self.rank, self.ranks, self._exchange())

    def _exchange(self) -> PeerMessages:
        return NarrowMessages(self._memory) if self._narrow else PeerMessages()

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
        self._steps = (copy, *gathering(total, rank, ranks, PeerMessages()))

    def steps(self, shard: int, empty: bool = False) -> tuple[SumStep, ...]:
        return self._steps


def own_slice(size: int, rank: int, ranks: int) -> slice:
    """The slice of an array that a rank ends with the sum of."""
    part = part_of(rank, ranks)
    return slice(size * part // ranks, size * (part + 1) // ranks)


def length(part: slice) -> int:
    return int(part.stop - part.start)


def gathering(total: Span, rank: int, ranks: int, exchange: PeerMessages) -> Iterator[SumStep]:
    """Each rank sends its slice of an array to its peers, then theirs and its own to others."""
    for level in reversed(levels(rank, ranks)):
        slices = level.slices(total.count, ranks)
        for to, source in level.others:
            got, own = total.of(slices[source]), total.of(slices[level.me])
            yield from exchange.receive(got, level.peers[source])
            yield from exchange.send(own, level.peers[to])
        yield from exchange.wait()


def fold(
    leaves: dict[Subtree, Span], whole: Subtree, total: Span | None, rounds: bool
) -> Iterator[SumStep]:
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
        yield AddSpans(target, left, right, rounds)

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
