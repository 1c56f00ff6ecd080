"""verify_plan: exact, because shapes are static. In bounds, no races, nothing live overwritten.

One walk over the launches keeps, for every byte, which launch wrote it for which buffer and which
have read it since. Of a loop it walks two steps one by one: what they do to each other, any two do,
since accesses move by the same bytes in every step and what moves shares its memory with nothing in
the loop. The other steps are walked as one, for what moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..graph.dtype import DTYPES
from .chains import apart, ways
from .records.names import early_use
from .records.plan import Chain, Launch, Loop, Plan
from .records.work import SLACK, Access, Buffer, Nest
from .touched import Line, Order, PlanError, Region, Touch, Turn, regions


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
    for chain in plan.chains:
        slices_apart(plan.launches[chain.first : chain.last], chain)
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


def slices_apart(launches: Sequence[Launch], chain: Chain) -> None:
    """Checks that slices of a chain have nothing to do with each other."""
    cut = all(chain.slices in ways(launch) for launch in launches)
    sliced = {id(x.buffer) for x in chain.sliced}
    if not cut or not apart(launches, chain.slices, placed=True, sliced=sliced):
        raise PlanError(
            f"{launches[0].name} to {launches[-1].name} cannot run in {chain.slices} slices, one "
            "after the other",
            *launches,
        )


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
        shared = range(1 if work.style in ("tiled", "unrolled") else work.shared)
        apart = all(work.axes[a] == 1 or strides[a] != 0 for a in shared)
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
