"""What is fetched ahead: weights that later launches stream, while earlier ones multiply.

At batch 1 a network reads each weight once, and they fit no cache. Layers with few pixels would
wait for memory, while those with many leave it idle. So the weights are stored in the order in
which they are read, as one stream, and a launch fetches the stretch of it that later ones need: the
latest launches that have the time for it, since what is fetched early may be lost again.

A weight that no core's own cache keeps is left to its own launch, if that shares out columns: while
a part multiplies with its columns, it fetches those of the part after the next, which its thread
will take where two share the launch. What another core has fetched comes slowly, or not at all.
Before, the first tile to meet a column waited for memory: two layers of 9.4 MB with 128 rows, as in
BERT, took 7.2 ms and take 6.2 (an Intel core with AVX-512).
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate, pairwise

from ..records.plan import Ahead, Launch, Plan
from ..records.target import Prefetch
from ..records.work import SLACK, Access, Buffer, Tile

TURN = 2  # parts until a thread's next one, where two share a launch


def fetch_ahead(plan: Plan, prefetch: Prefetch | None) -> None:
    """Sets what the launches fetch for later ones. Buffers have their locations already."""
    if prefetch is None or plan.devices or plan.loops:
        return
    read_in_place = [b for b in plan.buffers if b.home == "parameter" and b.bytes >= prefetch.least]
    weights = [b for b in plan.buffers if b.home == "prepared"] + read_in_place
    weights = [b for b in weights if b.first >= 0]
    weights.sort(key=lambda b: (b.first, b.home, b.offset))
    own = set[Buffer]()
    for member in (m for x in plan.launches for m in x.members):
        member.ahead = own_columns(member, prefetch)
        own |= {member.ahead.start.buffer} if member.ahead else set()
    weights = [b for b in weights if b not in own]
    stream = WeightStream([b for b in weights if b.bytes <= prefetch.limit])
    read, missing = [0] * len(plan.launches), [0] * len(plan.launches)
    for b in weights:  # what fits no cache is read by its launch alone, which has no time then
        (read if b.bytes <= prefetch.limit else missing)[b.first] += b.rounded
    end = sum(read)
    for number, done in reversed([*enumerate(accumulate(read))]):
        end = min(end, done + prefetch.limit)
        free = (m for m in plan.launches[number].members if m.ahead is None)
        members = [(m, prefetch.capacity(m)) for m in free]
        room = int(sum(bytes for _, bytes in members)) - missing[number]
        start = max(done, end - room, stream.piece(end))
        if start < end:
            share_out(members, stream, start, end)
            end = start


def own_columns(launch: Launch, prefetch: Prefetch) -> Ahead | None:
    """What a launch fetches for its own parts: of a weight that no core's own cache keeps, if each
    part has columns of its own, and the time to fetch as much as it reads.
    """
    work = launch.work
    if not isinstance(work, Tile) or work.b.buffer.home != "prepared" or work.sizes["g"] > 1:
        return None
    b, parts = work.b.buffer, launch.parts
    part = (b.bytes - SLACK) // parts
    alone = b.bytes > prefetch.near and parts == work.sizes["column_parts"]
    if not alone or part > prefetch.near or prefetch.capacity(launch) < b.bytes:
        return None
    return Ahead(Access(b, TURN * part, (), "uint8"), part)


class WeightStream:
    """Buffers, one after the other; pieces of the stream are contiguous in memory."""

    def __init__(self, buffers: list[Buffer]):
        self.buffers = buffers
        self.starts = [0, *accumulate(b.rounded for b in buffers)][:-1]
        apart = [
            start
            for (a, b), start in zip(pairwise(buffers), self.starts[1:], strict=True)
            if not (a.home == b.home == "prepared" and a.offset + a.rounded == b.offset)
        ]
        self.pieces = [0, *apart]

    def piece(self, end: int) -> int:
        """Where the piece begins that ends at ``end``, or continues."""
        return self.pieces[bisect(self.pieces, end - 1) - 1]

    def at(self, position: int) -> Access:
        number = bisect(self.starts, position) - 1
        return Access(self.buffers[number], position - self.starts[number], (), "uint8")


def share_out(
    members: list[tuple[Launch, float]], stream: WeightStream, start: int, end: int
) -> None:
    """A stretch of the stream among launches that go out as one, by what they can fetch."""
    edges = [0.0, *accumulate(bytes for _, bytes in members)]
    scale = (end - start) / edges[-1]
    for (launch, _), (low, high) in zip(members, pairwise(edges), strict=True):
        first, size = start + int(low * scale), int(high * scale) - int(low * scale)
        if size:
            launch.ahead = Ahead(stream.at(first), -(-size // launch.parts))
