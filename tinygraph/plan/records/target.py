"""What the planner must know of the processor that it plans for.

``Target`` is the protocol; a backend brings its own, with the numbers of its processor
(``tinygraph_cpu.processor``, ``tinygraph_cuda.target``). ``PlainTarget`` knows no processor: it is
what ``schedule`` takes without a target, and a start for a backend.

What changes the order of a sum (``Cut.chunk``, ``inner``, ``splits``, ``pieces``) must follow from
sizes and instruction set alone, never from threads, clocks or the caches of one machine: results
are then the same bits on every machine of that instruction set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ...graph.ir import Node
from .lowered import Launches
from .plan import Launch
from .work import Access, Buffer, Emitted

# A contraction with its epilogue (lower/anchored.py) to its launches; None leaves it to others.
Lowering = Callable[[Any], Launches | None]

EVERY = 1 << 30  # more row tiles than there are


@dataclass(frozen=True, slots=True)
class Product:
    """The sizes of a contraction, after its axes have their roles.

    Attributes:
        batch, outer, rows: of the batch, of the outer rows together, and of the axis ``m``.
        columns: n.
        reduction: of the axes r, s and k, outermost first.
        packed: whether B is stored in blocks of the tile's width.
        across: whether rows of A are contiguous, so that the reduction strides over A.
        longest: size of the axis along which the reduction may be cut into pieces.
        lanes_along: what is across the lanes: "columns", "batch" or "reduction".
        factors: the dtypes of both operands; of narrow ones, if packed, k counts words of 32 bits.
        group: channels that each step of k multiplies, of groups side by side across the lanes.
        lines: size of the axis y, the innermost of the outer rows.
        pitch: rows of A from one line to the next; 0: they are no whole number.
        fresh: steps of the reduction that read elements of A which are in no other row: not taps.
    """

    batch: int
    outer: int
    rows: int
    columns: int
    reduction: tuple[int, int, int]
    packed: bool
    across: bool
    longest: int = 1
    lanes_along: str = "columns"
    factors: tuple[str, str] = ("float32", "float32")
    group: int = 1
    lines: int = 1
    pitch: int = 0
    fresh: int = 1

    @property
    def depth(self) -> int:
        """Multiply-adds for each element of the result."""
        r, s, k = self.reduction
        return r * s * k * self.group


@dataclass(frozen=True, slots=True)
class Cut:
    """How one contraction is cut.

    Attributes:
        rows, vectors: the register tile.
        row_parts, column_parts: pieces that may run concurrently.
        chunk: how much of s is reduced at a time; 0: all of the reduction.
        inner: into what k is cut first, the rest of it becoming s; 0: k stays as it is.
        row_group: row tiles that meet one block of columns after another together.
        splits: into how many the reduction is cut that are computed at once, and added up after.
        pieces: of the reduction, which are contractions by themselves; the other attributes are
            those of each of them.
        matrix: whether the tile is in matrix registers.
        tails: whether smaller tiles at the ends have code of their own.
        lines: of y that a tile has, where it has all of their rows.
    """

    rows: int
    vectors: int
    row_parts: int
    column_parts: int
    chunk: int = 0
    inner: int = 0
    row_group: int = EVERY
    splits: int = 1
    pieces: int = 1
    matrix: bool = False
    tails: bool = True
    lines: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """When a copy of an operand pays.

    Attributes:
        heavy: bytes of an operand that is not repacked in every run, if it is used for at most
            ``few`` rows.
        many: rows, or columns, for which a copy of the other operand pays.
        turned: rows and columns of a result that is too large to be added up in chunks.
        turned_once: columns from which on A is copied by rows for a B that is packed once.
        reused: rows from which on it pays to pack a B that the caller gave.
        near: bytes of such a B that is near wherever its rows are, so that it is not packed.
        crowded: rows that are a multiple of this many bytes apart share few sets of a cache; 0: of
            none.
        gap: bytes after each row that keep rows out of each other's sets.
        deep: rows of B, ``ways``: rows of A, from which on they are too many for such a set.
    """

    heavy: int
    few: int
    many: int
    turned: int
    turned_once: int
    reused: int
    near: int
    crowded: int
    gap: int
    deep: int
    ways: int

    def crowds(self, apart: int) -> bool:
        """True if rows this many bytes apart share few sets of a cache."""
        return self.crowded > 0 and apart % self.crowded == 0


NEVER = 1 << 62
NO_COPIES = Copying(
    heavy=NEVER, few=0, many=NEVER, turned=NEVER, turned_once=NEVER,
    reused=NEVER, near=0, crowded=0, gap=0,
    deep=NEVER, ways=NEVER,
)


@dataclass(frozen=True, slots=True)
class Shaping:
    """The shape of loop nests.

    Attributes:
        unrolled: where an output axis is contiguous, a reduction of at most this many steps, in all
            passes over it, is unrolled within that axis.
        blocks: around a longer one, the elements of that axis whose sums are kept at a time; the
            largest first.
        apart: elements from one to the next along that axis that still count as contiguous.
        row: the longest row, innermost of several axes that are reduced, whose steps have a lane
            each; 0: none has.
        tile: side of the square tiles in which element-wise nests go through two axes, where each
            of them is contiguous in some operand; 0: there are none.
    """

    unrolled: int
    blocks: tuple[int, int, int]
    tile: int = 0
    apart: int = 1
    row: int = 0


class OperatorKernel(Protocol):
    """A backend's own kernel for an operator that can also be written out in others."""

    def refusal(self, n: Node) -> str:
        """Why a node is better written out: "its keys are few"; "" if it is not."""

    def work(self, n: Node, operands: Sequence[Access], scratch: Buffer) -> tuple[Emitted, int]:
        """The kernel's launch, and its parts. ``operands`` are the node's inputs, then its result;
        ``scratch`` is memory of each thread, which grows to what the kernel needs.
        """


class Prefetch(Protocol):
    """The rule by which launches fetch data into the cache for later ones."""

    @property
    def least(self) -> int:
        """Bytes of a parameter that is read in place, from which on it is fetched."""

    @property
    def limit(self) -> int:
        """Bytes that may wait in the cache."""

    @property
    def near(self) -> int:
        """Bytes that may wait in a core's own cache."""

    def capacity(self, launch: Launch) -> float:
        """Bytes that a launch can fetch while it computes; 0 if its kernel does not fetch."""


class Target(Protocol):
    """A processor, for the planner."""

    @property
    def lanes(self) -> int:
        """Elements of a vector: blocks of columns are multiples of it."""

    @property
    def devices(self) -> int | None:
        """How many devices there are; None: as many as are named."""

    @property
    def packs(self) -> bool:
        """True if contractions want B in blocks of contiguous columns; otherwise they read it with
        any strides, one column a block, and nothing is copied.
        """

    @property
    def winograd(self) -> bool:
        """True if the backend has kernels of Winograd convolutions."""

    @property
    def lowerings(self) -> tuple[Lowering, ...]:
        """The backend's own ways to make launches of a contraction, tried before its own tiles; see
        ``lower/anchored.py``.
        """

    @property
    def kernels(self) -> Mapping[str, OperatorKernel]:
        """By the name of an operator of kind COMPOSITE: the backend's own kernel."""

    @property
    def copying(self) -> Copying: ...

    @property
    def shaping(self) -> Shaping: ...

    @property
    def prefetch(self) -> Prefetch | None:
        """None: kernels fetch nothing for later ones."""

    @property
    def resident(self) -> int:
        """Bytes of temporary values that may be live in any case, so that launches are bundled."""

    @property
    def near(self) -> int:
        """Bytes of a core's own cache that launches may count on; 0: launches form no chains."""

    def cut(self, product: Product) -> Cut: ...

    def across(self, columns: Product, reduction: Product) -> bool:
        """True if a contraction is faster with its reduction across the lanes than with its
        columns; these are its sizes either way.
        """

    def parts(self, work: int) -> int:
        """Parts of a loop nest that costs as much as copying ``work`` elements."""

    def duration(self, operations: int, bytes: int) -> float:
        """An estimate of a launch's time, in any unit; launches are ordered by it."""


@runtime_checkable
class Timed(Protocol):
    """A target that knows how long the parts of its launches take."""

    def part_times(self, launch: Launch) -> Sequence[float]:
        """An estimate for each part, in their order, in any unit; for a launch that is no bundle.
        """


@runtime_checkable
class Hasty(Protocol):
    """A target for which being compiled soon counts for more than running fast."""

    @property
    def without(self) -> frozenset[str]:
        """Names of the passes and of the planner's steps that are left out."""


@dataclass(frozen=True, slots=True)
class PlainTarget:
    """A processor about which nothing is known: small tiles, few parts, no copies that are a matter
    of speed only.
    """

    lanes: int = 4
    devices: int | None = 1
    packs: bool = True
    winograd: bool = False
    lowerings: tuple[Lowering, ...] = ()
    kernels: Mapping[str, OperatorKernel] = field(default_factory=dict)
    copying: Copying = NO_COPIES
    shaping: Shaping = Shaping(unrolled=4, blocks=(4, 2, 1))
    prefetch: Prefetch | None = None
    resident: int = 0
    near: int = 0

    def cut(self, product: Product) -> Cut:
        rows, vectors = min(4, product.rows), min(2, -(-product.columns // self.lanes))
        tiles = product.batch * product.outer * -(-product.rows // rows)
        return Cut(rows, vectors, self.parts(tiles * product.columns * product.depth), 1)

    def across(self, columns: Product, reduction: Product) -> bool:
        return False

    def parts(self, work: int) -> int:
        return max(1, min(8, work // 4096))

    def duration(self, operations: int, bytes: int) -> float:
        return operations + bytes
