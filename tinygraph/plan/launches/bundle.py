"""Bundles: launches that do not depend on each other go out as one.

A launch costs a wait, and a step of training has hundreds that are short: the branches of an
Inception block each have a convolution, its statistics, their merge and a normalization, one after
the other. Side by side they are as many launches as one branch. So each launch goes out as early as
it can, unless more memory were live then than in the order in which the launches came. What waits
for nothing, such as packing a weight, goes out just before the first that needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..records.plan import Bundle, Launch, Repeat
from ..records.target import Target
from ..records.work import Buffer
from .order import waits
from .side_by_side import duration


def bundle(launches: list[Launch], target: Target) -> list[Launch]:
    """The launches in an order of execution, independent ones bundled, waits set."""
    waits(launches)
    needed = {w for launch in launches for w in launch.waits}
    late = {n for n, launch in enumerate(launches) if not launch.waits and n in needed}
    in_turn = Slots(launches)
    for launch in launches:
        in_turn.append(launch)
    slots = Slots(launches, max([target.resident, *in_turn.live]))
    position: dict[int, int] = {}  # launch -> slot
    for number, launch in enumerate(launches):
        if number in late:
            continue
        known = [position[w] + 1 for w in launch.waits if w in position]
        earliest = max(known, default=0)
        for w in launch.waits:
            if w not in position:
                position[w] = slots.put(launches[w], max(earliest - 1, 0))
                earliest = max(earliest, position[w] + 1)
        position[number] = slots.put(launch, earliest)
    result = [one(members, target) for members in slots.members]
    waits(result)
    return result


class Slots:
    """Launches that will go out as one, and how many bytes of the arena are live meanwhile.

    A buffer that some launch has yet to touch is live to the end.
    """

    def __init__(self, launches: Iterable[Launch], limit: int = 0):
        self.limit = limit  # of bytes
        self.members: list[list[Launch]] = []
        self.live: list[int] = []
        self.left = Counter(b for launch in launches for b in arena(launch))
        self.span: dict[Buffer, tuple[int, int]] = {}
        self.open = 0  # bytes of buffers that are live to the end

    def put(self, launch: Launch, earliest: int) -> int:
        """Adds a launch to the first slot that has room for it; returns the slot's number."""
        slot = self.room(launch, earliest)
        if slot == len(self.members):
            self.append(launch)
        else:
            self.members[slot].append(launch)
            self.touch(launch, slot)
        return slot

    def append(self, launch: Launch) -> None:
        """Opens a slot."""
        self.members.append([launch])
        self.live.append(self.open)
        self.touch(launch, len(self.live) - 1)

    def room(self, launch: Launch, earliest: int) -> int:
        """The first slot that has room for the launch, or the number of a new one."""
        best = len(self.members)
        if launch.ordered or isinstance(launch.work, Repeat):
            return best
        buffers = arena(launch)
        more = sum(b.rounded for b in buffers if b not in self.span)
        done = [b for b in buffers if b in self.span and self.left[b] == 1]
        behind = 0  # the most that is live in a later slot
        for slot in reversed(range(earliest, best)):
            less = sum(b.rounded for b in done if self.span[b][1] <= slot)
            fits = max(self.live[slot], behind - less) + more <= self.limit
            first = self.members[slot][0]
            if (fits or not more) and not (first.ordered or isinstance(first.work, Repeat)):
                best = slot
            behind = max(behind, self.live[slot])
        return best

    def touch(self, launch: Launch, slot: int) -> None:
        """Counts what is live because of a launch, and no longer because it was the last."""
        for b in arena(launch):
            first, last = self.span.get(b, (len(self.live), slot))
            self.add(b.rounded, slot, first)
            if b not in self.span:
                self.open += b.rounded
            self.span[b] = min(first, slot), max(last, slot)
            self.left[b] -= 1
            if not self.left[b]:
                self.open -= b.rounded
                self.add(-b.rounded, self.span[b][1] + 1, len(self.live))

    def add(self, bytes: int, first: int, last: int) -> None:
        for slot in range(first, last):
            self.live[slot] += bytes


def arena(launch: Launch) -> list[Buffer]:
    """The buffers of the arena's memory that a launch touches."""
    homes = ("arena", "temporary")
    return list(dict.fromkeys(a.buffer for a in launch.accesses if a.buffer.home in homes))


def one(members: list[Launch], target: Target) -> Launch:
    """A slot's launch: its only member, or a bundle of them, those with long parts first.

    Threads that find nothing left to do wait for no more than a short part then.
    """
    if len(members) == 1:
        return members[0]
    members = sorted(members, key=lambda m: -duration(m, target) / m.parts)
    for member in members:
        member.waits = ()
    nodes = tuple(dict.fromkeys(n for m in members for n in m.nodes))
    name = "bundle of " + ", ".join(dict.fromkeys(m.name for m in members))
    return Launch(name, Bundle(tuple(members)), nodes, sum(m.parts for m in members))
