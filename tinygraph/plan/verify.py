"""verify_plan: exact, because shapes are static. In bounds, no races, nothing live overwritten.

One walk over the launches keeps, for every byte, which launch wrote it for which buffer and which
have read it since. Of a loop it walks two steps one by one: what they do to each other, any two do,
since accesses move by the same bytes in every step and what moves shares its memory with nothing in
the loop. The other steps are walked as one, for what moves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..graph.dtype import DTYPES
from ..graph.ir import Graph
from .records.names import early_use
from .records.plan import (
    SLACK,
    Access,
    Buffer,
    Bundle,
    Emitted,
    Launch,
    Loop,
    Nest,
    Plan,
    Repeat,
    Tile,
)


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
        if work.contraction.lanes_along == "batch":
            a = Region(a.buffer, a.first, a.last + 4 * (s["n"] - 1))
        b = region(work.b, (s["g"], blocks, *inner))
        columns = s["n"] - (blocks - 1) * width  # of the last block
        b = Region(b.buffer, b.first, b.last + 4 * (columns - 1))
        waiting = [region(work.partial, ())] if work.partial else []
        return [a, b, *(region(o, (*outer, s["n"])) for o in work.operands), *waiting]
    if isinstance(work, Emitted):
        return [region(o, box) for o, box in zip(work.operands, work.boxes, strict=True)]
    return [region(o, shape) for o, shape in zip(work.operands, work.shapes, strict=True)]


def verify_plan(plan: Plan) -> Plan:
    """The plan.

    Raises:
        PlanError: a launch leaves its buffers, reads what was not meant for it, or races.
    """
    written = {
        id(a.buffer)
        for launch in plan.launches
        for i, a in enumerate(launch.accesses)
        if i in launch.writes
    }
    memory: dict[tuple[str, int], Line] = {}
    for loop in plan.loops:
        moving_apart(plan.launches[loop.first : loop.last])
    for launches, loops in ((plan.prepare, []), (plan.launches, plan.loops)):
        turns = turns_of(launches, loops)
        order = Order(turns)
        late: list[Callable[[], None]] = []  # what other steps read, when all of it is written
        for number, turn in enumerate(turns):
            if not turn.rest:
                while late:
                    late.pop(0)()
            for member, (one, areas) in enumerate(members(turn)):
                in_bounds(one, areas)
                in_order(one)
                disjoint_parts(one, areas)
                touched = [
                    (area, i in one.writes)
                    for i, area in enumerate(areas)
                    if not turn.rest or one.accesses[i].step
                ]
                # a launch reads before it writes
                for area, writes in sorted(touched, key=lambda t: t[1]):
                    place = allowed(one, area.buffer, writes, launches is plan.prepare, written)
                    line = memory.setdefault(area.absolute[:2], Line())
                    touch = Touch(one, number, member, order)
                    if turn.rest and not writes:
                        late.append(partial(touch.on, line, area, writes, place))
                    else:
                        touch.on(line, area, writes, place)
        for each in late:
            each()
        for line in memory.values():
            line.settle()
    return plan


@dataclass(frozen=True, slots=True)
class Turn:
    """A launch in some steps of its loop (one step, outside of loops); ``waits`` are turns."""

    launch: Launch
    steps: range
    waits: tuple[int, ...]
    rest: bool = False


def turns_of(launches: Sequence[Launch], loops: Sequence[Loop]) -> list[Turn]:
    """The launches, those of loops in the first step, the second, and the others at once."""
    turns: list[Turn] = []
    last: dict[int, int] = {}  # launch -> its last turn
    ends = {x.first: x for x in loops}
    number = 0
    while number < len(launches):
        loop = ends.get(number, Loop(number, number + 1, 1))
        for steps in (range(1), range(1, min(2, loop.length)), range(2, loop.length)):
            before = dict(last)
            for i in range(loop.first, loop.last) if steps else ():
                launch = launches[i]
                for w in launch.waits:
                    if w not in last or w >= i:
                        raise PlanError(
                            f"{launch.name} waits for launch {w}, which does not come before it",
                            launch,
                        )
                waits = [last[w] for w in launch.waits]
                waits += [before[w] for w in launch.back] if steps.start else []
                last[i] = len(turns)
                turns.append(Turn(launch, steps, tuple(waits), steps.start == 2))
        number = loop.last
    return turns


def members(turn: Turn) -> list[tuple[Launch, list[Region]]]:
    """A launch, or those of a bundle, each with what it touches in these steps."""
    return [
        (one, [moved(r, a, turn.steps) for r, a in zip(regions(one), one.accesses, strict=True)])
        for one in turn.launch.members
    ]


def moved(area: Region, access: Access, steps: range) -> Region:
    """The bytes that an access touches in all of these steps."""
    by = access.step * DTYPES[access.dtype].bytes
    ends = steps[0] * by, steps[-1] * by
    return Region(area.buffer, area.first + min(ends), area.last + max(ends))


def moving_apart(launches: Sequence[Launch]) -> None:
    """Checks that buffers through which a loop moves share their memory with nothing else in it."""
    buffers: dict[int, Buffer] = {}
    moving: dict[int, Buffer] = {}
    for launch in launches:
        for access in launch.accesses:
            buffers[id(access.buffer)] = access.buffer
            if access.step:
                moving[id(access.buffer)] = access.buffer
    for a in moving.values():
        for b in buffers.values():
            if a is not b and a.home == b.home == "arena" and a.overlaps(b):
                raise PlanError(f"{a.name} and {b.name} share memory throughout a loop", *launches)


def in_bounds(launch: Launch, areas: list[Region]) -> None:
    for area in areas:
        size = area.buffer.bytes - SLACK
        if area.first < 0 or area.last > size:
            raise PlanError(
                f"{launch.name} touches bytes {area.first} to {area.last} of {area.buffer.name}, "
                f"which has {size}",
                launch,
            )


def in_order(launch: Launch) -> None:
    """A nest computes every value before it is used."""
    name = early_use(launch.work) if isinstance(launch.work, Nest) else None
    if name is not None:
        raise PlanError(f"{launch.name} uses {name} before it is computed", launch)


def disjoint_parts(launch: Launch, areas: list[Region]) -> None:
    """Parts of one launch, which run at once, write different elements."""
    work = launch.work
    if not isinstance(work, Nest) or launch.parts == 1 or not work.axes or 0 in work.reduce:
        return
    for i in launch.writes:
        strides = work.operands[i].strides
        steps = sorted((abs(s), n) for s, n in zip(strides, work.axes, strict=True) if s and n > 1)
        reach = 0
        apart = work.axes[0] == 1 or strides[0] != 0
        for step, size in steps:
            apart &= step > reach
            reach += step * (size - 1)
        if not apart:
            raise PlanError(
                f"{launch.name}: its parts write the same elements of {areas[i].buffer.name}",
                launch,
            )


def allowed(
    launch: Launch, buffer: Buffer, writes: bool, preparing: bool, written: set[int]
) -> bool:
    """Checks what may be touched at all; returns whether reads must find what was written."""
    if (
        preparing
        and not writes
        and (buffer.home in ("arena", "input", "output") or id(buffer) in written)
    ):
        raise PlanError(
            f"{launch.name} prepares from {buffer.name}, which every run changes", launch
        )
    if writes and not preparing and buffer.home == "prepared":
        raise PlanError(
            f"{launch.name} writes {buffer.name}, which is prepared before the run", launch
        )
    if not preparing and buffer.home == "temporary":
        raise PlanError(
            f"{launch.name} touches {buffer.name}, which is gone when the run is prepared", launch
        )
    if writes and buffer.home in ("input", "constant"):
        raise PlanError(f"{launch.name} writes {buffer.name}, which is the caller's", launch)
    return buffer.home in ("arena", "prepared", "temporary")


# ----------------------------------------------------------------- which launch touched which bytes


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
