"""Which ranks exchange with each other: all with all up to 32, then in levels, in groups of groups.

All with all is 2 (p - 1) messages for each of p ranks, which beyond 32 ranks cost more than a small
network's data. So neighbouring ranks add up what a group holds, each its slice of the array; then
ranks with the same place in their groups go on, each with a slice of its slice. That is as many
bytes and, with 1024 ranks, 62 messages instead of 1023 each way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

ALL = 32  # ranks that exchange all with all


@dataclass(frozen=True, slots=True)
class Level:
    """Ranks that exchange with each other.

    Attributes:
        peers: their numbers, in the order of their shards; ``me``: where this rank is among them.
        held: the ranks whose shards each of them has added up before.
        parts: each one's slice of the array, in parts of which there are as many as ranks.
    """

    peers: tuple[int, ...]
    me: int
    held: tuple[range, ...]
    parts: tuple[range, ...]

    def slices(self, size: int, ranks: int) -> list[slice]:
        """Each one's slice of an array."""
        return [slice(size * p.start // ranks, size * p.stop // ranks) for p in self.parts]

    @property
    def others(self) -> Sequence[tuple[int, int]]:
        """For each distance the places among the peers to send to and to receive from."""
        count = len(self.peers)
        return [((self.me + d) % count, (self.me - d) % count) for d in range(1, count)]


@cache
def levels(rank: int, ranks: int) -> tuple[Level, ...]:
    """The levels in which a rank exchanges, first that with its neighbours; none if it is alone."""
    found: list[Level] = []
    width, first = 1, 0  # ranks that each peer stands for; the first of the parts left to this rank
    while width < ranks:
        left = ranks // width
        count = group(left)
        unit, place = divmod(rank, width)
        begin = unit // count * count
        held = tuple(range(u * width, (u + 1) * width) for u in range(begin, begin + count))
        each = left // count
        parts = tuple(range(first + i * each, first + (i + 1) * each) for i in range(count))
        found.append(Level(tuple(h.start + place for h in held), unit - begin, held, parts))
        first, width = parts[unit - begin].start, width * count
    return tuple(found)


def group(ranks: int) -> int:
    """How many neighbours exchange all with all: a divisor with the fewest messages."""
    if ranks <= ALL:
        return ranks
    divisors = (d for d in range(2, ranks + 1) if ranks % d == 0)
    return min(divisors, key=lambda d: d + ranks // d)


def part_of(rank: int, ranks: int) -> int:
    """Which of as many parts of an array as there are ranks a rank ends with the sum of."""
    found = levels(rank, ranks)
    return found[-1].parts[found[-1].me].start if found else 0


def messages(ranks: int) -> int:
    """How many messages a rank sends to add up an array, and again to gather it."""
    return sum(len(level.others) for level in levels(0, ranks))
