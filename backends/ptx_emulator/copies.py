"""Asynchronous copies from global to shared memory, which end as late as a GPU allows.

The bytes of ``cp.async`` are there once the thread that asked for them has waited for their group,
and never before. Until then nobody may touch the place that they go to. To other threads they are
as a store at the time of the wait: a barrier must follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of one instruction that have not ended.

    Attributes:
        lanes: that asked for them.
        groups: of each lane, the number of the group; groups count from 0 for each thread.
        offsets: where the bytes go, in the region of shared memory.
        data: (lanes, bytes).
    """

    lanes: np.ndarray
    groups: np.ndarray
    offsets: np.ndarray
    data: np.ndarray
    instruction: int

    def some(self, chosen: np.ndarray) -> Copies:
        lanes, groups, offsets, data = (
            x[chosen] for x in (self.lanes, self.groups, self.offsets, self.data)
        )
        return Copies(lanes, groups, offsets, data, self.instruction)


class CopyQueue:
    """What the lanes of some blocks have asked for, in their order."""

    def __init__(self, lanes: int):
        self.committed = np.zeros(lanes, np.int64)  # groups of each lane
        self.pending: list[Copies] = []
        self.instructions: set[int] = set()  # that have asked for any

    def add(
        self, lanes: np.ndarray, offsets: np.ndarray, data: np.ndarray, instruction: int
    ) -> None:
        self.instructions.add(instruction)
        groups = self.committed[lanes]
        self.pending.append(Copies(lanes, groups, offsets, data, instruction))

    def commit(self, lanes: np.ndarray) -> None:
        self.committed[lanes] += 1

    def ended(self, lanes: np.ndarray, keep: int) -> Iterator[Copies]:
        """The copies of these lanes that are in none of their last ``keep`` groups."""
        limit = np.full(self.committed.shape, -1)
        limit[lanes] = self.committed[lanes] - keep
        pending, self.pending = self.pending, []
        for copies in pending:
            due = copies.groups < limit[copies.lanes]
            if not due.all():
                self.pending.append(copies.some(~due) if due.any() else copies)
            if due.any():
                yield copies.some(due)
