"""What memory instructions cost a GPU: sectors of global memory, passes over shared banks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .races import Numbering

SECTOR = 32  # bytes that global memory is read and written in
BANKS = 32  # of shared memory, 4 bytes wide


@dataclass(slots=True)
class Traffic:
    """Traffic of one instruction: requests of warps, what they took, the least possible."""

    requests: int = 0
    used: int = 0
    least: int = 0

    def add(self, requests: int, used: int, least: int) -> None:
        self.requests += requests
        self.used += used
        self.least += least


@dataclass(slots=True)
class Counters:
    """By number of the instruction: sectors of global accesses, passes of shared accesses."""

    sectors: dict[int, Traffic] = field(default_factory=dict)
    passes: dict[int, Traffic] = field(default_factory=dict)

    def device(
        self,
        instruction: int,
        threads: np.ndarray,
        places: np.ndarray,
        size: int,
        numbering: Numbering,
    ) -> None:
        block, warp = numbering.split(threads)
        warps = block * numbering.warps + warp
        requests = np.unique(warps).size
        used = np.unique(np.stack([warps, places // SECTOR], axis=1), axis=0).shape[0]
        whole = np.bincount(np.unique(warps, return_inverse=True)[1]) * size
        self.sectors.setdefault(instruction, Traffic()).add(
            requests, used, int((-(-whole // SECTOR)).sum())
        )

    def shared(
        self,
        instruction: int,
        threads: np.ndarray,
        places: np.ndarray,
        size: int,
        numbering: Numbering,
    ) -> None:
        """A warp's 128-bit access is made in four groups of lanes, a 64-bit one in two."""
        block, warp = numbering.split(threads)
        words = max(1, size // 4)
        lane = (threads - numbering.first) % (1 << numbering.bits) % 32
        group = (block * numbering.warps + warp) * words + lane // (32 // words)
        word = (places[:, None] // 4 + np.arange(words)).reshape(-1)
        touched = np.unique(np.stack([np.repeat(group, words), word], axis=1), axis=0)
        groups, number = np.unique(touched[:, 0], return_inverse=True)
        load = np.bincount(number * BANKS + touched[:, 1] % BANKS, minlength=groups.size * BANKS)
        passes = int(load.reshape(-1, BANKS).max(axis=1).sum())
        requests = np.unique(block * numbering.warps + warp).size
        self.passes.setdefault(instruction, Traffic()).add(requests, passes, groups.size)
