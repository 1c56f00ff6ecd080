"""The emulator as a runtime: kernels' PTX on NumPy arrays, with every check switched on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cache
from weakref import WeakValueDictionary

import numpy as np

from ptx_emulator import Kernel, Memory
from tinygraph.compiler.backend import BackendError
from tinygraph.plan.records.device import Roofline

from ..compile.compiled import CompiledKernel
from . import KernelLaunch

NO_CLOCK = "the emulator has no clock; program.dump('cards') shows what is known without a device"


class EmulateRuntime:
    """Every buffer is an allocation, so that leaving it is an error; blocks race if they can."""

    separate = True
    number: int | None = None
    handle = 0

    def __init__(self) -> None:
        self.memory = Memory()
        self.kernels: WeakValueDictionary[tuple[str, str], Kernel] = WeakValueDictionary()
        self.unused = deque[int]()
        self.stopped: int | None = None

    def alloc(self, size: int, name: str) -> int:
        self.collect()
        return self.memory.allocate(size, name)

    def free(self, address: int) -> None:
        self.unused.append(address)

    def free_after(self, address: int, streams: Sequence[int]) -> None:
        self.free(address)

    def follow(self, stream: int) -> None:
        pass

    lead = follow

    def collect(self) -> None:
        """Frees what is unused. A finalizer may run at any time, also within a launch: not then."""
        while self.unused:
            self.memory.free(self.unused.popleft())

    def upload(self, address: int, array: np.ndarray) -> None:
        self.memory.write(address, array)

    def download(self, array: np.ndarray, address: int) -> None:
        array[...] = self.memory.read(address, array.shape, array.dtype)

    def load(self, built: CompiledKernel, name: str) -> Kernel:
        kernel = self.kernels.get((built.symbol, name))
        if kernel is None:
            ptx, text = (t.replace(built.symbol, name) for t in (built.ptx, built.text))
            kernel = self.kernels[built.symbol, name] = Kernel(ptx, name, text)
        return kernel

    def launch(self, launch: KernelLaunch) -> None:
        launch.kernel(self.memory, launch.blocks, launch.threads, launch.arguments)

    def capture(self, launches: Sequence[KernelLaunch]) -> Sequence[KernelLaunch]:
        return launches

    def replay(self, captured: Sequence[KernelLaunch]) -> None:
        self.collect()
        for self.stopped, launch in enumerate(captured):
            self.launch(launch)
        self.stopped = None

    def sync(self) -> None:
        pass

    def time(self, captured: Sequence[Sequence[KernelLaunch]]) -> list[float]:
        raise BackendError(NO_CLOCK)

    def roofline(self) -> Roofline:
        raise BackendError(NO_CLOCK)


@cache
def runtime() -> EmulateRuntime:
    """One a process, so that programs share parameters."""
    return EmulateRuntime()
