"""The order of launches on several devices: each takes what it can start first.

A device runs its launches in the order of the plan. One that waits for another device must not
stand before one that could have run meanwhile: so the order is that of a run in thought, in which a
launch takes as long as its operations and bytes suggest.
"""

from __future__ import annotations

from ..records.cost import node_cost, traffic
from ..records.plan import Launch, Repeat
from ..records.target import Target
from .order import waits


def side_by_side(launches: list[Launch], target: Target) -> list[Launch]:
    """The launches in an order of execution, waits set."""
    waits(launches)
    missing = [len(x.waits) for x in launches]
    readers: list[list[int]] = [[] for _ in launches]
    for number, launch in enumerate(launches):
        for w in launch.waits:
            readers[w].append(number)
    finish = [0.0] * len(launches)
    free = {x.device: 0.0 for x in launches}
    ready = [number for number, count in enumerate(missing) if not count]
    order: list[int] = []

    def start(number: int) -> tuple[float, int]:
        launch = launches[number]
        return max(free[launch.device], *(finish[w] for w in launch.waits), 0.0), number

    while ready:
        time, number = min(map(start, ready))
        ready.remove(number)
        order.append(number)
        finish[number] = time + duration(launches[number], target)
        free[launches[number].device] = finish[number]
        for reader in readers[number]:
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    result = [launches[number] for number in order]
    waits(result)
    return result


def duration(launch: Launch, target: Target) -> float:
    """The target's estimate for all of a launch."""
    if isinstance(launch.work, Repeat):
        return launch.work.length * sum(duration(x, target) for x in launch.work.launches)
    return target.duration(sum(map(node_cost, launch.nodes)), traffic(launch))
