"""verify_plan: exact, because shapes are static. In bounds, no two writers at once, nothing live overwritten."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .plan import Access, Buffer, Bundle, Emitted, Launch, Nest, Plan, Tile


class PlanError(Exception):
    """A plan that must not run; the message names the launches, the buffer and the bytes."""


ITEMSIZE = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint32": 4, "uint8": 1, "bool": 1}


@dataclass(frozen=True, slots=True)
class Region:
    """The bytes that an access may touch, within its buffer."""

    buffer: Buffer
    first: int
    last: int  # exclusive

    @property
    def absolute(self) -> tuple[str, int, int, int]:
        """Home, number, first and last byte in memory that buffers may share."""
        shared = self.buffer.home in ("arena", "prepared")
        base = self.buffer.offset if shared else 0
        return (self.buffer.home, 0 if shared else self.buffer.number, base + self.first, base + self.last)


def overlap(a: Region, b: Region) -> bool:
    (home, number, first, last), (home2, number2, first2, last2) = a.absolute, b.absolute
    return (home, number) == (home2, number2) and first < last2 and first2 < last


def region(access: Access, sizes: tuple[int, ...]) -> Region:
    low = high = access.offset
    for size, stride in zip(sizes, access.strides, strict=True):
        low, high = low + min(0, stride * (size - 1)), high + max(0, stride * (size - 1))
    for guard in access.guards:
        high += guard.stride * (guard.size - 1)
    item = ITEMSIZE[access.dtype]
    return Region(access.buffer, low * item, (high + 1) * item)


def regions(launch: Launch) -> list[Region]:
    """What each access of a launch may touch, in the order of ``launch.accesses``."""
    work = launch.work
    if isinstance(work, Bundle):
        return [area for member in work.launches for area in regions(member)]
    if isinstance(work, Nest):
        return [region(o, work.axes) for o in work.operands]
    if isinstance(work, Tile):
        s = dict(work.sizes)
        outer = tuple(s[x] for x in "gzym")
        inner = tuple(s[x] for x in "rsk")
        width = work.contraction.width
        blocks = -(-s["n"] // width)
        a = region(work.a, (*outer, *inner))
        b = region(work.b, (s["g"], blocks, *inner))
        columns = width if s["b_k"] == width else s["n"] - (blocks - 1) * width
        b = Region(b.buffer, b.first, b.last + 4 * (columns - 1))
        waiting = [region(work.partial, ())] if work.partial else []
        return [a, b, *(region(o, (*outer, s["n"])) for o in work.operands), *waiting]
    if isinstance(work, Emitted):
        return [region(o, box) for o, box in zip(work.operands, work.boxes, strict=True)]
    sizes = dict(work.sizes)
    return [
        region(o, tuple(sizes[f"n{i}_{a}"] for a in range(len(o.strides)))) for i, o in enumerate(work.operands)
    ]


def verify_plan(plan: Plan) -> Plan:
    """Raises PlanError unless every launch stays in bounds and no two launches are in each other's way."""
    for launches in (plan.prepare, plan.launches):
        touched = [regions(launch) for launch in launches]
        for launch, areas in zip(launches, touched, strict=True):
            in_bounds(launch, areas)
            disjoint_parts(launch, areas)
        ordered(launches, touched)
    written_before_read(plan)
    return plan


def in_bounds(launch: Launch, areas: list[Region]) -> None:
    for area in areas:
        if area.first < 0 or area.last > area.buffer.bytes:
            raise PlanError(
                f"{launch.name} touches bytes {area.first} to {area.last} of {area.buffer.name}, "
                f"which has {area.buffer.bytes}"
            )


def disjoint_parts(launch: Launch, areas: list[Region]) -> None:
    """Concurrent parts of one launch write different elements: every parallel axis moves every write."""
    work = launch.work
    if isinstance(work, Bundle):
        touched = [regions(member) for member in work.launches]
        for member, mine in zip(work.launches, touched, strict=True):
            disjoint_parts(member, mine)
        ordered([replace(m, waits=()) for m in work.launches], touched)
    if not isinstance(work, Nest) or launch.parts == 1:
        return
    for i in launch.writes:
        if work.axes and 0 not in work.reduce and work.operands[i].strides[0] == 0:
            raise PlanError(f"{launch.name}: its parts all write the same elements of {areas[i].buffer.name}")


def ordered(launches: list[Launch], touched: list[list[Region]]) -> None:
    """Two launches that touch the same bytes, one of them writing, are ordered by what they wait for."""
    before: list[int] = []  # bit sets: every launch that is complete when this one starts
    spans: list[list[tuple[Region, bool]]] = []
    for number, launch in enumerate(launches):
        done = 0
        for w in launch.waits:
            if not 0 <= w < number:
                raise PlanError(f"{launch.name} waits for launch {w}, which does not come before it")
            done |= before[w] | 1 << w
        before.append(done)
        mine = [(area, i in launch.writes) for i, area in enumerate(touched[number])]
        for other in range(number):
            if done >> other & 1:
                continue
            for area, writes in mine:
                for theirs, wrote in spans[other]:
                    if (writes or wrote) and overlap(area, theirs):
                        raise PlanError(
                            f"{launch.name} and {launches[other].name} run at the same time and both touch "
                            f"{area.buffer.name} and {theirs.buffer.name}, at least one of them writing"
                        )
        spans.append(mine)


def written_before_read(plan: Plan) -> None:
    """Every byte range of the arena that is read was last written under the same buffer's name."""
    prepared = {id(a.buffer) for launch in plan.prepare for i, a in enumerate(launch.accesses) if i in launch.writes}
    owner: list[Region] = []
    for launch in plan.launches:
        areas = regions(launch)
        for i, area in enumerate(areas):
            if i in launch.writes:
                continue
            if area.buffer.home == "prepared" and id(area.buffer) not in prepared:
                raise PlanError(f"{launch.name} reads {area.buffer.name}, which nothing prepares")
            if area.buffer.home == "arena":
                last = [o for o in owner if overlap(o, area)]
                if not last or any(o.buffer is not area.buffer for o in last):
                    other = next((o.buffer.name for o in last if o.buffer is not area.buffer), "nothing")
                    raise PlanError(f"{launch.name} reads {area.buffer.name}, but {other} was written there last")
        for i, area in enumerate(areas):
            if i in launch.writes:
                if area.buffer.home == "prepared":
                    raise PlanError(f"{launch.name} writes {area.buffer.name}, which is prepared before the run")
                owner = [o for o in owner if o.buffer is area.buffer or not overlap(o, area)] + [area]
