"""A program bound to a device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn
from weakref import finalize

import numpy as np

from tinygraph.codegen.program import Argument, Call, Code, Work
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.ir import Parameter
from tinygraph.graph.types import Type
from tinygraph.plan.records.device import Roofline

from .arrays import Borrowed, DeviceArray, is_on_device
from .compile.compiled import CompiledKernel
from .runtimes import KernelLaunch, Runtime

MOST_PLACED = 16  # runs on arrays elsewhere that are kept
COPIES = 20  # of a launch that is timed: Python takes longer to start a kernel than many run


class CudaRunner:
    """Owns a program's buffers on a device; parameters' copies belong to the parameters."""

    def __init__(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
        kernels: Sequence[CompiledKernel],
        runtime: Runtime,
    ):
        self.code, self.memory = code, runtime
        self.kernels = [
            runtime.load(built, kernel.name)
            for built, kernel in zip(kernels, code.kernels, strict=True)
        ]
        self.owned: list[int] = []
        finalize(self, release, runtime, self.owned)
        self.bases: dict[tuple[str, int], int] = self.buffers()
        for i, p in enumerate(parameters):
            self.bases["parameter", i] = p.state.address(runtime)
        for i, constant in enumerate(constants):
            self.bind("constant", i, constant)
            runtime.upload(self.bases["constant", i], constant)
        self.prepare = runtime.capture([x for call in code.prepare for x in self.launches(call)])
        self.captured: Any = None  # a run; made when inputs and outputs have their memory
        self.placed: dict[tuple[int, ...], Any] = {}  # runs on arrays elsewhere, by their addresses
        self.timed: list[Any] = []  # each call and step of it, repeated
        self.unfinished = ""

    def alloc(self, size: int, name: str) -> int:
        address = self.memory.alloc(max(size, 1), name)
        self.owned.append(address)
        return address

    def buffers(self) -> dict[tuple[str, int], int]:
        """Addresses of the buffers in the arena and the prepared memory."""
        if self.memory.separate:
            return {
                (home, number): self.alloc(size, f"{home} buffer {number}")
                for number, (home, _, size) in enumerate(self.code.buffers)
            }
        sizes = {"arena": self.code.arena, "prepared": self.code.prepared}
        shared = {home: self.alloc(size, home) for home, size in sizes.items()}
        shared["temporary"] = shared["arena"]
        return {
            (home, number): shared[home] + offset
            for number, (home, offset, _) in enumerate(self.code.buffers)
        }

    def bind(self, home: str, number: int, array: np.ndarray) -> None:
        if (home, number) not in self.bases:
            self.bases[home, number] = self.alloc(array.nbytes, f"{home} {number}")

    def launches(self, call: Call, step: int = 0) -> list[KernelLaunch]:
        """The launches of a call, in a step of its loop."""
        return [self.launch(work, step) for work in call.work]

    def launch(self, work: Work, step: int) -> KernelLaunch:
        kernel = self.code.kernels[work.kernel]
        moved = {number: size * step for number, size in work.steps}
        arguments = tuple(self.value(a) + moved.get(i, 0) for i, a in enumerate(work.arguments))
        loaded = self.kernels[work.kernel]
        return KernelLaunch(loaded, work.parts, kernel.threads, kernel.signature, arguments)

    def value(self, argument: Argument) -> int:
        if isinstance(argument, int):
            return argument
        home, number, offset = argument
        return self.bases[home, number] + offset

    def upload(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        for home, arrays in (("input", inputs), ("output", outputs)):
            for i, array in enumerate(arrays):
                self.bind(home, i, array)
        for i, array in enumerate(inputs):
            self.memory.upload(self.bases["input", i], array)

    def download(self, outputs: Sequence[np.ndarray]) -> None:
        for i, array in enumerate(outputs):
            self.memory.download(array, self.bases["output", i])

    def refresh(self) -> None:
        """Runs what depends on parameters only."""
        self.memory.replay(self.prepare)

    def order(self) -> list[tuple[Call, int]]:
        return [(self.code.calls[number], step) for number, step in self.code.order()]

    def capture(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Uploads inputs; records a run, the first time."""
        self.upload(inputs, outputs)
        if self.captured is None:
            each = (launch for call in self.order() for launch in self.launches(*call))
            self.captured = self.memory.capture(list(each))

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.capture(inputs, outputs)
        self.unfinished = "in one of its launches"
        try:
            self.memory.replay(self.captured)
            self.download(outputs)
        finally:  # where Ctrl-C ends the wait for results, what was launched ends all the same
            self.memory.sync()
            self.unfinished = self.stopped()

    # ------------------------------------------------------------------ arrays on the device

    def takes(self, value: Any) -> bool:
        return is_on_device(value)

    def adopted(self, value: Any) -> Borrowed:
        return Borrowed(value, self.memory)

    def run_placed(
        self, inputs: Sequence[np.ndarray | Borrowed], results: Sequence[Type]
    ) -> list[DeviceArray]:
        """Runs on arrays where they are, without waiting; NumPy's are uploaded."""
        self.memory.collect()
        outputs = [DeviceArray.fresh(self.memory, kind) for kind in results]
        places = {("output", i): made.address for i, made in enumerate(outputs)}
        for i, array in enumerate(inputs):
            if isinstance(array, np.ndarray):
                self.bind("input", i, array)
                self.memory.upload(self.bases["input", i], array)
            else:
                places["input", i] = array.address
        self.unfinished = "in one of its launches"
        try:
            self.memory.replay(self.launched_at(places))
        finally:
            self.unfinished = self.stopped()
        return outputs

    def launched_at(self, places: dict[tuple[str, int], int]) -> Any:
        """A run on these addresses, the last ``MOST_PLACED`` of which are kept as they were
        recorded: arrays mostly come back to the same few.
        """
        key = tuple(places.values())
        if key not in self.placed:
            own, self.bases = self.bases, {**self.bases, **places}
            try:
                each = (launch for call in self.order() for launch in self.launches(*call))
                self.placed[key] = self.memory.capture(list(each))
            finally:
                self.bases = own
        self.placed[key] = found = self.placed.pop(key)
        if len(self.placed) > MOST_PLACED:
            del self.placed[next(iter(self.placed))]
        return found

    def stopped(self) -> str:
        """The launch beyond which the replay did not go, in words."""
        number = self.memory.stopped
        if number is None:
            return ""
        names = [call.name for call, _ in self.order() for _ in call.work]
        return f"in launch {number + 1} of {len(names)}, {names[number]}"

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        """Seconds of each call. It is repeated for that: what it adds up is added several times."""
        self.upload(inputs, outputs)
        if not self.timed:
            self.timed = [self.memory.capture(self.launches(*c) * COPIES) for c in self.order()]
        seconds = [0.0] * len(self.code.calls)
        times = self.memory.time(self.timed)
        for (number, _), together in zip(self.code.order(), times, strict=True):
            seconds[number] += together / COPIES
        return seconds

    def time_runs(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], count: int
    ) -> list[float]:
        """Seconds of each of several runs without transfers; what they update changes."""
        self.capture(inputs, outputs)
        return self.memory.time([self.captured] * count)

    def roofline(self) -> Roofline:
        return self.memory.roofline()


def release(runtime: Runtime, addresses: Sequence[int]) -> None:
    for address in addresses:
        runtime.free(address)


class CheckedRunner:
    """A program that was compiled and checked for an architecture, and can do no more."""

    memory, unfinished = None, ""

    def __init__(self, code: Code, architecture: str):
        self.name, self.architecture = code.name, architecture

    def refuse(self, *_: object, **__: object) -> NoReturn:
        raise BackendError(
            f"{self.name} was compiled and checked for {self.architecture}; backend 'cuda:ptx' "
            f"runs nothing: take 'cuda:device' or 'cuda:emulate'"
        )

    __call__ = time = refresh = roofline = refuse
