"""Where buffers are in the arena, and which launches wait because they share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence, Set
from functools import reduce
from itertools import accumulate
from operator import itemgetter, or_

from ..launches.order import reduce_back, reduce_waits
from ..launches.sums import keep_summed
from ..records.plan import Launch, Loop, Plan
from ..records.work import Access, Buffer

Interval = tuple[int, int]  # of addresses in the arena
Placed = tuple[int, int, Buffer]  # where a buffer is
Taken = Callable[[Buffer, Iterable[Placed]], list[Interval]]


def place_buffers(plan: Plan) -> None:
    """Lifetimes, then offsets; the best of several orders of placing, since none is best for every
    plan.
    """
    for number, launch in enumerate(plan.launches):
        for access in launch.accesses:
            touch(access, number)
    keep_summed(plan.launches)
    for number, launch in enumerate(plan.prepare):
        for access in launch.accesses:
            if access.buffer.home == "temporary":
                touch(access, number)
    for loop in plan.loops:
        extend(plan.launches, loop)
    for chain in plan.chains:  # slices are at different launches at once
        sliced = {id(x.buffer) for x in chain.sliced}
        for launch in plan.launches[chain.first : chain.last]:
            for access in launch.accesses:
                if id(access.buffer) not in sliced:
                    touch(access, chain.first)
                    touch(access, chain.last - 1)
    taken = Devices(plan).taken if len(plan.devices) > 1 else taken_in_turn
    last = {id(x.buffer) for chain in plan.chains for x in chain.sliced}
    plan.live_bound, arena = place(plan.buffers, "arena", len(plan.launches), taken, last)
    _, temporary = place(plan.buffers, "temporary", len(plan.prepare), taken_in_turn)
    plan.arena = max(arena, temporary)
    # in the order in which they are read, so that they can be fetched as one stream
    for buffer in sorted(plan.buffers, key=lambda b: (b.first < 0, b.first)):
        if buffer.home == "prepared":
            buffer.offset, plan.prepared = plan.prepared, plan.prepared + buffer.rounded
    reuse_waits(plan.prepare, "temporary")
    reuse_waits(plan.launches, "arena")
    for loop in plan.loops:
        reuse_back(plan.launches, loop)


def place(
    buffers: Iterable[Buffer], home: str, launches: int, taken: Taken, last: Set[int] = frozenset()
) -> tuple[int, int]:
    """Sets offsets of the buffers of a home; (bytes that are live at the peak, bytes in all).

    Those in ``last``, which are in use only if a chain does not run slice by slice, are placed
    after the others, which so are close together.
    """
    live = [b for b in buffers if b.home == home and b.first >= 0]
    bytes = live_bytes(live, launches)
    bound, best = max(bytes), -1
    for order in orders(bytes.index(bound)):
        in_order = sorted(sorted(live, key=order), key=lambda b: id(b) in last)
        offsets, size = pack_buffers(in_order, taken)
        if best < 0 or size < best:
            best = size
            for buffer, offset in offsets:
                buffer.offset = offset
        if best == bound:
            break
    return bound, best


def pack(buffers: Iterable[Buffer]) -> None:
    """Sets the offsets of buffers whose lives are known, in memory of their own."""
    for buffer, offset in pack_buffers(sorted(buffers, key=lambda b: -b.bytes), taken_in_turn)[0]:
        buffer.offset = offset


def orders(peak: int) -> tuple[Callable[[Buffer], tuple[int, ...]], ...]:
    """Keys to sort buffers by: largest first, longest-lived first, by bytes times lifetime, as they
    come, as they go, and outwards from the launch during which most is live.
    """
    return (
        lambda b: (-b.bytes, b.first),
        lambda b: (b.first - b.last, -b.bytes),
        lambda b: ((b.first - b.last - 1) * b.bytes, b.first),
        lambda b: (b.first, -b.bytes),
        lambda b: (-b.last, -b.bytes),
        lambda b: (max(b.first - peak, peak - b.last, 0), b.first - b.last, -b.bytes),
    )


def live_bytes(buffers: list[Buffer], launches: int) -> list[int]:
    """How many bytes are live during each launch: no arena can be smaller than the most."""
    change = [0] * (launches + 1)
    for b in buffers:
        change[b.first] += b.rounded
        change[b.last + 1] -= b.rounded
    return list(accumulate(change))


def taken_in_turn(buffer: Buffer, placed: Iterable[Placed]) -> list[Interval]:
    """The intervals of those that are live during the same launch."""
    first, last = buffer.first, buffer.last
    return [(at, end) for at, end, b in placed if b.last >= first and b.first <= last]


class Devices:
    """Which buffers are never live at once where devices run side by side.

    Those whose launches follow one another anyway: on one device, or by what they wait for. Memory
    that was shared in any other case would make one device wait for another's temporary values.
    """

    def __init__(self, plan: Plan):
        self.users: dict[int, int] = {}  # bit sets of launches
        self.before: dict[int, int] = {}  # complete before the first of them starts
        done: list[int] = []
        latest: dict[int, int] = {}
        for number, launch in enumerate(plan.launches):
            last = (latest[launch.device],) if launch.device in latest else ()
            done.append(reduce(or_, (done[w] | 1 << w for w in (*launch.waits, *last)), 0))
            latest[launch.device] = number
            for key in {id(a.buffer) for a in launch.accesses}:
                self.use(key, number, done)
        for loop in plan.loops:
            for b in plan.buffers:
                if b.first <= loop.first and b.last >= loop.last - 1:  # live throughout
                    for number in range(loop.first, loop.last):
                        self.use(id(b), number, done)
        for t in plan.messages:  # a message leaves at some time in the run: its memory is its own
            self.users[id(t.message)], self.before[id(t.message)] = -1, 0

    def use(self, key: int, number: int, done: Sequence[int]) -> None:
        self.users[key] = self.users.get(key, 0) | 1 << number
        self.before[key] = self.before.get(key, -1) & done[number]

    def taken(self, buffer: Buffer, placed: Iterable[Placed]) -> list[Interval]:
        """The intervals of those that may be live at the same time."""
        return [(at, end) for at, end, b in placed if not self.apart(id(buffer), id(b))]

    def apart(self, a: int, b: int) -> bool:
        return self.follows(a, b) or self.follows(b, a)

    def follows(self, a: int, b: int) -> bool:
        return not self.users[b] & ~self.before[a]


def pack_buffers(buffers: Iterable[Buffer], taken: Taken) -> tuple[list[tuple[Buffer, int]], int]:
    """An offset for each buffer, in the given order: the tightest gap among those that are live
    with it.
    """
    placed: list[Placed] = []  # by address
    top = 0
    for buffer in buffers:
        size = buffer.rounded
        offset = tightest_gap(taken(buffer, placed), size)
        insort(placed, (offset, offset + size, buffer), key=itemgetter(0, 1))
        top = max(top, offset + size)
    return [(b, at) for at, _, b in placed], top


def tightest_gap(taken: list[Interval], size: int) -> int:
    """Where ``size`` bytes fit best between taken intervals; after all of them if nowhere."""
    best, at, end = None, 0, 0
    for first, last in taken:
        if first - end >= size and (best is None or first - end < best):
            best, at = first - end, end
        end = max(end, last)
    return end if best is None else at


def touch(access: Access, number: int) -> None:
    buffer = access.buffer
    buffer.first = number if buffer.first < 0 else min(buffer.first, number)
    buffer.last = max(buffer.last, number)


def extend(launches: Sequence[Launch], loop: Loop) -> None:
    """Extends the life of buffers to the whole loop: of what is touched before it or after it,
    of what moves from step to step, and of what a step reads before it writes it.
    """
    known: set[int] = set()
    for launch in launches[loop.first : loop.last]:
        writes = launch.writes
        for i, access in sorted(enumerate(launch.accesses), key=lambda t: t[0] in writes):
            b = access.buffer
            carried = access.step != 0 or (id(b) not in known and i not in writes)
            if carried or b.first < loop.first:
                b.last = max(b.last, loop.last - 1)
            if carried or b.last >= loop.last:
                b.first = min(b.first, loop.first)
            known.add(id(b))


def reuse_back(launches: Sequence[Launch], loop: Loop) -> None:
    """A launch that first writes a buffer waits for all that used, a step before, what shares its
    memory.
    """
    first: dict[int, tuple[int, Buffer]] = {}
    users: dict[int, set[int]] = {}
    for number in range(loop.first, loop.last):
        for access in launches[number].accesses:
            if access.buffer.home == "arena":
                first.setdefault(id(access.buffer), (number, access.buffer))
                users.setdefault(id(access.buffer), set()).add(number)
    for key, (number, buffer) in first.items():
        for other, (_, b) in first.items():
            if other != key and buffer.overlaps(b):
                later = {u for u in users[other] if u >= number}
                launches[number].back = tuple(sorted(later.union(launches[number].back)))
    reduce_back(launches, loop)


def reuse_waits(launches: Sequence[Launch], home: str) -> None:
    """A launch that first writes a buffer of a home waits for all that used what was there before.
    """
    seen: dict[int, Buffer] = {}
    users: dict[int, set[int]] = {}
    for number, launch in enumerate(launches):
        more: set[int] = set()
        for access in launch.accesses:
            buffer = access.buffer
            if buffer.home != home:
                continue
            if id(buffer) not in seen:
                for key, other in list(seen.items()):
                    if buffer.overlaps(other):
                        more |= users[key]
                        if buffer.covers(other):  # whoever comes later waits for this buffer
                            del seen[key]
                seen[id(buffer)] = buffer
            users.setdefault(id(buffer), set()).add(number)
        launch.waits = tuple(sorted({*launch.waits, *more} - {number}))
    reduce_waits(launches)
