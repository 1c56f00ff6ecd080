"""Bundles: launches that do not depend on each other go out as one.

A launch costs a wait; a step of training has dozens that do next to nothing, such as repacking a
weight or updating a bias. Each joins the latest earlier bundle behind everything that it waits for.
So do siblings, contractions that read the same values, as the 1x1 convolutions of an Inception
block: what one of them has brought into the cache serves the others.
"""

from __future__ import annotations

from .memory import waits
from .plan import Bundle, Launch, Repeat, Tile

SMALL = 4  # parts: what has more fills the threads by itself


def bundle(launches: list[Launch]) -> list[Launch]:
    """The launches in an order of execution, small ones bundled, waits set."""
    waits(launches)
    slots: list[list[Launch]] = []
    position: dict[int, int] = {}  # launch -> slot
    small: list[bool] = []
    source: list[tuple[int, int] | None] = []
    for number, launch in enumerate(launches):
        earliest = max((position[w] + 1 for w in launch.waits), default=0)
        repeats = isinstance(launch.work, Repeat)
        little, reads = launch.parts <= SMALL and not repeats, operand(launch)
        room = [
            s
            for s in range(earliest, len(slots))
            if (little and small[s]) or (reads is not None and reads == source[s])
        ]
        if room:
            slot = room[-1]
            slots[slot].append(launch)
        else:
            slot = len(slots)
            slots.append([launch])
            small.append(little)
            source.append(reads)
        position[number] = slot
    result = [one(members) for members in slots]
    waits(result)
    return result


def operand(launch: Launch) -> tuple[int, int] | None:
    """What a contraction reads as its rows."""
    return (
        (id(launch.work.a.buffer), launch.work.a.offset) if isinstance(launch.work, Tile) else None
    )


def one(members: list[Launch]) -> Launch:
    """A slot's launch: its only member, or a bundle of them."""
    if len(members) == 1:
        return members[0]
    nodes = tuple(dict.fromkeys(n for m in members for n in m.nodes))
    name = "bundle of " + ", ".join(dict.fromkeys(m.name for m in members))
    return Launch(name, Bundle(tuple(members)), nodes, sum(m.parts for m in members))
