"""A program bound to memory: argument blocks filled in, launch tables built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.backend import Roofline
from tinygraph.cache import Store
from tinygraph.codegen.program import Argument, Call, Code
from tinygraph.ir import Parameter, Type, aligned

from . import objects
from .driver import Launch, LaunchTable, driver
from .kernels import fetch, symbol_of
from .team import default_threads, team

SERIAL = 150_000  # cost below which a program runs on one thread: waking another costs more


def threads_for(code: Code) -> int:
    """One for each device, or one for all of them if there are fewer; else as many as there are."""
    if code.devices:
        return len(code.devices) if len(code.devices) <= default_threads() else 1
    parallel = sum(c.parts for c in code.calls) > len(code.calls)
    return default_threads() if parallel else 1


class CpuRunner:
    """Owns the arena, the prepared memory and the argument blocks of one program."""

    memory = None  # the host's

    def __init__(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
        store: Store,
    ):
        found = fetch(code.kernels, store)
        if found is None:
            raise LookupError(f"the cache has lost a kernel of {code.name}")
        addresses = objects.load(found)
        self.functions = [addresses[symbol_of(k)] for k in code.kernels]
        self.code, self.parameters = code, list(parameters)
        self.arena = aligned(Type((max(code.arena, 1),), "uint8"), 4096)
        self.prepared = aligned(Type((max(code.prepared, 1),), "uint8"), 4096)
        self.constants = [self.copied(c) for c in constants]
        self.threads = threads_for(code)
        self.scratch = aligned(Type((max(self.threads * code.scratch, 1),), "uint8"), 4096)
        self.bases = {
            ("arena", 0): self.arena.ctypes.data,
            ("prepared", 0): self.prepared.ctypes.data,
        }
        self.bases["scratch", 0] = self.scratch.ctypes.data
        self.bases |= {("constant", i): c.ctypes.data for i, c in enumerate(self.constants)}
        self.bases |= {
            ("parameter", i): p.state.read().ctypes.data for i, p in enumerate(parameters)
        }
        self.blocks: list[np.ndarray] = []
        self.patches: dict[tuple[str, int], list[tuple[np.ndarray, int, int]]] = {}
        self.table = self.tabulate(code.calls, len(code.devices))
        self.prepare = self.tabulate(code.prepare) if code.prepare else None
        self.team = team()

    @staticmethod
    def copied(constant: np.ndarray) -> np.ndarray:
        memory = aligned(Type(constant.shape, constant.dtype.name))
        memory[...] = constant
        return memory

    def tabulate(self, calls: Sequence[Call], devices: int = 0) -> LaunchTable:
        return LaunchTable([self.launch(call) for call in calls], devices)

    def launch(self, call: Call) -> Launch:
        pairs = [(self.functions[w.kernel], self.block(w.arguments)) for w in call.work]
        if len(pairs) == 1:
            ((function, block),) = pairs
            return Launch(function, block.ctypes.data, call.parts, call.waits, call.device)
        ends = np.cumsum([w.parts for w in call.work])
        table = [
            (int(end), function, block.ctypes.data)
            for end, (function, block) in zip(ends, pairs, strict=True)
        ]
        block = np.array(table, np.int64).reshape(-1)
        self.blocks.append(block)
        return Launch(driver().bundle, block.ctypes.data, call.parts, call.waits, call.device)

    def block(self, arguments: Sequence[Argument]) -> np.ndarray:
        """An argument block with its addresses filled in, but for inputs and outputs."""
        block = np.zeros(len(arguments), np.int64)
        self.blocks.append(block)
        for i, argument in enumerate(arguments):
            block[i] = self.value(argument, block, i)
        return block

    def value(self, argument: Argument, block: np.ndarray, i: int) -> int:
        if isinstance(argument, int):
            return argument
        home, number, offset = argument
        if home in ("input", "output"):
            self.patches.setdefault((home, number), []).append((block, i, offset))
            return 0
        return self.bases[home, number] + offset

    def bind(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        for home, arrays in (("input", inputs), ("output", outputs)):
            for number, array in enumerate(arrays):
                base = array.__array_interface__["data"][0]
                for block, i, offset in self.patches.get((home, number), ()):
                    block[i] = base + offset

    def refresh(self) -> None:
        """Runs what depends on parameters only."""
        if self.prepare is not None:
            self.team.run(self.prepare, self.threads)

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.bind(inputs, outputs)
        self.team.run(self.table, self.threads)

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        from .calibrate import cycles_per_second

        rate = cycles_per_second()
        self.table.count_cycles(True)
        try:
            self(inputs, outputs)
            cycles, _ = self.table.cycles()
        finally:
            self.table.count_cycles(False)
        return [float(c) / rate for c in cycles]

    def roofline(self) -> Roofline:
        from .calibrate import measured_roofline

        return measured_roofline(self.threads)
