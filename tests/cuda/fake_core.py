"""As much of cuda.core as tinygraph uses, over the emulator: a GPU that does everything late.

Work on a stream happens at ``sync``, in order, never before: what does not wait for it reads old
values. A kernel's fault ends the context: nothing works after it. ``log`` has what was asked of the
device, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ptx_emulator import Fault, Kernel, Memory
from tinygraph_cuda.compile import compiled

KHZ, SECONDS = 1_000_000, 1e-3  # the clock's rate; what anything takes between two events


class CUDAError(Exception):
    """As cuda.core raises it."""


class FakeCore:
    """Stands for the module ``cuda.core``."""

    def __init__(self) -> None:
        self.dead = False
        self.log: list[str] = []
        self.memory, self.host = Memory(), dict[int, np.ndarray]()
        self.Buffer = SimpleNamespace(from_handle=lambda address, size: Buffer(self, address, size))

    def Device(self, number: int) -> Device:
        return Device(self)

    def LegacyPinnedMemoryResource(self) -> Any:
        return SimpleNamespace(allocate=self.pinned)

    def pinned(self, size: int) -> Buffer:
        array = np.zeros(size, np.uint8)
        self.host[array.ctypes.data] = array
        return Buffer(self, array.ctypes.data, size)

    class ObjectCode:
        @staticmethod
        def from_cubin(cubin: bytes, name: str) -> Any:
            (built,) = (b for b in compiled.BUILT.values() if b.cubin == cubin)
            kernels = {built.symbol: Kernel(built.ptx, built.symbol, built.text)}
            return SimpleNamespace(get_kernel=kernels.__getitem__)

    @staticmethod
    def LaunchConfig(grid: int, block: int) -> tuple[int, int]:
        return grid, block

    @staticmethod
    def EventOptions(timing_enabled: bool) -> bool:
        return timing_enabled

    def launch(self, target: Any, config: tuple[int, int], kernel: Kernel, *arguments: Any) -> None:
        for given, wanted in zip(arguments, kernel.function.parameters, strict=True):
            size = 8 if isinstance(given, int) else given.nbytes  # an int is an address
            assert size == wanted.bytes, (given, wanted)
        target.add(f"launch {kernel.name}", lambda: kernel(self.memory, *config, arguments))

    def alive(self) -> None:
        if self.dead:
            raise CUDAError("CUDA_ERROR_LAUNCH_FAILED")

    def on_host(self, address: int) -> tuple[np.ndarray, int] | None:
        for start, array in self.host.items():
            if start <= address < start + array.size:
                return array, address - start
        return None

    def at(self, address: int) -> tuple[np.ndarray, int]:
        """The bytes that an address lies in, and where."""
        if found := self.on_host(address):
            return found
        region = self.memory.find(address)
        assert region is not None, "no memory is there"
        return region.storage, address - region.start


class Buffer:
    def __init__(self, core: FakeCore, handle: int, size: int):
        self.core, self.handle, self.size = core, handle, size

    def copy_from(self, source: Buffer, *, stream: Stream) -> None:
        assert self.size == source.size

        def copy() -> None:
            (to, i), (data, j) = self.core.at(self.handle), self.core.at(source.handle)
            to[i : i + self.size] = data[j : j + self.size]

        stream.add("download" if self.core.on_host(self.handle) else "upload", copy)

    def close(self, stream: Stream) -> None:
        stream.add("free", lambda: self.core.memory.free(self.handle))


class Device:
    compute_capability = (8, 0)
    properties = SimpleNamespace(multiprocessor_count=10, clock_rate=KHZ)

    def __init__(self, core: FakeCore):
        self.core = core

    def set_current(self) -> None:
        self.core.log.append("set current")

    def create_stream(self) -> Stream:
        return Stream(self.core)

    def allocate(self, size: int, *, stream: Stream) -> Buffer:
        self.core.alive()
        self.core.log.append("allocate")
        return Buffer(self.core, self.core.memory.allocate(size), size)


class Stream:
    def __init__(self, core: FakeCore):
        self.core, self.waiting = core, list[Callable[[], None]]()
        self.builder = GraphBuilder()

    def add(self, name: str, work: Callable[[], None]) -> None:
        self.core.alive()
        if self.builder.building:  # it records what its stream is asked to do
            self.builder.add(name, work)
            return
        self.core.log.append(name)
        self.waiting.append(work)

    def sync(self) -> None:
        self.core.log.append("sync")
        try:
            for work in self.waiting:
                work()
        except Fault:
            self.core.dead = True
        self.waiting.clear()
        self.core.alive()

    def record(self, options: bool) -> Event:
        assert options, "an event without timing"
        self.core.log.append("event")
        return Event(self.core.log.count("event"))

    def create_graph_builder(self) -> GraphBuilder:
        self.builder = GraphBuilder()
        return self.builder


class Event:
    def __init__(self, number: int):
        self.number = number

    def __sub__(self, other: Event) -> float:
        return 1e3 * SECONDS * (self.number - other.number)  # milliseconds


class GraphBuilder:
    def __init__(self) -> None:
        self.building = False
        self.work: list[tuple[str, Callable[[], None]]] = []

    def begin_building(self) -> None:
        self.building = True

    def add(self, name: str, work: Callable[[], None]) -> None:
        assert self.building
        self.work.append((name, work))

    def end_building(self) -> GraphBuilder:
        self.building = False
        return self

    def complete(self) -> GraphBuilder:
        assert not self.building
        return self

    def upload(self, stream: Stream) -> None:
        stream.core.log.append("upload graph")

    def launch(self, stream: Stream) -> None:
        for name, work in self.work:
            stream.add(f"replay: {name}", work)
