"""What a device can do at best, and what kernels take of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Roofline:
    """The processor at its best: operations and bytes per second of all threads together.

    Attributes:
        flops: of float32; ``times``: how many times as many are products of narrower operands, by
            their dtype.
    """

    threads: int
    flops: float
    bandwidth: float
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """A kernel's use of a device, known without running it.

    Attributes:
        architecture: that it was compiled for.
        threads: of a block.
        registers: of a thread.
        spills: bytes of registers that a thread moves to memory and back.
        shared: bytes of shared memory of a block.
        occupancy: the share of a multiprocessor's threads that can be resident.
        excess: what it takes beyond the backend's budget, in words; empty if nothing.
    """

    architecture: str
    threads: int
    registers: int
    spills: int
    shared: int
    occupancy: float
    excess: str = ""


@dataclass(frozen=True, slots=True)
class TimedPart:
    """A part of a launch, as a thread ran it; times are seconds since the run began.

    Attributes:
        thread: 0 is the one that called.
        launch, part: numbers; of a loop's launch, any step of it.
        taken: when the thread took it; from then on it waited for other launches.
        begin, end: when it ran.
    """

    thread: int
    launch: int
    part: int
    taken: float
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run of a program, by thread: what is in no part is between parts, or before a thread
    joined, or after the last part was taken.
    """

    seconds: float
    threads: int
    parts: tuple[TimedPart, ...]
