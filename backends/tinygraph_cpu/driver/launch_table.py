"""A launch table in memory: what the native driver walks, word by word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

LINE = 8  # words of a cache line

# Words of a table, of a launch record, of a launch's counter and of a team's state.
LAUNCHES, LAUNCH, ITEMS, ITEM, WAIT, STATS, EPOCH, DEVICES = range(8)
QUEUE, THREADS = LINE, 2 * LINE
DESK, ASKED, STOP = 2 * LINE + 1, 2 * LINE + 2, 2 * LINE + 3
# where entries go, the words of a thread, when the run began
LOG, LOG_WORDS, LOG_BEGAN = 2 * LINE + 4, 2 * LINE + 5, 2 * LINE + 6
ENTRY = 4  # words of an entry
NAPS, APART = 3 * LINE, 3 * LINE + 1
TABLE_WORDS = 4 * LINE
FUNCTION, ARGS, PARTS, WAIT_BEGIN, WAIT_END, COUNTER, DEVICE, CHOOSES = range(8)
DONE, TAKEN = 0, 1
MOST = 64  # parts of a launch of which threads choose their own: bits of a word
OWN, CHAINED = 1, 2  # of CHOOSES: threads take parts from their own share on; parts are of chains
GATE, LEFT, TABLE, LIMIT = 0, LINE, 2 * LINE, 2 * LINE + 1
INSIDE_BITS = 16  # of the gate: workers inside; the next bit says open; above is the run number
OPEN = 1 << INSIDE_BITS
STATE_WORDS = 3 * LINE


def words(count: int) -> np.ndarray:
    """Zeroed int64 words that begin on a cache line."""
    raw = np.zeros(count + LINE, np.int64)
    skip = -raw.ctypes.data % (8 * LINE) // 8
    return raw[skip : skip + count]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One kernel with its arguments.

    Attributes:
        function: address of ``void(int64 part, int64 tid, int64* args)``.
        args: address of its argument block; the code that builds the launch keeps it alive.
        parts: how many pieces it is cut into; they may run at the same time.
        waits: positions, in the table, of earlier launches that must be complete before.
        device: the number of the thread that runs it, in a table with devices.
        back: of a launch in a loop, positions of those in the loop that must be complete one step
            before.
        stride: of a launch in a loop, bytes from one step's argument block to the next's.
        own: whether threads take parts from their own share on, as they do in loops.
    """

    function: int
    args: int
    parts: int = 1
    waits: tuple[int, ...] = ()
    device: int = 0
    back: tuple[int, ...] = ()
    stride: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """Launches ``first`` up to ``last``, not included, that run slice by slice: as one launch of so
    many parts, whose ``function`` is the driver's.

    Attributes:
        moves: for each launch the words of its argument block that are addresses in memory of which
            a thread has one slice: (word, bytes of a slice, distance to the first thread's).
        words: of each launch's argument block.
        threads: that may run it.
        own: bytes from one thread's memory to the next one's.
    """

    first: int
    last: int
    slices: int
    function: int
    moves: tuple[tuple[tuple[int, int, int], ...], ...]
    words: tuple[int, ...]
    threads: int
    own: int


class Steps:
    """Where the records of launches are once loops are written out, one step after the other.

    Attributes:
        number: the launch of each record.
        loop: for each launch the number of its loop, -1 outside.
        length, width: of that loop: steps, and launches in a step; 1 and 0 outside.
        start: the record of each launch's first step.
    """

    def __init__(self, launches: int, loops: Sequence[tuple[int, int, int]]) -> None:
        self.loop, self.length, self.width = [-1] * launches, [1] * launches, [0] * launches
        self.start: list[int] = []
        order: list[int] = []
        for k, (first, last, length) in enumerate(loops):
            for i in range(first, last):
                self.loop[i], self.length[i], self.width[i] = k, length, last - first
        while (i := len(self.start)) < launches:
            last = i + max(self.width[i], 1)
            self.start += range(len(order), len(order) + last - i)
            order += [*range(i, last)] * self.length[i]
        self.number = np.array(order, np.int64)

    def rows(self, i: int) -> np.ndarray:
        """The records of launch ``i``, step by step."""
        return self.start[i] + np.arange(self.length[i]) * self.width[i]

    def seen_from(self, i: int, other: int) -> np.ndarray:
        """The record of launch ``other`` that launch ``i`` waits for in each of its steps."""
        rows = self.rows(other)
        if self.loop[i] == self.loop[other] >= 0:
            return rows
        return np.full(self.length[i], rows[-1])


class LaunchTable:
    """Launches as the driver reads them, those of loops once for every step. One run at a time.

    ``loops`` are (first, last, length): launches first up to last, not included, run so often.
    ``desk`` is where a run asks whether to stop (see interrupt.py); 0: it is never stopped.
    ``exchanges`` are launches that wait for other processes; if they are ``apart``, one thread more
    makes them, in their order, while the others go on. Launches of ``chains`` are in no loop.

    Attributes:
        devices: how many threads have launches of their own; 0: all share them.
        apart: how many threads make exchanges only: 1 or 0.
        together: how many threads walk it together at least; fewer leave it to one.

    Raises:
        ValueError: a launch has no parts, waits for one that does not come before it, or is on a
            device that there is not.
    """

    def __init__(
        self,
        launches: Sequence[TableEntry],
        devices: int = 0,
        loops: Sequence[tuple[int, int, int]] = (),
        desk: int = 0,
        exchanges: Collection[int] = (),
        apart: bool = False,
        chains: Sequence[ChainEntry] = (),
    ) -> None:
        for i, launch in enumerate(launches):
            known = 0 <= launch.device < max(devices, 1)
            if launch.parts < 1 or not known or not all(0 <= w < i for w in launch.waits):
                raise ValueError(f"launch {i} of the table is not legal: {launch}")
        self._header = words(TABLE_WORDS)
        self._pairs = sum(x.parts for x in launches)
        steps = Steps(len(launches), loops)
        launches = self._chained(launches, chains, steps)
        self._pairs += sum((n - 1) * launches[i].parts for i, n in enumerate(steps.length))
        self._number, n = steps.number, len(steps.number)
        self._launches = len(launches)
        self._records = words(n * LINE).reshape(n, LINE)
        self._counters = words(n * LINE).reshape(n, LINE)
        waits: list[np.ndarray] = []
        end = 0
        for i, launch in enumerate(launches):
            rows, length = steps.rows(i), steps.length[i]
            # what it waits for, step by step; those of the step before come first
            found = [steps.rows(w) - steps.width[w] for w in launch.back]
            found += [steps.seen_from(i, w) for w in launch.waits]
            table = np.array(found, np.int64).reshape(len(found), length).T
            waits.append(table.reshape(-1))
            begin = end + np.arange(length) * len(found)
            end += table.size
            self._records[rows, FUNCTION] = launch.function
            self._records[rows, ARGS] = launch.args + np.arange(length) * launch.stride
            self._records[rows, PARTS] = launch.parts
            self._records[rows, WAIT_BEGIN] = begin
            self._records[rows[0], WAIT_BEGIN] += len(launch.back)
            self._records[rows, WAIT_END] = begin + len(found)
            self._records[rows, DEVICE] = (apart and i in exchanges) or launch.device
            chooses = length > 1 or launch.own
            self._records[rows, CHOOSES] = OWN * (chooses and 1 < launch.parts <= MOST)
        for chain in chains:
            self._records[steps.start[chain.first], CHOOSES] |= CHAINED
        self._records[:, COUNTER] = self._counters.ctypes.data + 8 * LINE * np.arange(n)
        self._waits = np.concatenate([np.zeros(0, np.int64), *waits])
        parts = self._records[:, PARTS]
        first = np.repeat(np.cumsum(parts) - parts, parts)
        number = np.repeat(np.arange(n), parts).astype(np.int64)
        self._items = number << 32 | (np.arange(len(number)) - first)
        if apart:
            self._items = self._items[~np.isin(self._number[number], list(exchanges))]
        self._header[NAPS], self._header[APART] = len(exchanges), apart
        self.apart = int(apart)
        self._header[LAUNCHES], self._header[ITEMS] = n, len(self._items)
        self.devices = self._header[DEVICES] = devices
        self.together = max(devices, 2) - self.apart
        self._header[DESK] = desk
        for place, array in (
            (LAUNCH, self._records),
            (ITEM, self._items),
            (WAIT, self._waits),
        ):
            self._header[place] = array.ctypes.data
        self._stats = words(n + 1)
        self.address = self._header.ctypes.data

    def _chained(
        self, launches: Sequence[TableEntry], chains: Sequence[ChainEntry], steps: Steps
    ) -> list[TableEntry]:
        """The first launch of each chain stands for all of it, the others have no parts."""
        made = list(launches)
        stands = {i: x.first for x in chains for i in range(x.first, x.last)}
        self._chains: list[np.ndarray] = []  # what the records of chains point to
        for chain in chains:
            members = range(chain.first, chain.last)
            own = words(chain.threads * (stride := -(-max(chain.words) // LINE) * LINE))
            record = [len(members), self._header.ctypes.data, own.ctypes.data, stride, chain.own]
            for i, moves, size in zip(members, chain.moves, chain.words, strict=True):
                x, moved = launches[i], np.array(moves, np.int64).reshape(-1)
                record += [x.function, x.args, x.parts // chain.slices, steps.start[i]]
                record += [size, len(moves), moved.ctypes.data]
                self._chains.append(moved)
                made[i] = TableEntry(x.function, x.args, 0)
            block = np.array(record, np.int64)
            self._chains += [own, block]
            waits = {w for i in members for w in launches[i].waits if w not in members}
            made[chain.first] = TableEntry(
                chain.function, block.ctypes.data, chain.slices, tuple(waits), own=True
            )
        return [
            replace(x, waits=tuple(dict.fromkeys(stands.get(w, w) for w in x.waits))) for x in made
        ]

    @property
    def items(self) -> int:
        """How many (launch, part) pairs a run has, those in chains included."""
        return self._pairs

    def stop(self) -> None:
        """Leaves out what is left of the run that goes on."""
        self._header[STOP] = 1

    def count_cycles(self, on: bool) -> None:
        """Starts, from zero, or stops the statistics."""
        self._stats[:] = 0
        self._header[STATS] = self._stats.ctypes.data if on else 0

    def log_to(self, address: int, words: int) -> None:
        """Where runs that are counted write what each thread does (see log.py); 0: nowhere."""
        self._header[LOG], self._header[LOG_WORDS] = address, words

    @property
    def began(self) -> int:
        """The counter's value when the last run with a log began."""
        return int(self._header[LOG_BEGAN])

    def launch_of(self, record: int) -> int:
        """The launch that a record belongs to: a loop has one for every step."""
        return int(self._number[record])

    def cycles(self) -> tuple[np.ndarray, int]:
        """Processor cycles of each launch, all threads and all steps of its loop summed, and those
        spent on waiting.
        """
        total = np.bincount(self._number, self._stats[:-1], self._launches)
        return total.astype(np.int64), int(self._stats[-1])
