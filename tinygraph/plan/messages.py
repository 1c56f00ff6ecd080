"""Messages between ranks: what a launch of one rank writes and one of another reads.

Ranks are processes, each of which makes the launches of its own devices in its own memory. So a
launch of the writing rank copies what crosses to the message's memory, one of the reading rank from
there to the same place. In a single process that is all; between processes the message's memory is
sent. All ranks have one plan, whose order their launches follow, so that none waits for what comes
later.

What is sent is exactly what was written: regions of buffers, since several ranks may write parts of
one concatenation. Outputs go to all ranks, a parameter's new value to those that read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, prod

from ..graph.dtype import DTYPES
from ..graph.ir import Node, among, node
from ..graph.placement import rank_of
from ..ops.collective import RECEIVE, SEND
from .indexing.accesses import row_major
from .memory.memory import Memory
from .records.cost import sized_accesses
from .records.plan import Launch, Repeat, Transfer
from .records.work import SLACK, Access, Buffer, Special
from .touched import PlanError


@dataclass(frozen=True, slots=True)
class Extent:
    """A region that a launch reads or writes: the axes of an access, outermost first, those that
    are contiguous with others as one.
    """

    launch: Launch | None
    access: Access
    sizes: tuple[int, ...]

    def reach(self, below: float = inf) -> int:
        """Elements from the first to behind the last, along the axes with a shorter stride."""
        axes = zip(self.sizes, self.access.strides, strict=True)
        return 1 + sum((n - 1) * step for n, step in axes if step < below)

    def apart(self, other: Extent) -> bool:
        """Whether two of one buffer have no element in common: one comes after the other, or does
        within every row, as parts of a concatenation do.
        """
        a, b = self.access, other.access
        if a.dtype != b.dtype:
            return False
        steps = {step for extent in (self, other) for step in extent.access.strides}
        for row in (inf, *sorted(steps)):
            regular = row == inf or all(s < row or s % row == 0 for s in steps)
            first, second = (x.offset % row if row < inf else x.offset for x in (a, b))
            ends = first + self.reach(row), second + other.reach(row)
            if regular and max(ends) <= row and (ends[0] <= second or ends[1] <= first):
                return True
        return False


class Exchange:
    """The messages of a program, found by a walk over its launches in their order.

    Attributes:
        transfers: what is sent, in order.
        holders: for each parameter, by the number of its buffer, the ranks that have its new value.
    """

    def __init__(self, devices: Sequence[str], memory: Memory):
        found = [rank_of(name) for name in devices]
        self.ranks = [rank for rank in found if rank is not None]
        assert len(self.ranks) == len(devices)
        self.memory = memory
        self.transfers: list[Transfer] = []
        self.holders: dict[int, set[int]] = {}
        self.fresh: dict[tuple[int, int, int], list[Extent]] = {}  # by buffer, source, target
        self.sends: dict[int, list[Launch]] = {}  # after a launch
        self.receives: dict[int, list[Launch]] = {}  # before a launch

    def among(self, launches: Sequence[Launch]) -> list[Launch]:
        """The launches with those that send and receive."""
        readers: dict[int, dict[int, int]] = {}  # of each parameter: rank, then a device
        buffers: dict[int, Buffer] = {}
        for launch in launches:
            for area in touched(launch, writes=False):
                self.bring(area, launch.device, launch)
                if area.access.buffer.home == "parameter":
                    own = self.ranks[launch.device]
                    readers.setdefault(id(area.access.buffer), {}).setdefault(own, launch.device)
            for written in touched(launch, writes=True):
                buffers[id(written.access.buffer)] = written.access.buffer
                self.note(written)
        everyone = {rank: self.ranks.index(rank) for rank in self.ranks}
        for key, buffer in buffers.items():
            targets = everyone if buffer.home == "output" else readers.get(key, {})
            for device in targets.values() if buffer.home in ("output", "parameter") else ():
                self.bring(whole(buffer), device, None)
                if buffer.home == "parameter":
                    self.holders[buffer.number].add(self.ranks[device])
        return list(self.merged(launches))

    def note(self, written: Extent) -> None:
        """What other ranks have not yet."""
        assert written.launch is not None
        own, buffer = self.ranks[written.launch.device], written.access.buffer
        if buffer.home == "parameter":
            self.holders.setdefault(buffer.number, set()).add(own)
        for other in {*self.ranks} - {own}:
            pieces = self.fresh.setdefault((id(buffer), own, other), [])
            again = written.access, written.sizes
            pieces[:] = [p for p in pieces if (p.access, p.sizes) != again]
            pieces.append(written)

    def bring(self, area: Extent, device: int, reader: Launch | None) -> None:
        """What other ranks have written there is sent to a device, before its reader."""
        target = self.ranks[device]
        for source in sorted({*self.ranks} - {target}):
            key = id(area.access.buffer), source, target
            pieces, self.fresh[key] = self.fresh.get(key, []), []
            for piece in pieces:
                if piece.apart(area):
                    self.fresh[key].append(piece)
                else:
                    self.send(piece, device, reader)

    def send(self, piece: Extent, device: int, reader: Launch | None) -> None:
        """One message."""
        assert piece.launch is not None
        source, number = piece.launch.device, len(self.transfers)
        access, value = piece.access, self.value(piece)
        size = prod(piece.sizes)
        buffer = self.memory.buffer(f"message{number}", size, access.dtype, "arena")
        packed = Access(buffer, 0, row_major(piece.sizes), access.dtype)
        shapes = piece.sizes, piece.sizes
        made = []
        for op, other, operands, where in (
            (SEND, device, (access, packed), source),
            (RECEIVE, source, (packed, access), device),
        ):
            attrs = (("message", number), ("rank", self.ranks[other]))
            nodes = (node(op, (value,), attrs, value.type),)
            made.append(Launch(op.name, Special(op, attrs, shapes, operands), nodes, device=where))
        self.sends.setdefault(id(piece.launch), []).append(made[0])
        self.receives.setdefault(id(reader), []).append(made[1])
        self.transfers.append(
            Transfer(value, access.buffer, source, device, buffer, piece.sizes, *made)
        )

    def value(self, piece: Extent) -> Node:
        """The value that is written there, or else the last that its launch computes."""
        assert piece.launch is not None
        size, nodes = prod(piece.sizes), piece.launch.nodes
        for n, at in self.memory.locations.items():
            stored = isinstance(n, Node) and at.buffer is piece.access.buffer
            if isinstance(n, Node) and stored and among(n, nodes) and n.type.size == size:
                return n
        return nodes[-1]

    def merged(self, launches: Sequence[Launch]) -> Iterator[Launch]:
        for launch in launches:
            yield from self.receives.get(id(launch), ())
            yield launch
            yield from self.sends.get(id(launch), ())
        yield from self.receives.get(id(None), ())


def touched(launch: Launch, writes: bool) -> Iterator[Extent]:
    """What a launch reads, or writes, region by region; a loop in all of its steps."""
    length = launch.work.length if isinstance(launch.work, Repeat) else 1
    steps = launch.work.launches if isinstance(launch.work, Repeat) else (launch,)
    for member in (m for step in steps for m in step.members):
        for i, (access, sizes) in enumerate(sized_accesses(member)):
            if (i in member.writes) == writes and access.buffer.home not in ("scratch", "port"):
                yield extent(launch, access, sizes, length, writes)


def whole(buffer: Buffer, dtype: str = "uint8", launch: Launch | None = None) -> Extent:
    """All of a buffer."""
    size = (buffer.bytes - SLACK) // DTYPES[dtype].bytes
    return Extent(launch, Access(buffer, 0, (1,), dtype), (size,))


def extent(
    launch: Launch, access: Access, sizes: Sequence[int] | None, length: int, writes: bool
) -> Extent:
    """The region of an access, in all steps of a loop; of one that reads where values or edges
    decide all of the buffer.

    Raises:
        PlanError: values decide where it writes.
    """
    if access.guards and writes:
        raise PlanError(f"{launch.name} writes where values decide", launch)
    if sizes is None or access.guards:
        return whole(access.buffer, access.dtype, launch)
    axes = [(abs(s), n, s) for n, s in zip(sizes, access.strides, strict=False) if s and n > 1]
    if access.step and length > 1:
        axes.append((abs(access.step), length, access.step))
    first = access.offset + sum(s * (n - 1) for _, n, s in axes if s < 0)
    merged: list[tuple[int, int]] = []
    for step, n, _ in sorted(axes, reverse=True):
        if merged and merged[-1][1] == step * n:
            merged[-1] = merged[-1][0] * n, step
        else:
            merged.append((n, step))
    shape = tuple(n for n, _ in merged) or (1,)
    strides = tuple(step for _, step in merged) or (1,)
    return Extent(launch, Access(access.buffer, first, strides, access.dtype), shape)
