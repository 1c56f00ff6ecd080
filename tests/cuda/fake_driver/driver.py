"""The one device: its memory, what waits on its stream, and whether it is still alive."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from ctypes import c_uint, c_void_p
from itertools import count
from typing import Any

import numpy as np

from ptx_emulator import Fault, Kernel, Memory

SUCCESS, NO_BINARY, FAILED, UNKNOWN, NOT_SUPPORTED = 0, 209, 719, 999, 801  # CUresult
NAMES = {
    NO_BINARY: b"CUDA_ERROR_NO_BINARY_FOR_GPU",
    FAILED: b"CUDA_ERROR_LAUNCH_FAILED",
    NOT_SUPPORTED: b"CUDA_ERROR_NOT_SUPPORTED",
    UNKNOWN: b"CUDA_ERROR_UNKNOWN",
}
NUMBERS = {"f32": np.float32, "f64": np.float64}  # parameters that are no integers

Work = Callable[[], None]


class DriverError(Exception):
    """A CUresult that a function returns."""


class Config(ctypes.Structure):
    """CUlaunchConfig, of cuda.h."""

    _fields_ = (
        *((f"{kind}_{axis}", c_uint) for kind in ("grid", "block") for axis in "xyz"),
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", c_void_p),
        ("count", c_uint),
    )


class Driver:
    """The device's state.

    Work on a stream happens when somebody waits for it, in order, never before: what does not wait
    reads old values. A kernel's fault ends the context, as on a GPU: all that is called after it
    fails.

    Attributes:
        compiled: gives a kernel's PTX and its text by the symbol that machine code has it under.
        log: what the device was asked to do, in order.
        devices: how many there are.
        capability: their compute capability; (8, 0) is sm_80.
        refuses: machine code, as a device of another generation does.
        faulty: launches of a kernel by this name fail; of one by ``hangs``, never end.
    """

    def __init__(self) -> None:
        self.things = dict[int, Any]()
        self.handles = count(0x1000)
        self.host = dict[int, Any]()  # pinned memory by address
        self.memory = Memory()
        self.alive: tuple[Any, ...] = ()  # what C may call
        self.reset()

    def reset(self) -> None:
        """Another device, in the same process; handles of the one before are still known."""
        self.compiled: Callable[[str], tuple[str, str]] = unknown
        self.log: list[str] = []
        self.devices = 1
        self.capability = (8, 0)
        self.refuses, self.faulty, self.hangs = False, "", ""
        self.dead = False
        self.context = 0
        top, self.memory = self.memory.top, Memory()
        self.memory.top = top  # no address is given twice: old buffers may be freed late
        self.waiting: list[Work] = []
        self.graph = 0  # the handle of the one that is being captured
        self.ticks = 0

    def handle(self, thing: Any = None) -> int:
        number = next(self.handles)
        self.things[number] = thing
        return number

    def add(self, name: str, work: Work) -> None:
        if self.graph:  # it records what its stream is asked to do
            self.things[self.graph].append((name, work))
            return
        self.log.append(name)
        self.waiting.append(work)

    def finish(self) -> None:
        """Does all that is waiting."""
        waiting, self.waiting = self.waiting, []
        try:
            for work in waiting:
                work()
        except Fault as fault:
            print(f"fake driver: {fault}", file=sys.stderr)
            self.dead = True
            raise DriverError(FAILED) from None

    def launch(self, config: Config, kernel: Kernel, arguments: int) -> None:
        grid = (config.grid_x, config.grid_y, config.grid_z)
        block = (config.block_x, config.block_y, config.block_z)
        parameters = kernel.function.parameters
        places = (c_void_p * len(parameters)).from_address(arguments) if parameters else ()
        values = []
        for place, parameter in zip(places, parameters, strict=True):
            kind = NUMBERS.get(parameter.type, np.dtype(f"u{parameter.bytes}"))
            values.append(np.frombuffer(ctypes.string_at(place, parameter.bytes), kind)[0])

        def work() -> None:
            if kernel.name == self.faulty:
                raise Fault("planted", kernel.name, 0, (0, 0, 0), (0, 0, 0), "trap")
            while kernel.name == self.hangs:
                time.sleep(1)
            kernel(self.memory, grid, block, values)

        self.add(f"launch {kernel.name}", work)

    def free(self, address: int) -> None:
        if address in self.memory.starts:  # else it was of a device before this one
            self.memory.free(address)

    def on_device(self, address: int) -> bool:
        region = self.memory.find(address)
        return region is not None and address < region.start + region.bytes

    def bytes_at(self, address: int, size: int) -> np.ndarray:
        if not self.on_device(address):
            return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        region, offset = self.memory.inside(address, size)
        return region.storage[offset : offset + size]

    def copy(self, target: int, source: int, size: int) -> None:
        def work() -> None:
            self.bytes_at(target, size)[:] = self.bytes_at(source, size)

        self.add("upload" if self.on_device(target) else "download", work)


def unknown(symbol: str) -> tuple[str, str]:
    raise LookupError(f"nobody has said where the PTX of {symbol} is")
