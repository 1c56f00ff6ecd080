"""The plan: where and when. Plain facts, exact because shapes are static."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...graph.ir import Node, same_nodes
from ...graph.op import Index, Op
from .body import Statement
from .contraction import Contraction
from .reason import Reason

SLACK = 64  # bytes after every buffer, which nothing touches
ALIGN = 64  # bytes: where buffers of the arena and of the prepared memory begin


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory that kernels read and write.

    Attributes:
        home: 'arena' (reused between launches), 'prepared' (kept between runs), 'temporary' (in the
            arena's memory while a run is prepared), 'scratch' (of this size for every thread, used
            within one part), 'input', 'output', 'parameter', 'constant'.
        number: of the input, output, parameter, constant or temporary value.
        offset: in bytes, from the start of the arena or of the prepared memory.
        first, last: the launches between which a buffer of the arena's memory is live.
        gap: unused bytes after each row; they belong to the launch that touches the row.
    """

    name: str
    bytes: int
    home: str
    number: int = 0
    offset: int = 0
    first: int = -1
    last: int = -1
    gap: int = 0

    @property
    def rounded(self) -> int:
        """Bytes that it takes of memory that it shares with others."""
        return -(-self.bytes // ALIGN) * ALIGN

    def overlaps(self, other: Buffer) -> bool:
        """True if the two, both in the arena, share some of its bytes."""
        return self.offset < other.offset + other.bytes and other.offset < self.offset + self.bytes

    def covers(self, other: Buffer) -> bool:
        """True if the two are in the arena, and all bytes of the other are some of this one's."""
        end = self.offset + self.bytes
        return self.offset <= other.offset and other.offset + other.bytes <= end


PORT = Buffer("port", 64, "port")  # whose first word says where kernels call out of compiled code


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value is stored: ``buffer[offset + sum of index * stride]``, in elements.

    Within a loop it moves by ``step`` elements from one step to the next.
    """

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]
    dtype: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """Position ``index`` on a guarded axis; reads where it is not in [0, size) yield the operand's
    outside value.

    ``stride`` is the axis' stride in memory; for a gather, ``load`` names the value that is added
    to ``index``, and the sum is clamped to the axis instead.
    """

    index: Index
    size: int
    stride: int
    load: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """How a nest sees a buffer: an element at ``offset + sum of axis * stride``, plus the guarded
    axes' positions; ``step`` elements further in each step of the loop around it.
    """

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]
    dtype: str
    guards: tuple[Guard, ...] = ()
    outside: float = 0.0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    name: str
    operand: int
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Position:
    """``name`` is an affine function of the axes, as a number of ``dtype``."""

    name: str
    index: Index
    dtype: str


@dataclass(frozen=True, slots=True)
class Fold:
    """``name`` accumulates ``value`` over the reduction axes."""

    name: str
    fold: str
    value: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Put:
    operand: int
    value: str


NestStatement = Load | Position | Statement | Fold | Put


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps of the output axes, then one loop over the reduction axes around the inner steps."""

    outer: tuple[NestStatement, ...]
    inner: tuple[NestStatement, ...]


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop nest: output axes outside, reduction axes inside, stages one after the other within
    the output axes.

    ``literal`` unrolls the reduction axes (windows); ``column`` keeps accumulators for a ``block``
    of the innermost output axis, so that it can be the innermost loop. Without reductions,
    ``tiled`` goes through the last two axes in tiles of ``block`` x ``block``, and ``unrolled``
    writes the first of the two out within blocks of the other.
    """

    axes: tuple[int, ...]
    reduce: tuple[int, ...]
    operands: tuple[Access, ...]
    stages: tuple[Stage, ...]
    style: str = "row"  # 'row', 'literal', 'column', 'tiled', 'unrolled'
    block: int = 0


@dataclass(frozen=True, slots=True)
class Special:
    """A kernel that an operator's own template writes.

    Attributes:
        attrs: of the node.
        shapes: of its inputs, and of its result.
        operands: the same arrays in memory.
    """

    op: Op
    attrs: tuple[tuple[str, Any], ...]
    shapes: tuple[tuple[int, ...], ...]
    operands: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A contraction with the values of its argument block (addresses as accesses).

    Attributes:
        operands: of the epilogue; strides along g, z, y, m, n.
        partial: sums between chunks of the reduction.
        splits: into how many the reduction is cut; each has memory in ``partial``, in the order of
            g, z, y, m, n, and the epilogue follows when they have been added up.
    """

    contraction: Contraction
    sizes: Mapping[str, int]
    a: Access
    b: Access
    operands: tuple[Access, ...]
    partial: Access | None = None
    splits: int = 1


@dataclass(frozen=True, slots=True)
class Emitted:
    """A kernel whose machine code a backend makes from a record of its own, with the values of its
    argument block.

    The block holds ``fields``, then the scratch memory if there is some (address, bytes of a
    thread), then what it fetches for later launches if it ``fetches``, then the address and the
    strides of every operand.

    Attributes:
        record: what the machine code depends on; it compares by value, and its repr makes it again.
        twin: the function that does the same in Python; ``module`` has it, and the record's class.
        fields: in the order of the block.
        boxes: for each operand, the sizes that its strides run through.
        outputs: numbers of the operands that are written.
        scratch: memory of which every thread has its own.
        fetches: the number of the operand that is fetched again where there is nothing else to
            fetch; None: the kernel does not fetch.
    """

    record: Any
    twin: str
    module: str
    fields: Mapping[str, int]
    operands: tuple[Access, ...]
    boxes: tuple[tuple[int, ...], ...]
    outputs: frozenset[int]
    scratch: Buffer | None = None
    fetches: int | None = None


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
    """A value in ``buffer`` that one device computes and another reads."""

    value: Node
    buffer: Buffer
    source: int
    target: int

    @property
    def bytes(self) -> int:
        return self.value.type.bytes


@dataclass(frozen=True, slots=True)
class Loop:
    """The launches from ``first`` up to ``last``, not included, run ``length`` times in order.

    A launch waits for others of its own step, for some of the step before it (``Launch.back``), and
    for launches before the loop; what waits for it after the loop waits for its last step.
    """

    first: int
    last: int
    length: int


@dataclass(eq=False, slots=True)
class Plan:
    """Buffers and launches; ``prepare`` runs before the first call and whenever a parameter it
    reads has changed. ``loops`` are ranges of ``launches``, in order, that are repeated.

    ``devices`` are names by number where the graph is placed: each runs its own launches one after
    the other, and waits for those of others. Without devices, all threads share all launches.

    ``stored`` are the nodes whose values launches put into memory, and where; once more for each
    output and update that has a place of its own.
    """

    name: str
    buffers: list[Buffer]
    prepare: list[Launch]
    launches: list[Launch]
    loops: list[Loop] = field(default_factory=list)
    arena: int = 0
    prepared: int = 0
    live_bound: int = 0
    constants: list[Any] = field(default_factory=list)
    devices: tuple[str, ...] = ()
    transfers: list[Transfer] = field(default_factory=list)
    stored: list[tuple[Node, Location]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    refused: list[tuple[Node, Node, Reason]] = field(
        default_factory=list
    )  # neighbours that stayed apart, and why

    def steps(self, number: int) -> int:
        """How often launch ``number`` is made in one run."""
        return next((x.length for x in self.loops if x.first <= number < x.last), 1)

    @property
    def scratch(self) -> int:
        """Bytes that every thread needs for itself."""
        return max((b.bytes for b in self.buffers if b.home == "scratch"), default=0)
