"""The order of launches, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from ..fusion.group import Group
from ..fusion.state import Fusion
from ..records.plan import Launch, Loop

ORDER = 0  # stands for a buffer that all ordered launches write


def order_groups(fusion: Fusion, before: dict[int, set[int]]) -> list[Group]:
    """The groups in an order in which each comes after those that it waits for."""
    order: list[Group] = []
    done: set[int] = set()
    state: dict[int, int] = {}
    for group in fusion.groups:
        stack = [group.number]
        while stack:
            number = stack[-1]
            if number in done:
                stack.pop()
                continue
            missing = sorted(before[number] - done)
            if state.get(number) and missing:
                raise ValueError("kernels wait for each other")
            state[number] = 1
            if missing:
                stack.extend(m for m in reversed(missing) if not state.get(m))
                if all(state.get(m) for m in missing):
                    raise ValueError("kernels wait for each other")
            else:
                done.add(number)
                order.append(fusion.groups[number])
                stack.pop()
    return order


def waits(launches: Sequence[Launch], loops: Sequence[Loop] = ()) -> None:
    """Sets what each launch waits for: the writers of what it reads, all users of what it
    overwrites; an ordered launch, the ordered one before it.
    """
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    for number, launch in enumerate(launches):
        needs: set[int] = set()
        writes = launch.writes
        if launch.ordered:
            needs |= set(writers.get(ORDER, ()))
            writers[ORDER] = [number]
        for i, access in enumerate(launch.accesses):
            key = id(access.buffer)
            needs |= set(writers.get(key, ()))
            if i in writes:
                needs |= set(readers.get(key, ()))
        launch.waits = tuple(sorted(needs - {number}))
        for i, access in enumerate(launch.accesses):
            (writers if i in writes else readers).setdefault(id(access.buffer), []).append(number)
    reduce_waits(launches)
    for loop in loops:
        conflicts(launches, loop)


def conflicts(launches: Sequence[Launch], loop: Loop) -> None:
    """Sets ``back``: launches of the previous step that must finish first.

    Every launch writes something, so it waits for itself, and what waits for a launch of the last
    step waits for all steps. For launches that come earlier in the step, it waits within its own.
    """
    touched = {}
    for number in range(loop.first, loop.last):
        launch = launches[number]
        writes = {id(launch.accesses[i].buffer) for i in launch.writes}
        writes |= {ORDER} if launch.ordered else set()
        touched[number] = writes, writes | {id(a.buffer) for a in launch.accesses}
    for number in range(loop.first, loop.last):
        writes, all = touched[number]
        launches[number].back = tuple(
            other
            for other in range(number, loop.last)
            if writes & touched[other][1] or all & touched[other][0]
        )
    reduce_back(launches, loop)


def reduce_back(launches: Sequence[Launch], loop: Loop) -> None:
    """Drops what other waits imply."""
    complete: dict[int, int] = {}  # bit sets: what is complete of the same step,
    before: dict[int, int] = {}  # and of the step before
    inside = {
        number: [w for w in launches[number].waits if w >= loop.first]
        for number in range(loop.first, loop.last)
    }
    for number, waiting in inside.items():
        complete[number] = reduce(or_, (complete[w] | 1 << w for w in waiting), 0)
    for number, waiting in inside.items():
        known = reduce(or_, (before[w] for w in waiting), 0)
        kept = []
        for w in sorted(launches[number].back, reverse=True):
            if not known >> w & 1:
                kept.append(w)
                known |= complete[w] | 1 << w
        launches[number].back, before[number] = tuple(sorted(kept)), known


def reduce_waits(launches: Sequence[Launch]) -> None:
    """Drops what other waits imply."""
    complete: list[int] = []  # bit sets
    for launch in launches:
        kept: list[int] = []
        implied = 0
        for w in sorted(launch.waits, reverse=True):
            if not implied >> w & 1:
                kept.append(w)
                implied |= complete[w] | 1 << w
        launch.waits = tuple(sorted(kept))
        complete.append(implied)
