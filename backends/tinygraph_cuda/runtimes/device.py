"""A GPU as a runtime, through cuda.core: the one module that launches on a device.

A stream does everything in order; a program's launches are recorded once and replayed as a CUDA
graph; transfers pass through pinned memory.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from tinygraph.compiler.backend import BackendError
from tinygraph.plan.records.device import Roofline

from ..compile.compiled import CompiledKernel
from . import KernelLaunch, probe

STAGING = 32 << 20  # bytes of pinned memory
ALIGN = 256  # of transfers within it
COPIED = 256 << 20  # bytes, to measure bandwidth by: more than any cache holds
OLDEST_CORE = 1  # major version of cuda-core
INSTALL_CORE = "pip install 'cuda-core[cu13]>=1.2'"
LANES = {(8, 0): 64}  # float32 units of a multiprocessor, where they are not 128


class DeviceRuntime:
    """One GPU, with one stream for all programs.

    Args:
        core: the module ``cuda.core``.
        number: of the device.
    """

    separate = False
    number: int | None
    stopped: int | None = None  # a graph is launched as a whole; a fault in it ends the context

    def __init__(self, core: Any, number: int = 0):
        self.core, self.device, self.number = core, core.Device(number), number
        self.local = threading.local()
        self.fault = ""  # that has ended the device's context, for as long as the process lives
        self.enter()
        # ordered with the legacy default stream, which other libraries use unless told otherwise
        self.stream = self.device.create_stream(options=core.StreamOptions(nonblocking=False))
        self.handle = int(self.stream.handle)
        self.buffers: dict[int, Any] = {}  # by address: they live as long as they are listed here
        self.unused = deque[tuple[int, Sequence[int]]]()  # and streams that may still read it
        self.pinned = core.LegacyPinnedMemoryResource().allocate(STAGING)
        memory = (ctypes.c_uint8 * STAGING).from_address(int(self.pinned.handle))
        self.staging = np.ctypeslib.as_array(memory)
        self.used = 0  # bytes of it that transfers since the last sync use

    def describe(self) -> str:
        """Device, driver and versions, in a line."""
        major, minor = self.device.compute_capability
        version = probe.driver_version()
        return (
            f"{self.device.name} (sm_{major}{minor}), driver for CUDA {version // 1000}."
            f"{version % 1000 // 10}, cuda-core {self.core.__version__}, NumPy {np.__version__}"
        )

    def enter(self) -> None:
        """A thread must make the device its own before it calls anything.

        Raises:
            BackendError: an error has ended the device's context.
        """
        if self.fault:
            raise BackendError(self.fault)
        if not getattr(self.local, "entered", False):
            self.device.set_current()
            self.local.entered = True

    # ------------------------------------------------------------------ memory

    def alloc(self, size: int, name: str) -> int:
        self.collect()
        buffer = self.device.allocate(size, stream=self.stream)
        address = int(buffer.handle)
        self.buffers[address] = buffer
        return address

    def free(self, address: int) -> None:
        self.free_after(address, ())

    def free_after(self, address: int, streams: Sequence[int]) -> None:
        self.unused.append((address, streams))

    def collect(self) -> None:
        """Frees what is unused. A finalizer may run at any time, also while launches are recorded,
        which would then free the memory at each replay: not then.
        """
        self.enter()
        while self.unused:
            address, streams = self.unused.popleft()
            for stream in dict.fromkeys(streams):
                self.follow(stream)
            self.buffers.pop(address).close(self.stream)

    def follow(self, stream: int) -> None:
        self.enter()
        self.stream.wait(self.core.Stream.from_handle(stream))

    def lead(self, stream: int) -> None:
        self.enter()
        self.core.Stream.from_handle(stream).wait(self.stream)

    def upload(self, address: int, array: np.ndarray) -> None:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for first, count, start in self.pieces(data.size):
            self.staging[start : start + count] = data[first : first + count]
            staged = self.view(int(self.pinned.handle) + start, count)
            self.view(address + first, count).copy_from(staged, stream=self.stream)

    def download(self, array: np.ndarray, address: int) -> None:
        data = array.reshape(-1).view(np.uint8)
        for first, count, start in self.pieces(data.size):
            staged = self.view(int(self.pinned.handle) + start, count)
            staged.copy_from(self.view(address + first, count), stream=self.stream)
            self.wait()
            data[first : first + count] = self.staging[start : start + count]

    def pieces(self, size: int) -> Iterator[tuple[int, int, int]]:
        """(first byte, how many, where in the pinned memory) of the parts of a transfer."""
        self.enter()
        first = 0
        while first < size:
            count = min(size - first, STAGING)
            if self.used + count > STAGING:
                self.sync()
            start = self.used
            self.used += -(-count // ALIGN) * ALIGN
            yield first, count, start
            first += count

    def view(self, address: int, size: int) -> Any:
        return self.core.Buffer.from_handle(address, size)

    # ------------------------------------------------------------------ launches

    def load(self, built: CompiledKernel, name: str) -> Any:
        self.enter()
        try:
            return self.core.ObjectCode.from_cubin(built.cubin, name=name).get_kernel(built.symbol)
        except Exception as error:
            reason = f"the driver refuses the machine code of kernel {name}"
            raise BackendError(f"{reason}, {type(error).__name__}: {error}") from error

    def launch(self, launch: KernelLaunch) -> None:
        self.enter()
        self.launch_on(self.stream, launch)

    def launch_on(self, target: Any, launch: KernelLaunch) -> None:
        config = self.core.LaunchConfig(grid=launch.blocks, block=launch.threads)
        pairs = zip(launch.signature, launch.arguments, strict=True)
        self.core.launch(target, config, launch.kernel, *(typed(k, v) for k, v in pairs))

    def capture(self, launches: Sequence[KernelLaunch]) -> Any:
        if not launches:
            return None
        self.enter()
        builder = self.stream.create_graph_builder()
        builder.begin_building()
        for launch in launches:
            self.launch_on(builder, launch)
        graph = builder.end_building().complete()
        graph.upload(self.stream)
        return graph

    def replay(self, captured: Any) -> None:
        self.collect()
        if captured is not None:
            captured.launch(self.stream)

    def sync(self) -> None:
        self.enter()
        self.wait()
        self.used = 0

    def wait(self) -> None:
        """Until the stream is empty. What a kernel did wrong is known here, and ends the context:
        every later call fails, in all programs of the process.
        """
        try:
            self.stream.sync()
        except Exception as error:
            self.fault = (
                f"the GPU stopped at an error, {type(error).__name__}: {error}; what was in its "
                "memory only is lost, and this process can use it no more: start another"
            )
            raise BackendError(self.fault) from error

    # ------------------------------------------------------------------ time

    def event(self) -> Any:
        return self.stream.record(options=self.core.EventOptions(timing_enabled=True))

    def time(self, captured: Sequence[Any]) -> list[float]:
        self.enter()
        events = [self.event()]
        for graph in captured:
            self.replay(graph)
            events.append(self.event())
        self.sync()
        return [(after - before) / 1e3 for before, after in pairwise(events)]

    def roofline(self) -> Roofline:
        """Operations by the clock's rate, bandwidth by copying on the device."""
        properties = self.device.properties
        lanes = LANES.get(tuple(self.device.compute_capability), 128)
        flops = 2 * lanes * properties.multiprocessor_count * properties.clock_rate * 1e3
        return Roofline(1, flops, self.bandwidth())

    @cache  # noqa: B019  there is one runtime
    def bandwidth(self) -> float:
        """Bytes per second that are read and written by a copy; the best of three."""
        addresses = [self.alloc(COPIED, "to be copied") for _ in range(2)]
        source, target = (self.view(a, COPIED) for a in addresses)
        times = []
        for _ in range(3):
            before = self.event()
            target.copy_from(source, stream=self.stream)
            after = self.event()
            self.sync()
            times.append((after - before) / 1e3)
        for address in addresses:
            self.free(address)
        return 2 * COPIED / min(times)


def typed(kind: str, value: int) -> Any:
    """An argument as cuda.core takes it: an int is an address, numbers have NumPy's types."""
    return value if kind.endswith("*") else np.dtype(kind).type(value)


def cuda_core() -> Any:
    """The module cuda.core.

    Raises:
        BackendError: it is not installed, or older than what this module is written for.
    """
    try:
        from cuda import core
    except ImportError as error:
        raise BackendError(f"cuda-core cannot be imported, {error}: {INSTALL_CORE}") from None
    version = getattr(core, "__version__", "0")
    if int(version.partition(".")[0]) < OLDEST_CORE:
        needed = f"cuda-core {version} is installed; {OLDEST_CORE}.0 or later is needed"
        raise BackendError(f"{needed}: {INSTALL_CORE}")
    return core


@cache
def runtime() -> DeviceRuntime:
    """One a process, so that programs share parameters."""
    return DeviceRuntime(cuda_core())
