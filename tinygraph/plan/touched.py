"""Which launch touched which bytes, and what each launch may touch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..graph.dtype import DTYPES
from ..graph.ir import Graph
from .records.plan import Bundle, Launch, Repeat
from .records.work import Access, Buffer, Emitted, Nest, Tile


class PlanError(Exception):
    """A plan that must not run; the message names the launches, the buffer and the bytes.

    Attributes:
        launches: that the message names.
        graph: that was compiled, once ``compile`` has seen the error.
    """

    def __init__(self, message: str, *launches: Launch):
        super().__init__(message)
        self.launches = launches
        self.graph: Graph | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """The bytes that an access may touch, within its buffer."""

    buffer: Buffer
    first: int
    last: int  # exclusive

    @property
    def absolute(self) -> tuple[str, int, int, int]:
        """Home, number, first and last byte in memory that buffers may share."""
        shared = self.buffer.home in ("arena", "prepared", "temporary")
        base = self.buffer.offset if shared else 0
        return (
            self.buffer.home,
            0 if shared else self.buffer.number,
            base + self.first,
            base + self.last,
        )


def region(access: Access, sizes: tuple[int, ...]) -> Region:
    low = high = access.offset
    for size, stride in zip(sizes, access.strides, strict=True):
        low, high = low + min(0, stride * (size - 1)), high + max(0, stride * (size - 1))
    for guard in access.guards:
        high += guard.stride * (guard.size - 1)
    item = DTYPES[access.dtype].bytes
    return Region(access.buffer, low * item, (high + 1) * item + access.buffer.gap)


def regions(launch: Launch) -> list[Region]:
    """The bytes that each access of a launch may touch, in the order of ``launch.accesses``."""
    work = launch.work
    if isinstance(work, Bundle | Repeat):
        return [area for member in work.launches for area in regions(member)]
    if isinstance(work, Nest):
        return [region(o, work.axes) for o in work.operands]
    if isinstance(work, Tile):
        s = work.sizes
        outer = tuple(s[x] for x in "gzym")
        inner = tuple(s[x] for x in "rsk")
        width = work.contraction.width
        blocks = -(-s["n"] // width)
        a = region(work.a, (*outer, *inner))
        item, word = DTYPES[work.a.dtype].bytes, work.contraction.word
        a = Region(a.buffer, a.first, a.last + item * (word - 1))
        if work.contraction.lanes_along == "batch":
            a = Region(a.buffer, a.first, a.last + item * (s["n"] - 1))
        b = region(work.b, (s["g"], blocks, *inner))
        within = 4 * width * (work.contraction.group - 1)  # the rows of a step
        columns = s["n"] - (blocks - 1) * width  # of the last block
        of_b = DTYPES[work.b.dtype].bytes
        across = work.column_step * (columns - 1) + word - 1
        b = Region(b.buffer, b.first, b.last + within + of_b * across)
        waiting = [region(work.partial, ())] if work.partial else []
        return [a, b, *(region(o, (*outer, s["n"])) for o in work.operands), *waiting]
    if isinstance(work, Emitted):
        return [region(o, box) for o, box in zip(work.operands, work.boxes, strict=True)]
    return [region(o, shape) for o, shape in zip(work.operands, work.shapes, strict=True)]


@dataclass(frozen=True, slots=True)
class Turn:
    """A launch in some steps of its loop (one step, outside of loops); ``waits`` are turns."""

    launch: Launch
    steps: range
    waits: tuple[int, ...]
    rest: bool = False


class Order:
    """Which launches are complete when another starts, as bit sets."""

    def __init__(self, turns: Sequence[Turn]):
        self.before: list[int] = []
        self.rest = [turn.rest for turn in turns]
        for turn in turns:
            done = 0
            for w in turn.waits:
                done |= self.before[w] | 1 << w
            self.before.append(done)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that one launch wrote for one buffer, and the launches that have read them since."""

    buffer: Buffer
    writer: Touch | None
    readers: tuple[Touch, ...] = ()


@dataclass(frozen=True, slots=True)
class Touch:
    """An access by a launch, or by one member of a bundle."""

    launch: Launch
    number: int
    member: int
    order: Order

    def same(self, other: Touch) -> bool:
        return (other.number, other.member) == (self.number, self.member)

    def follows(self, other: Touch) -> bool:
        together = self.order.rest[self.number] and self.order.rest[other.number]
        done = self.order.before[self.number] >> other.number & 1
        return self.same(other) or together or bool(done)

    def on(self, line: Line, area: Region, writes: bool, written: bool) -> None:
        """Checks this access of a region against all before it, and takes it down.

        ``written``: what is read here must have been written before, as the same buffer.
        """
        _, _, first, last = area.absolute
        for i in line.cut(first, last):
            piece = line.pieces[i]
            if not writes and written and (piece is None or piece.buffer is not area.buffer):
                other = "nothing" if piece is None else piece.buffer.name
                raise PlanError(
                    f"{self.launch.name} reads {area.buffer.name}, "
                    f"but {other} was written there last",
                    self.launch,
                )
            if piece is not None:
                if (
                    writes
                    and piece.buffer is not area.buffer
                    and any(self.same(r) for r in piece.readers)
                ):
                    raise PlanError(
                        f"{self.launch.name} writes {area.buffer.name} "
                        f"over {piece.buffer.name}, which it reads",
                        self.launch,
                    )
                for before in (piece.writer, *(piece.readers if writes else ())):
                    if before is not None and not self.follows(before):
                        raise PlanError(
                            f"{self.launch.name} and {before.launch.name} run at the same time "
                            f"and both touch {area.buffer.name} and {piece.buffer.name}, "
                            f"at least one of them writing",
                            self.launch,
                            before.launch,
                        )
            if writes:
                line.pieces[i] = Piece(area.buffer, self)
            else:
                piece = piece or Piece(area.buffer, None)
                line.pieces[i] = replace(piece, readers=(*piece.readers, self))


class Line:
    """Memory as a line of bytes: piece i begins at ``starts[i]``, ends where the next begins."""

    def __init__(self) -> None:
        self.starts: list[int] = [0]
        self.pieces: list[Piece | None] = [None]

    def cut(self, first: int, last: int) -> range:
        """Numbers of the pieces that make up [first, last)."""
        for at in (first, last):
            i = bisect_left(self.starts, at)
            if i == len(self.starts) or self.starts[i] != at:
                self.starts.insert(i, at)
                self.pieces.insert(i, self.pieces[i - 1])
        return range(bisect_left(self.starts, first), bisect_left(self.starts, last))

    def settle(self) -> None:
        """All launches so far are complete."""
        self.pieces = [piece and Piece(piece.buffer, None) for piece in self.pieces]
