"""Sums over shards: what follows from them comes after all that does not.

So nothing that a sum needs stands after what waits for an earlier sum: threads go on with the
backward pass while sums are made, and a shard's part ends where the launches after the sums begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ops.collective import summed_size
from ..records.plan import Launch
from ..records.target import Target
from .order import waits
from .side_by_side import duration


def at_sums(launches: Sequence[Launch]) -> tuple[list[Launch], list[list[Launch]]]:
    """The launches up to the last sum; and those that follow from sums, by the latest of them, so
    that parameters of the first bucket get new values while the others are summed.
    """
    sums = [i for i, x in enumerate(launches) if x.sums_shards]
    if not sums:
        return list(launches), []
    waits(launches)
    latest = {number: k for k, number in enumerate(sums)}
    late: list[list[Launch]] = [[] for _ in sums]
    for number, launch in enumerate(launches):
        known = [latest[w] for w in launch.waits if w in latest]
        if known and number not in latest:
            latest[number] = max(known)
            late[max(known)].append(launch)
    return [x for i, x in enumerate(launches) if i in sums or i not in latest], late


def keep_summed(launches: Sequence[Launch]) -> None:
    """What sums read and write lives until the last one: others may run meanwhile, and must not
    wait for a sum because they use its memory.
    """
    sums = [i for i, x in enumerate(launches) if x.sums_shards]
    for number in sums:
        for access in launches[number].accesses:
            access.buffer.last = max(access.buffer.last, sums[-1])


def note_sums(launches: Sequence[Launch], target: Target) -> None:
    """Notes of each sum, where there are several, how much of the work is done when it begins."""
    found = shares(launches, target)
    for number, bytes, share in found if len(found) > 1 else ():
        launches[number].note = f"{bytes:,} bytes, complete after {share:.0%} of the work"


def shares(launches: Sequence[Launch], target: Target) -> list[tuple[int, int, float]]:
    """Of each sum its launch, its bytes, and what share of a run's other work comes before it."""
    work = [0.0 if x.sums_shards else duration(x, target) for x in launches]
    return [
        (number, summed_size(x.nodes[-1]), sum(work[:number]) / max(sum(work), 1e-9))
        for number, x in enumerate(launches)
        if x.sums_shards
    ]
