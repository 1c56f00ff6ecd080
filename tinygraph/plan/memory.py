"""The order of launches, what they wait for, and where their buffers lie in the arena."""

from __future__ import annotations

from .group import Fusion, Group
from .plan import Access, Buffer, Launch, Plan

ALIGN = 64


def order_groups(fusion: Fusion, before: dict[int, set[int]]) -> list[Group]:
    """The groups in an order in which each comes behind those that it waits for."""
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


def waits(launches: list[Launch]) -> None:
    """Sets what each launch waits for: who wrote what it reads, and who touched what it overwrites."""
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    for number, launch in enumerate(launches):
        needs: set[int] = set()
        writes = launch.writes
        for i, access in enumerate(launch.accesses):
            key = id(access.buffer)
            needs |= set(writers.get(key, ()))
            if i in writes:
                needs |= set(readers.get(key, ()))
        launch.waits = tuple(sorted(needs - {number}))
        for i, access in enumerate(launch.accesses):
            (writers if i in writes else readers).setdefault(id(access.buffer), []).append(number)
    reduce_waits(launches)


def place_buffers(plan: Plan) -> None:
    """Lifetimes, then offsets: largest first, each at the lowest address that is free while it is live."""
    for number, launch in enumerate(plan.launches):
        for access in launch.accesses:
            touch(access, number)
    live = [b for b in plan.buffers if b.home == "arena" and b.first >= 0]
    for step in range(len(plan.launches)):
        plan.live_bound = max(plan.live_bound, sum(rounded(b) for b in live if b.first <= step <= b.last))
    placed: list[Buffer] = []
    for buffer in sorted(live, key=lambda b: (-b.bytes, b.first)):
        offset = 0
        for other in sorted(placed, key=lambda b: b.offset):
            if other.first <= buffer.last and buffer.first <= other.last:
                if offset + rounded(buffer) <= other.offset:
                    break
                offset = max(offset, other.offset + rounded(other))
        buffer.offset = offset
        placed.append(buffer)
        plan.arena = max(plan.arena, offset + rounded(buffer))
    for buffer in plan.buffers:
        if buffer.home == "prepared":
            buffer.offset, plan.prepared = plan.prepared, plan.prepared + rounded(buffer)
    reuse_waits(plan.launches)


def touch(access: Access, number: int) -> None:
    buffer = access.buffer
    buffer.first = number if buffer.first < 0 else buffer.first
    buffer.last = number


def rounded(buffer: Buffer) -> int:
    return -(-buffer.bytes // ALIGN) * ALIGN


def reuse_waits(launches: list[Launch]) -> None:
    """A launch that first writes a buffer waits for all who used what lay there before."""
    seen: dict[int, Buffer] = {}
    users: dict[int, set[int]] = {}
    for number, launch in enumerate(launches):
        more: set[int] = set()
        for access in launch.accesses:
            buffer = access.buffer
            if buffer.home != "arena":
                continue
            if buffer.first == number and id(buffer) not in seen:
                for key, other in seen.items():
                    if other.offset < buffer.offset + buffer.bytes and buffer.offset < other.offset + other.bytes:
                        more |= users[key]
                seen[id(buffer)] = buffer
            users.setdefault(id(buffer), set()).add(number)
        launch.waits = tuple(sorted({*launch.waits, *more} - {number}))
    reduce_waits(launches)


def reduce_waits(launches: list[Launch]) -> None:
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
