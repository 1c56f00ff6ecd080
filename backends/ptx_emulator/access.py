"""Loads, stores and atomic operations of many lanes at once, checked before they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .copies import CopyQueue
from .counters import Counters
from .faults import Fault, Misaligned, OutOfBounds, Race, Unfinished, Uninitialized
from .memory import GLOBAL_BASE, LOCAL_BASE, SHARED_BASE, Memory, Region
from .races import Actors, Conflict, Numbering, Shadow, next_interval
from .types import Lanes

BYTE = np.dtype(np.uint8)
BASES = {"shared": SHARED_BASE, "local": LOCAL_BASE}
Fail = Callable[[type[Fault], int, str, int], Fault]  # (kind, lane, detail, instruction)


@dataclass(frozen=True, slots=True)
class Request:
    """A memory instruction by its number: space ('' is generic), dtype, elements of a vector."""

    instruction: int
    space: str
    dtype: np.dtype
    count: int = 1

    @property
    def bytes(self) -> int:
        return self.dtype.itemsize * self.count


@dataclass(slots=True)
class Window:
    """Shared memory of blocks, or local memory of threads: a piece of one region for each."""

    region: Region
    stride: int
    valid: np.ndarray  # which of the bytes of a piece belong to a variable

    @classmethod
    def of(cls, name: str, pieces: int, valid: np.ndarray) -> Window:
        stride = -(-valid.size // 16) * 16
        return cls(Region(name, pieces * stride), stride, valid)


@dataclass(slots=True)
class Access:
    """The memory that a group of blocks sees.

    Attributes:
        owners: for each lane, which piece of a window is its own.
        fail: makes the fault of a lane.
        grain: bytes that races are told apart by.
        lines: of the generated source, by number of the instruction.
        copies: asynchronous ones that have not ended.
        check: whether races are looked for.
    """

    memory: Memory
    windows: dict[str, Window]
    owners: dict[str, np.ndarray]
    numbering: Numbering
    threads: np.ndarray
    times: np.ndarray
    grain: int
    lines: list[int]
    fail: Fail
    copies: CopyQueue
    check: bool
    counters: Counters | None

    def load(self, lanes: np.ndarray, address: Lanes, request: Request) -> np.ndarray:
        """(lanes,) or (lanes, count) values."""
        shape = (lanes.size,) if request.count == 1 else (lanes.size, request.count)
        result = np.empty(shape, request.dtype)
        for region, offsets, chosen in self.pieces(lanes, address, request):
            who = lanes if chosen is None else lanes[chosen]
            if self.shared_between_threads(region):
                shadow, actors = self.shadow(region), self.actors(who, request)
                self.settled(shadow, "reads", offsets, who, request)
                found = shadow.on_load(offsets, request.bytes, actors)
                self.report(found, "reads", who, request)
                if region is self.windows["shared"].region:
                    self.initialized(shadow, offsets, who, request)
            values = region.load(offsets, request.dtype, request.count)
            if chosen is None:
                return values
            result[chosen] = values
        return result

    def store(
        self, lanes: np.ndarray, address: Lanes, values: np.ndarray, request: Request
    ) -> None:
        for region, offsets, chosen in self.pieces(lanes, address, request):
            who = lanes if chosen is None else lanes[chosen]
            if self.shared_between_threads(region):
                shadow, actors = self.shadow(region), self.actors(who, request)
                self.settled(shadow, "writes", offsets, who, request)
                found = shadow.on_store(offsets, request.bytes, actors)
                self.report(found, "writes", who, request)
            some = values if chosen is None else values[chosen]
            region.store(offsets, some, request.dtype, request.count)

    def update(
        self,
        lanes: np.ndarray,
        address: Lanes,
        change: Callable,
        operands: list[np.ndarray],
        request: Request,
    ) -> np.ndarray:
        """Atomic ``memory = change(memory, *operands)``, lane by lane; returns the old values."""
        old = np.zeros(lanes.size, request.dtype)
        for region, offsets, chosen in self.pieces(lanes, address, request):
            index = np.arange(lanes.size) if chosen is None else chosen
            if self.shared_between_threads(region):
                shadow, actors = self.shadow(region), self.actors(lanes[index], request)
                self.settled(shadow, "changes atomically", offsets, lanes[index], request)
                found = shadow.on_atomic(offsets, request.bytes, actors)
                self.report(found, "changes atomically", lanes[index], request)
            for turn in turns(offsets):
                now, who = region.load(offsets[turn], request.dtype, 1), index[turn]
                old[who] = now
                region.store(
                    offsets[turn], change(now, *(o[who] for o in operands)), request.dtype, 1
                )
        return old

    # ------------------------------------------------------------------ asynchronous copies

    def begin_copy(
        self, lanes: np.ndarray, target: Lanes, source: Lanes, sizes: Lanes, request: Request
    ) -> None:
        """A copy for each lane, of the first ``sizes`` bytes of the source, then zeros."""
        data = self.source_bytes(lanes, source, sizes, request)
        for region, offsets, _ in self.pieces(lanes, target, request):
            if self.check:
                shadow, actors = self.shadow(region), self.actors(lanes, request)
                self.settled(shadow, "copies to", offsets, lanes, request)
                found = shadow.on_copy(offsets, request.bytes, actors)
                self.report(found, "begins to copy over", lanes, request)
            self.copies.add(lanes, offsets, data, request.instruction)

    def source_bytes(
        self, lanes: np.ndarray, source: Lanes, sizes: Lanes, request: Request
    ) -> np.ndarray:
        """(lanes, bytes) of global memory."""
        sizes, source = (np.broadcast_to(x, lanes.shape) for x in (sizes, source))
        data = np.zeros((lanes.size, request.bytes), np.uint8)
        for size in np.unique(sizes[sizes > 0]).tolist():
            some = np.flatnonzero(sizes == size)
            part = replace(request, space="global")
            if size < request.bytes:
                part = replace(part, dtype=BYTE, count=1)
            for at in range(0, size, part.bytes):
                found = self.load(lanes[some], source[some] + at, part)
                found = np.ascontiguousarray(found).view(BYTE).reshape(some.size, -1)
                data[some, at : at + part.bytes] = found
        return data

    def await_copies(self, lanes: np.ndarray, keep: int) -> None:
        """Ends the copies of these lanes but for those of their last ``keep`` groups."""
        region = self.windows["shared"].region
        for ended in self.copies.ended(lanes, keep):
            width = ended.data.shape[1]
            region.store(ended.offsets, ended.data, BYTE, width)
            if self.check:
                request = Request(ended.instruction, "shared", BYTE, width)
                actors = self.actors(ended.lanes, request)
                self.shadow(region).on_arrival(ended.offsets, width, actors)

    def settled(
        self, shadow: Shadow, verb: str, offsets: np.ndarray, lanes: np.ndarray, request: Request
    ) -> None:
        """
        Raises:
            Unfinished: a copy is still on its way to these bytes.
        """
        found = shadow.unfinished(offsets, request.bytes, self.numbering.first)
        if found is not None:
            detail = f"{verb} what {self.other(found)} is still copying; its group was not awaited"
            raise self.fail(Unfinished, int(lanes[found.lane]), detail, request.instruction)

    # ------------------------------------------------------------------ where

    def pieces(
        self, lanes: np.ndarray, address: Lanes, request: Request
    ) -> Iterator[tuple[Region, np.ndarray, np.ndarray | None]]:
        """(region, byte offsets, which lanes or None for all), bounds and alignment checked."""
        places = np.broadcast_to(address, lanes.shape).view(np.int64)
        if places.size == 0:
            return
        wrong = places & (request.bytes - 1)
        if wrong.any():
            lane = int(np.flatnonzero(wrong)[0])
            where = f"{int(places[lane]):#x}"
            detail = f"accesses {request.bytes} bytes at {where}, which is not a multiple of that"
            raise self.fail(Misaligned, int(lanes[lane]), detail, request.instruction)
        if request.space in self.windows:
            yield *self.in_window(request.space, lanes, places, request), None
        elif request.space:
            yield from self.in_global(lanes, places, request)
        else:
            yield from self.generic(lanes, places, request)

    def generic(
        self, lanes: np.ndarray, places: np.ndarray, request: Request
    ) -> Iterator[tuple[Region, np.ndarray, np.ndarray | None]]:
        """Generic addresses: the windows are below GLOBAL_BASE."""
        is_global = places >= GLOBAL_BASE
        if is_global.all():
            yield from self.in_global(lanes, places, request)
            return
        is_shared = ~is_global & (places >= SHARED_BASE)
        for space, mask in (("shared", is_shared), ("local", ~is_global & ~is_shared)):
            if mask.any():
                chosen = np.flatnonzero(mask)
                yield (
                    *self.in_window(space, lanes[chosen], places[chosen] - BASES[space], request),
                    chosen,
                )
        chosen = np.flatnonzero(is_global)
        for region, offsets, some in self.in_global(lanes[chosen], places[chosen], request):
            yield region, offsets, chosen if some is None else chosen[some]

    def in_window(
        self, space: str, lanes: np.ndarray, places: np.ndarray, request: Request
    ) -> tuple[Region, np.ndarray]:
        window = self.windows[space]
        last = places + (request.bytes - 1)
        outside = (places < 0) | (last >= window.valid.size)
        if not outside.any():
            outside = ~(window.valid.take(places) & window.valid.take(last))
        if outside.any():
            lane = int(np.flatnonzero(outside)[0])
            where = f"byte {int(places[lane])} of {space} memory"
            detail = f"accesses {request.bytes} bytes at {where}, outside of its arrays"
            raise self.fail(OutOfBounds, int(lanes[lane]), detail, request.instruction)
        if self.counters is not None and space == "shared":
            self.counters.shared(
                request.instruction, self.threads[lanes], places, request.bytes, self.numbering
            )
        return window.region, places + self.owners[space][lanes] * window.stride

    def in_global(
        self, lanes: np.ndarray, places: np.ndarray, request: Request
    ) -> Iterator[tuple[Region, np.ndarray, np.ndarray | None]]:
        if places.size == 0:
            return
        if self.counters is not None:
            self.counters.device(
                request.instruction, self.threads[lanes], places, request.bytes, self.numbering
            )
        low, high = int(places.min()), int(places.max()) + request.bytes
        region = self.memory.find(low)
        if region is not None and high <= region.start + region.bytes:
            yield region, places - region.start, None
            return
        numbers = np.searchsorted(np.array(self.memory.starts, np.int64), places, side="right") - 1
        for number in np.unique(numbers):
            chosen = np.flatnonzero(numbers == number)
            region = self.memory.regions[number] if number >= 0 else Region("nothing", 0)
            offsets = places[chosen] - region.start
            beyond = np.flatnonzero(offsets + request.bytes > region.bytes)
            if beyond.size:
                lane, where = int(lanes[chosen[beyond[0]]]), int(offsets[beyond[0]])
                detail = f"accesses {request.bytes} bytes at byte {where} of {region.name}"
                detail += f", which has {region.bytes}"
                raise self.fail(OutOfBounds, lane, detail, request.instruction)
            yield region, offsets, chosen

    # ------------------------------------------------------------------ who

    def pass_barrier(self, lanes: np.ndarray) -> None:
        """Lanes leave a block barrier. Lists of reads hold times, which are never changed."""
        times = self.times.copy()
        times[lanes] = next_interval(times[lanes])
        self.times = times
        shadow = self.windows["shared"].region.shadow
        if shadow is not None and lanes.size == self.threads.size:
            shadow.forget_reads()

    def pass_warp_barrier(self, lanes: np.ndarray) -> None:
        times = self.times.copy()
        times[lanes] += 1
        self.times = times

    def actors(self, lanes: np.ndarray, request: Request) -> Actors:
        if lanes.size == self.threads.size:
            return Actors(self.numbering, self.threads, self.times, request.instruction)
        return Actors(self.numbering, self.threads[lanes], self.times[lanes], request.instruction)

    def shared_between_threads(self, region: Region) -> bool:
        return self.check and region is not self.windows["local"].region

    def shadow(self, region: Region) -> Shadow:
        if region.shadow is None or region.shadow.grain > self.grain:
            region.shadow = Shadow(region.bytes, self.grain)
        return region.shadow

    def report(
        self, found: Conflict | None, verb: str, lanes: np.ndarray, request: Request
    ) -> None:
        if found is not None:
            copied = found.other == "written" and found.instruction in self.copies.instructions
            done = "copied" if copied else found.other
            detail = f"{verb} what {self.other(found)} has {done} with no barrier between"
            raise self.fail(Race, int(lanes[found.lane]), detail, request.instruction)

    def other(self, found: Conflict) -> str:
        """The thread in a conflict's record, and its line."""
        block, place = divmod(found.thread - self.numbering.first, 1 << self.numbering.bits)
        if block >= self.numbering.blocks:
            who = "a thread of another block"
        elif place >= self.numbering.threads:
            who = f"another thread of block {block}"
        else:
            who = f"thread {place} of block {block}"
        return f"{who} (line {self.lines[found.instruction]})"

    def initialized(
        self, shadow: Shadow, offsets: np.ndarray, lanes: np.ndarray, request: Request
    ) -> None:
        missing = shadow.unwritten(offsets, request.bytes, self.numbering.first)
        if missing.size:
            detail = "reads shared memory that no thread has written"
            raise self.fail(Uninitialized, int(lanes[missing[0]]), detail, request.instruction)


def turns(offsets: np.ndarray) -> Iterator[np.ndarray]:
    """Groups of lanes with different offsets each; lanes with the same one come in their order."""
    order = np.argsort(offsets, kind="stable")
    ordered = offsets[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    rank = np.arange(offsets.size) - np.repeat(begins, np.diff(np.append(begins, offsets.size)))
    by_rank = order[np.argsort(rank, kind="stable")]
    yield from np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
