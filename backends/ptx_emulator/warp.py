"""Instructions in which the lanes of a warp see each other: shuffles, votes, the warp barrier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .faults import DivergentWarp, Fault

WARP = 32
BITS = np.uint32(1) << np.arange(WARP, dtype=np.uint32)


@dataclass(slots=True)
class Warps:
    """The warps of a group of blocks.

    Attributes:
        slots: for each lane, 32 times its warp plus its place in the warp; the last warp of a
            block may have slots without a lane.
        alive: for each slot, whether its thread exists and is still running.
    """

    slots: np.ndarray
    alive: np.ndarray
    fail: Callable[[type[Fault], int, str, int], Fault]

    def active(self, lanes: np.ndarray, members: np.ndarray, instruction: int) -> np.ndarray:
        """Which slots take part; a fault where a living member does not."""
        here = np.zeros(self.alive.size, bool)
        here[self.slots[lanes]] = True
        missing = pack(self.alive & ~here)[self.slots[lanes] // WARP] & members
        if missing.any():
            lane = int(np.flatnonzero(missing)[0])
            absent = int(missing[lane]).bit_length() - 1
            detail = f"names lane {absent} of its warp in the member mask, which is elsewhere"
            raise self.fail(DivergentWarp, int(lanes[lane]), detail, instruction)
        return here

    def whole(self, lanes: np.ndarray, instruction: int) -> np.ndarray:
        """(warps, 32): which of the ``lanes`` are the lanes of each warp.

        Raises:
            DivergentWarp: one is not there.
        """
        place = np.full(self.alive.size, -1)
        place[self.slots[lanes]] = np.arange(lanes.size)
        warps = place.reshape(-1, WARP)
        warps = warps[(warps >= 0).any(axis=1)]
        torn = np.flatnonzero((warps < 0).any(axis=1))
        if torn.size:
            here = warps[torn[0]]
            detail = f"needs its whole warp, of which lane {int(np.argmin(here))} is elsewhere"
            raise self.fail(DivergentWarp, int(lanes[here.max()]), detail, instruction)
        return warps

    def together(self, lanes: np.ndarray) -> np.ndarray:
        """For each lane, which of its warp are among them."""
        here = np.zeros(self.alive.size, bool)
        here[self.slots[lanes]] = True
        return pack(here)[self.slots[lanes] // WARP]

    def shuffle(
        self,
        mode: str,
        lanes: np.ndarray,
        values: np.ndarray,
        distance: np.ndarray,
        control: np.ndarray,
        members: np.ndarray,
        instruction: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(another lane's value, whether that lane is in the segment), as shfl.sync has it."""
        here = self.active(lanes, members, instruction)
        slots = self.slots[lanes]
        own = slots % WARP
        step = (distance & np.uint32(31)).astype(np.int64)
        segment = ((control >> np.uint32(8)) & np.uint32(31)).astype(np.int64)
        clamp = (control & np.uint32(31)).astype(np.int64)
        limit = (own & segment) | (clamp & ~segment)
        if mode == "up":
            source = own - step
            inside = source >= limit
        else:
            towards = {
                "down": own + step,
                "bfly": own ^ step,
                "idx": (own & segment) | (step & ~segment),
            }
            source = towards[mode]
            inside = source <= limit
        source = slots - own + np.where(inside, source, own)
        absent = np.flatnonzero(~here[source])
        if absent.size:
            lane = int(absent[0])
            which = int(source[lane]) % WARP
            detail = f"takes the value of lane {which} of its warp, which is not there"
            raise self.fail(DivergentWarp, int(lanes[lane]), detail, instruction)
        all_values = np.zeros(self.alive.size, values.dtype)
        all_values[slots] = values
        return all_values[source], inside

    def vote(
        self,
        mode: str,
        lanes: np.ndarray,
        predicate: np.ndarray,
        members: np.ndarray,
        instruction: int,
    ) -> np.ndarray:
        """all, any, uni or ballot over the members of each warp."""
        here = self.active(lanes, members, instruction)
        yes = np.zeros(self.alive.size, bool)
        yes[self.slots[lanes]] = predicate
        warps = self.slots[lanes] // WARP
        votes, voters = pack(yes)[warps] & members, pack(here)[warps] & members
        if mode == "ballot":
            return votes
        if mode == "any":
            return votes != 0
        return (votes == voters) if mode == "all" else (votes == voters) | (votes == 0)


def pack(flags: np.ndarray) -> np.ndarray:
    """One word a warp, a bit a slot."""
    return (flags.reshape(-1, WARP) * BITS).sum(axis=1, dtype=np.uint32)
