"""The plan: where and when. Plain facts, exact because shapes are static."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...graph.ir import Node, same_nodes
from ...ops.collective import SHARD_SLICE, SHARD_SUM
from .reason import Reason
from .work import SLACK, Access, Buffer, Emitted, Location, Nest, Put, Special, Tile


@dataclass(frozen=True, slots=True)
class Bundle:
    """Small independent launches that go out as one: its parts are theirs, one after the other."""

    launches: tuple[Launch, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The launches of a loop's step, while they are ordered among others; see ``Plan.loops``."""

    launches: tuple[Launch, ...]
    length: int


Work = Nest | Tile | Emitted | Special | Bundle | Repeat


@dataclass(frozen=True, slots=True)
class Ahead:
    """Memory that a launch fetches into the cache for later ones: from ``start`` on, ``part`` bytes
    a part.
    """

    start: Access
    part: int


@dataclass(eq=False, slots=True)
class Launch:
    """One kernel with its arguments.

    Attributes:
        work: what it computes.
        nodes: of the optimized graph, for remarks, profiles and the user's lines.
        parts: pieces that may run concurrently; cut by shape, never by threads.
        waits: numbers of earlier launches that must be complete.
        device: the number of the device that runs it.
        back: of a launch in a loop: numbers of launches of the previous step that must be complete.
        flops, bytes: cost.
        ahead: what it fetches for later launches, if its kernel can.
        values: names in its kernel's text, and what they are elements of.
    """

    name: str
    work: Work
    nodes: tuple[Node, ...]
    parts: int = 1
    waits: tuple[int, ...] = ()
    device: int = 0
    back: tuple[int, ...] = ()
    flops: int = 0
    note: str = ""
    ahead: Ahead | None = None
    values: tuple[tuple[str, Node], ...] = ()

    @property
    def members(self) -> tuple[Launch, ...]:
        """The launches of a bundle; itself otherwise."""
        return self.work.launches if isinstance(self.work, Bundle) else (self,)

    def put(self, device: int) -> None:
        """This launch, and all that it is made of, runs on a device."""
        self.device = device
        if isinstance(self.work, Bundle | Repeat):
            for member in self.work.launches:
                member.put(device)

    @property
    def ordered(self) -> bool:
        """Whether all ranks make it together, or one that it is made of."""
        if isinstance(self.work, Bundle | Repeat):
            return any(x.ordered for x in self.work.launches)
        return isinstance(self.work, Special) and self.work.op.ordered

    @property
    def sums_shards(self) -> bool:
        """Whether it adds up what all shards of a batch give."""
        return isinstance(self.work, Special) and self.work.op in (SHARD_SUM, SHARD_SLICE)

    @property
    def accesses(self) -> tuple[Access, ...]:
        if isinstance(self.work, Bundle | Repeat):
            return tuple(a for launch in self.work.launches for a in launch.accesses)
        if isinstance(self.work, Tile):
            waiting = (self.work.partial,) if self.work.partial else ()
            return (self.work.a, self.work.b, *self.work.operands, *waiting)
        return self.work.operands

    @property
    def writes(self) -> frozenset[int]:
        """Numbers of the written accesses."""
        if isinstance(self.work, Nest):
            steps = [s for stage in self.work.stages for s in (*stage.outer, *stage.inner)]
            return frozenset(s.operand for s in steps if isinstance(s, Put))
        if isinstance(self.work, Bundle | Repeat):
            found, first = set(), 0
            for launch in self.work.launches:
                found |= {first + i for i in launch.writes}
                first += len(launch.accesses)
            return frozenset(found)
        if isinstance(self.work, Tile):
            stored = {2 + o for o, _ in self.work.contraction.body.stores}
            return frozenset(
                stored | ({2 + len(self.work.operands)} if self.work.partial else set())
            )
        if isinstance(self.work, Emitted):
            return self.work.outputs
        return frozenset({len(self.work.operands) - 1})


@same_nodes
@dataclass(frozen=True, slots=True)
class Transfer:
    """A value in ``buffer`` that one device computes and another reads.

    Attributes:
        message: between ranks, the memory that is sent: a region of the buffer, with its axes'
            ``sizes``. ``sends`` copies it from the buffer, ``receives`` on the other side back.
    """

    value: Node
    buffer: Buffer
    source: int
    target: int
    message: Buffer | None = None
    sizes: tuple[int, ...] = ()
    sends: Launch | None = None
    receives: Launch | None = None

    @property
    def bytes(self) -> int:
        return self.value.type.bytes if self.message is None else self.message.bytes - SLACK


@dataclass(frozen=True, slots=True)
class Loop:
    """The launches from ``first`` up to ``last``, not included, run ``length`` times in order.

    A launch waits for others of its own step, for some of the step before it (``Launch.back``), and
    for launches before the loop; what waits for it after the loop waits for its last step.
    """

    first: int
    last: int
    length: int


@dataclass(frozen=True, slots=True)
class SlicedBuffer:
    """A buffer of which a thread has one slice at a time, of so many bytes, at ``place`` in memory
    of its own.
    """

    buffer: Buffer
    bytes: int
    place: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The launches from ``first`` up to ``last``, not included, may run slice by slice: slice s of
    each launch is share s, of ``slices``, of its parts in order, and touches nothing that another
    slice of any of them writes.

    Attributes:
        sliced: the buffers that only these launches touch. If they run slice by slice, slices of
            these are in memory of the threads; otherwise they are in the arena, as others are.
    """

    first: int
    last: int
    slices: int
    sliced: tuple[SlicedBuffer, ...] = ()

    @property
    def own(self) -> int:
        """Bytes that a thread needs for sliced buffers."""
        return max((x.place + x.bytes + SLACK for x in self.sliced), default=0)


@dataclass(eq=False, slots=True)
class Plan:
    """Buffers and launches; ``prepare`` runs before the first call and whenever a parameter it
    reads has changed. ``loops`` are ranges of ``launches``, in order, that are repeated, ``chains``
    those that may run slice by slice.

    ``devices`` are names by number where the graph is placed: each runs its own launches one after
    the other, and waits for those of others. Without devices, all threads share all launches.

    ``holders``, where devices are of ranks, are the numbers of the parameters that change, each
    with the ranks that have its new value after a run.

    ``stored`` are the nodes whose values launches put into memory, and where; once more for each
    output and update that has a place of its own.
    """

    name: str
    buffers: list[Buffer]
    prepare: list[Launch]
    launches: list[Launch]
    loops: list[Loop] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    arena: int = 0
    prepared: int = 0
    live_bound: int = 0
    constants: list[Any] = field(default_factory=list)
    devices: tuple[str, ...] = ()
    transfers: list[Transfer] = field(default_factory=list)
    holders: dict[int, tuple[int, ...]] = field(default_factory=dict)
    stored: list[tuple[Node, Location]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    refused: list[tuple[Node, Node, Reason]] = field(
        default_factory=list
    )  # neighbours that stayed apart, and why

    def steps(self, number: int) -> int:
        """How often launch ``number`` is made in one run."""
        return next((x.length for x in self.loops if x.first <= number < x.last), 1)

    @property
    def messages(self) -> list[Transfer]:
        """The transfers from rank to rank."""
        return [t for t in self.transfers if t.message is not None]

    @property
    def scratch(self) -> int:
        """Bytes that every thread needs for itself."""
        return max((b.bytes for b in self.buffers if b.home == "scratch"), default=0)
