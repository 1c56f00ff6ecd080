"""Who touched which bytes: races between the threads of a launch, by the barriers that order them.

Two accesses race if different threads make them, one is a plain write, or one a plain access and
the other an atomic one, and neither a block barrier (same block) nor a warp barrier (same warp)
is between them. Nothing orders blocks. The order in which the emulator happens to run threads
plays no part.

A thread's number is unique over all launches on a memory. A record keeps, for each cell, the last
thread, its time and its instruction; of several readers it keeps what they have in common: each
block has numbers for 'several threads of warp w' and 'several threads of the block' after those
of its threads, and one number means 'threads of several blocks'.

A time is the block's number, the block barriers that it has passed, and the warp barriers since the
last of them, in fields of one integer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WARP_FIELD = 20  # bits of a time that count warp barriers
BLOCK_FIELD = 40  # bits of a time below the block's number
LOGGED_LANES = 1 << 22  # reads that are kept in a list at most


@dataclass(frozen=True, slots=True)
class Numbering:
    """Threads' numbers in one launch."""

    first: int
    blocks: int
    threads: int  # of a block

    @property
    def warps(self) -> int:
        return -(-self.threads // 32)

    @property
    def bits(self) -> int:
        """A block has 2**bits numbers, so that shifts take the place of divisions."""
        return (self.threads + self.warps).bit_length()

    @property
    def several_blocks(self) -> int:
        return self.first + (self.blocks << self.bits)

    def number(self, block: np.ndarray, thread: np.ndarray) -> np.ndarray:
        return self.first + (block << self.bits) + thread

    def split(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(block, warp) of threads; 'several of the block' count as one warp after the last."""
        relative = numbers - self.first
        thread = relative & ((1 << self.bits) - 1)
        return relative >> self.bits, np.where(
            thread < self.threads, thread >> 5, thread - self.threads
        )

    def join(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The common part of two records of threads."""
        block_a, warp_a = self.split(a)
        block_b, warp_b = self.split(b)
        shared = self.number(block_a, self.threads + np.where(warp_a == warp_b, warp_a, self.warps))
        return np.where(a == b, a, np.where(block_a == block_b, shared, self.several_blocks))


@dataclass(frozen=True, slots=True)
class Actors:
    """Lanes that make an access: threads and times of each, and the instruction's number."""

    numbering: Numbering
    threads: np.ndarray
    times: np.ndarray
    instruction: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Lane `lane` of an access against the thread in a record."""

    lane: int
    thread: int
    instruction: int
    other: str  # 'written', 'read', 'changed atomically'


def next_interval(times: np.ndarray) -> np.ndarray:
    """The times of threads that leave a block barrier."""
    return ((times >> WARP_FIELD) + 1) << WARP_FIELD


def may_overlap(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """True if no block barrier is between; False only for one block at two of its intervals."""
    difference = times ^ others
    return (difference < 1 << WARP_FIELD) | (difference >= 1 << BLOCK_FIELD)


class Record:
    """The last access of one kind to each cell."""

    def __init__(self, cells: int, other: str):
        self.other = other
        self.launch = 0  # the last one with entries; older ones do not count
        self.thread = np.zeros(cells, np.int64)
        self.time = np.zeros(cells, np.int64)
        self.instruction = np.zeros(cells, np.int32)

    def conflict(self, cells: np.ndarray, actors: Actors) -> Conflict | None:
        """The first lane with an access that nothing orders with the recorded one."""
        numbering = actors.numbering
        if self.launch != numbering.first:
            return None
        recorded = self.thread[cells]
        foreign = (recorded >= numbering.first) & (recorded != actors.threads)
        if not foreign.any():
            return None
        times = self.time[cells]
        lanes = np.flatnonzero(foreign & may_overlap(times, actors.times))
        if lanes.size == 0:
            return None
        block, warp = numbering.split(recorded[lanes])
        our_block, our_warp = numbering.split(actors.threads[lanes])
        ordered = (block == our_block) & (warp == our_warp) & (times[lanes] != actors.times[lanes])
        racing = lanes[~ordered]
        if racing.size == 0:
            return None
        lane = int(racing[0])
        return Conflict(lane, int(recorded[lane]), int(self.instruction[cells[lane]]), self.other)

    def set(self, cells: np.ndarray, actors: Actors) -> None:
        self.launch = actors.numbering.first
        self.thread[cells] = actors.threads
        self.time[cells] = actors.times
        self.instruction[cells] = actors.instruction

    def join(self, cells: np.ndarray, actors: Actors) -> None:
        """Adds threads to those since the last barrier, and to those of other blocks."""
        numbering, threads = actors.numbering, actors.threads
        self.launch = numbering.first
        old = self.thread[cells]
        met = np.flatnonzero((old >= numbering.first) & (old != threads))
        if met.size:
            met = met[may_overlap(self.time[cells[met]], actors.times[met])]
            threads = threads.copy()
            threads[met] = numbering.join(old[met], threads[met])
        self.time[cells] = actors.times
        self.instruction[cells] = actors.instruction
        self.thread[cells] = threads
        while True:  # lanes of this access that read the same cell
            kept = self.thread[cells]
            differ = np.flatnonzero(kept != threads)
            joined = numbering.join(kept[differ], threads[differ])
            grown = joined != kept[differ]
            if not grown.any():
                return
            self.thread[cells[differ[grown]]] = joined[grown]


class Shadow:
    """Records of plain writes, reads and atomic operations on a region, in cells of `grain` bytes.

    Reads matter only to writes that follow: they are listed, and recorded when a write comes.
    """

    def __init__(self, size: int, grain: int):
        self.grain = grain
        cells = size // grain + 1
        self.writes, self.reads = Record(cells, "written"), Record(cells, "read")
        self.atomics = Record(cells, "changed atomically")
        self.copies = Record(cells, "begun to copy")  # that have not ended
        self.log: list[tuple[np.ndarray, Actors]] = []
        self.logged = 0

    def cells(self, offsets: np.ndarray, width: int) -> list[np.ndarray]:
        first = offsets // self.grain
        return [first + i if i else first for i in range(max(1, width // self.grain))]

    def forget_reads(self) -> None:
        """All threads have passed a barrier, or a launch has ended."""
        self.log, self.logged = [], 0

    def unfinished(self, offsets: np.ndarray, width: int, first: int) -> Conflict | None:
        """The first lane whose bytes an asynchronous copy is still on its way to."""
        record = self.copies
        for cells in self.cells(offsets, width) if record.launch == first else ():
            lanes = np.flatnonzero(record.thread[cells] >= first)
            if lanes.size:
                lane, cell = int(lanes[0]), int(cells[lanes[0]])
                thread, number = int(record.thread[cell]), int(record.instruction[cell])
                return Conflict(lane, thread, number, record.other)
        return None

    def on_copy(self, offsets: np.ndarray, width: int, actors: Actors) -> Conflict | None:
        """An asynchronous copy begins; from now on nobody may touch its bytes."""
        self.record_reads(actors.numbering.first)
        for cells in self.cells(offsets, width):
            for record in (self.writes, self.reads, self.atomics):
                if found := record.conflict(cells, actors):
                    return found
            self.copies.set(cells, actors)
        return None

    def on_arrival(self, offsets: np.ndarray, width: int, actors: Actors) -> None:
        """A copy has ended, and counts as a store at this time."""
        for cells in self.cells(offsets, width):
            self.copies.thread[cells] = 0
            self.writes.set(cells, actors)

    def record_reads(self, launch: int) -> None:
        for cells, actors in self.log:
            if actors.numbering.first == launch:
                self.reads.join(cells, actors)
        self.forget_reads()

    def on_load(self, offsets: np.ndarray, width: int, actors: Actors) -> Conflict | None:
        if self.log and self.log[0][1].numbering.first != actors.numbering.first:
            self.forget_reads()
        for cells in self.cells(offsets, width):
            found = self.writes.conflict(cells, actors) or self.atomics.conflict(cells, actors)
            if found:
                return found
            self.log.append((cells, actors))
            self.logged += cells.size
        if self.logged > LOGGED_LANES:
            self.record_reads(actors.numbering.first)
        return None

    def on_store(self, offsets: np.ndarray, width: int, actors: Actors) -> Conflict | None:
        self.record_reads(actors.numbering.first)
        for cells in self.cells(offsets, width):
            for record in (self.writes, self.reads, self.atomics):
                if found := record.conflict(cells, actors):
                    return found
            self.writes.set(cells, actors)
            twice = np.flatnonzero(self.writes.thread[cells] != actors.threads)
            if twice.size:  # two lanes of this very access
                lane = int(twice[0])
                return Conflict(
                    lane, int(self.writes.thread[cells[lane]]), actors.instruction, "written"
                )
        return None

    def on_atomic(self, offsets: np.ndarray, width: int, actors: Actors) -> Conflict | None:
        self.record_reads(actors.numbering.first)
        for cells in self.cells(offsets, width):
            if found := self.writes.conflict(cells, actors) or self.reads.conflict(cells, actors):
                return found
            self.atomics.join(cells, actors)
        return None

    def unwritten(self, offsets: np.ndarray, width: int, first: int) -> np.ndarray:
        """Lanes whose cells no thread has written in the launch that begins with thread `first`."""
        missing = np.zeros(offsets.shape, bool)
        for cells in self.cells(offsets, width):
            missing |= self.writes.thread[cells] < first
        if missing.any():
            for cells in self.cells(offsets, width):
                missing &= self.atomics.thread[cells] < first
        return np.flatnonzero(missing)
