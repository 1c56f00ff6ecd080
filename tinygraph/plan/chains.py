"""Chains: launches in a row that run slice by slice, each slice through all of them.

With several images, what one layer writes of all of them has left the caches when the next layer
reads it. Where launches treat images apart, one image can go through several of them before the
next: what they hand on then stays in a core's own cache. So launches whose parts are shares of the
same slices form a chain, if no slice touches what another one writes, if what they hand on is too
large for caches, and if their weights, which every slice reads again, are not.

A chain is an offer: a backend takes it where there are slices enough for its threads. Parts are the
same either way, and so are the bits.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import gcd

from ..graph.dtype import DTYPES
from .memory.arena import pack
from .records.plan import Chain, Launch, SlicedBuffer
from .records.work import SLACK, Access, Buffer, Nest, Tile
from .touched import Region, regions

MOST = 16  # slices
CORES = 4  # whose caches may hold what is handed on
WEIGHTS = ("parameter", "prepared", "constant")


def find_chains(launches: Sequence[Launch], near: int) -> list[Chain]:
    """The chains of launches that run in this order, on cores whose own caches have ``near`` bytes
    for what a slice leaves there.
    """
    found: list[Chain] = []
    first = 0
    while first < len(launches):
        made = longest(launches, first, near)
        found += [made] if made else []
        first = made.last if made else first + 1
    return found


def longest(launches: Sequence[Launch], first: int, near: int) -> Chain | None:
    """The longest chain that begins with a launch; None if the next one does not join."""
    members, slices = [launches[first]], ways(launches[first])
    for launch in launches[first + 1 :] if slices else ():
        more, both = [*members, launch], slices & ways(launch)
        if not both or not pays(members, launch, near) or not apart(more, max(both)):
            break
        members, slices = more, both
    return chain_of(launches, range(first, first + len(members)), max(slices, default=1))


def chain_of(launches: Sequence[Launch], span: range, count: int) -> Chain | None:
    """The launches of a span with the buffers that are sliced; None if no buffer is.

    Sliced are those that nothing outside of the span touches, if each access moves by as much from
    slice to slice: a thread has them of one slice only, packed by when they are live.
    """
    outside = {id(a.buffer) for i, x in enumerate(launches) if i not in span for a in x.accesses}
    own: dict[int, Buffer] = {}
    moves: dict[int, set[int]] = {}
    buffers: dict[int, Buffer] = {}
    for number in span if len(span) > 1 else ():
        launch = launches[number]
        for access, by in zip(launch.accesses, steps_of(launch, count), strict=True):
            key, b = id(access.buffer), access.buffer
            if b.home == "arena" and key not in outside:
                buffers[key] = b
                own.setdefault(key, Buffer(b.name, by + SLACK, "own", first=number)).last = number
                moves.setdefault(key, set()).add(by)
    own = {key: b for key, b in own.items() if len(moves[key]) == 1}
    if not own:
        return None
    pack(own.values())
    sliced = (SlicedBuffer(buffers[key], b.bytes - SLACK, b.offset) for key, b in own.items())
    return Chain(span.start, span.stop, count, tuple(sliced))


def pays(members: Sequence[Launch], launch: Launch, near: int) -> bool:
    """True if a launch reads more of a chain's values than caches hold, and if a core's own cache
    holds all weights.
    """
    written = {id(x.accesses[i].buffer) for x in members for i in x.writes}
    handed = (b.bytes for b in read(launch) if id(b) in written)
    weights = {id(b): b.bytes for x in (*members, launch) for b in read(x) if b.home in WEIGHTS}
    return max(handed, default=0) > CORES * near and sum(weights.values()) <= near


def read(launch: Launch) -> list[Buffer]:
    return [a.buffer for i, a in enumerate(launch.accesses) if i not in launch.writes]


@dataclass(frozen=True, slots=True)
class Outermost:
    """The axis that a launch's parts are shares of, alone or joined with those after it.

    Attributes:
        size: how many steps it has; of a tile's rows, the tiles.
        parts: how many shares.
        moves: for each access, by how many elements a step moves it.
    """

    size: int
    parts: int
    moves: tuple[int, ...]


def outermost(launch: Launch) -> Outermost | None:
    """None where parts are not shares of one axis, or positions along it decide what is read."""
    work = launch.work
    if isinstance(work, Nest):
        outputs = len(work.axes) - len(work.reduce)
        plain = work.style in ("row", "literal") or (work.style == "column" and outputs > 1)
        if not plain or not work.axes or 0 in work.reduce:
            return None
        if any(guarded(o, 0) for o in work.operands):
            return None
        return Outermost(work.axes[0], launch.parts, tuple(o.strides[0] for o in work.operands))
    if not isinstance(work, Tile) or work.sizes["g"] > 1 or work.partial:
        return None
    s, rows = work.sizes, work.contraction.rows
    axis = next((i for i, name in enumerate("gzy") if s[name] > 1), 3)
    step = rows if axis == 3 else work.contraction.lines if axis == 2 else 1
    size, rest = divmod(s["gzym"[axis]], step)
    if rest or guarded(work.a, axis):
        return None
    moves = [work.a.strides[axis], 0, *(o.strides[axis] for o in work.operands)]
    return Outermost(size, s["row_parts"], tuple(step * x for x in moves))


def guarded(access: Access, axis: int) -> bool:
    return any(number == axis for g in access.guards for number, _ in g.index.terms)


def ways(launch: Launch) -> set[int]:
    """Into how many slices a launch can be cut: each has as many parts and steps as the others."""
    axis = outermost(launch)
    common = gcd(axis.size, axis.parts) if axis else 1
    return {n for n in range(2, MOST + 1) if common % n == 0}


def slices_of(launch: Launch, count: int) -> list[list[Region]]:
    """What each slice of a launch may touch, in the order of ``launch.accesses``."""
    found = []
    for area, by in zip(regions(launch), steps_of(launch, count), strict=True):
        low, high = area.first - min(0, by * (count - 1)), area.last - max(0, by * (count - 1))
        found.append([Region(area.buffer, low + i * by, high + i * by) for i in range(count)])
    return [list(each) for each in zip(*found, strict=True)]


def steps_of(launch: Launch, count: int) -> list[int]:
    """For each access of a launch the bytes from one slice to the next."""
    axis = outermost(launch)
    assert axis is not None
    steps = axis.size // count
    pairs = zip(launch.accesses, axis.moves, strict=True)
    return [move * steps * DTYPES[access.dtype].bytes for access, move in pairs]


def apart(
    launches: Sequence[Launch], count: int, placed: bool = False, sliced: Set[int] = frozenset()
) -> bool:
    """True if no slice of these launches touches what another slice of any of them writes, other
    than in buffers that are ``sliced``. Unless they are ``placed``, no two buffers share memory.
    """
    accesses = [
        (areas, i in launch.writes)
        for launch in launches
        for i, areas in enumerate(zip(*slices_of(launch, count), strict=True))
        if id(areas[0].buffer) not in sliced
    ]
    return not any(
        meet(one[i], other[j], placed)
        for one, writes in accesses
        if writes
        for other, _ in accesses
        if one[0].absolute[:2] == other[0].absolute[:2]
        for i in range(count)
        for j in range(count)
        if i != j
    )


def meet(a: Region, b: Region, placed: bool) -> bool:
    (*_, first, last), (*_, begin, end) = a.absolute, b.absolute
    shared = placed or a.buffer is b.buffer or a.buffer.home != "arena"
    return shared and first < end and begin < last
