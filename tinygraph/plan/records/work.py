"""What one launch computes: a kernel, and the memory it touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from ...graph.op import Index, Op
from .body import Statement
from .contraction import Contraction

SLACK = 64  # bytes after every buffer, which nothing touches
EVEN = 16  # steps that are shared out evenly enough
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


# Where kernels call out of compiled code: words for what all ranks compute together, for sums over
# shards, for messages between ranks, and for what a backend keeps there.
PORT = Buffer("port", 64, "port")
COMMUNICATE, SUM_SHARDS, PASS_MESSAGE = range(3)


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
    of the innermost output axis, so that it can be the innermost loop; ``lanes`` keeps one for
    each step of the innermost reduction axis, of ``block`` results side by side. Without
    reductions, ``tiled`` goes through the last two axes in tiles of ``block`` x ``block``, and
    ``unrolled`` writes the first of the two out within blocks of the other.
    """

    axes: tuple[int, ...]
    reduce: tuple[int, ...]
    operands: tuple[Access, ...]
    stages: tuple[Stage, ...]
    style: str = "row"  # 'row', 'lanes', 'literal', 'column', 'tiled', 'unrolled'
    block: int = 0

    @property
    def shared(self) -> int:
        """How many of the first axes parts share out as one: a few images, for example, could not
        be shared out evenly. The innermost loop stays whole.
        """
        outputs = [a for a in range(len(self.axes)) if a not in self.reduce]
        if self.style != "row" or not self.reduce:
            outputs = outputs[:-1]
        count = 1
        while count < len(outputs) and prod(self.axes[:count]) < EVEN:
            count += 1
        return count


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

    @property
    def row_tiles(self) -> int:
        """How many tiles a block of columns has."""
        s, c = self.sizes, self.contraction
        return s["g"] * s["z"] * s["y"] // c.lines * -(-s["m"] // c.rows)

    @property
    def column_step(self) -> int:
        """Elements from a column of B to the next of its block."""
        c = self.contraction
        return self.sizes["b_j"] // c.width if c.lanes_along == "reduction" else c.word


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
