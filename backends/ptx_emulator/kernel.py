"""Kernels of a PTX text, and how they are launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .counters import Counters
from .execution import Grid, Group, Shape
from .flatten import flatten
from .memory import Memory
from .operands import Operands
from .parse import Function, Instruction, Variable, parse
from .races import Numbering
from .translate import Translator
from .types import DTYPES, register_dtype, unsigned

CHUNK = 8192  # lanes that run together: enough to hide Python's part, few enough for the caches
BANK_ROW = 128  # bytes; gaps between shared arrays keep the banks as they are

Size = int | Sequence[int]


class Kernel:
    """A kernel of a PTX text, ready to be launched.

    Args:
        ptx: the text.
        name: of the kernel; may be left out where there is only one.
        source: the generated text that line numbers refer to, shown in faults.
    """

    def __init__(self, ptx: str, name: str | None = None, source: str = ""):
        module = parse(ptx)
        entries = {f.name: f for f in module.functions.values() if f.entry}
        self.function: Function = entries[name] if name else next(iter(entries.values()))
        self.name = self.function.name
        self.source = source.splitlines()
        self.flat = flatten(module, self.function)
        variables = module.variables.items()
        self.variables = {k: v for k, v in variables if v.space in ("global", "const")}
        shared = [v for _, v in variables if v.space == "shared"]
        self.shared_valid, self.shared_addresses = lay_out(shared)
        operands = Operands(self.flat, self.shared_addresses, set(self.variables))
        translator = Translator(self.flat, operands)
        self.blocks = translator.blocks()
        self.dtypes, self.inputs = operands.dtypes, operands.inputs
        self.instructions = translator.instructions
        self.lines = [i.line for i in self.instructions]
        self.grain = min([4, *(DTYPES[i.type()].itemsize for i in self.instructions if touches(i))])
        self.placed: WeakKeyDictionary[Memory, dict[str, int]] = WeakKeyDictionary()

    def __call__(
        self,
        memory: Memory,
        grid: Size,
        block: Size,
        arguments: Sequence[int | float],
        *,
        dynamic_shared: int = 0,
        check: bool = True,
        counters: Counters | None = None,
    ) -> None:
        """Runs the kernel.

        Args:
            memory: what its pointers point into.
            grid, block: blocks, and threads of a block, along x, y and z.
            arguments: one number for each parameter, addresses as `memory` gave them.
            dynamic_shared: bytes of shared memory that is sized by the launch.
            check: whether races and uninitialized shared memory are looked for; bounds, alignment
                and barriers always are.
            counters: where memory traffic is counted.

        Raises:
            Fault: the first error of a thread.
        """
        shape = Shape(triple(grid), triple(block))
        if len(arguments) != len(self.function.parameters):
            count = len(self.function.parameters)
            raise TypeError(f"kernel {self.name} takes {count} arguments, not {len(arguments)}")
        numbering = Numbering(memory.first_thread, shape.blocks, shape.threads)
        memory.first_thread = numbering.several_blocks + 1
        valid = np.concatenate([self.shared_valid, np.ones(dynamic_shared, bool)])
        inputs = sizes(shape, dynamic_shared) | self.parameters(arguments) | self.placed_in(memory)
        launch = Grid(self, memory, shape, numbering, inputs, valid, check, counters)
        together = max(1, CHUNK // shape.threads)
        with np.errstate(all="ignore"):
            for first in range(0, shape.blocks, together):
                Group(launch, np.arange(first, min(first + together, shape.blocks))).run()

    def parameters(self, arguments: Sequence[int | float]) -> dict[str, Any]:
        """Registers that ld.param fills."""
        given: dict[str, np.ndarray] = {}
        for parameter, value in zip(self.function.parameters, arguments, strict=True):
            dtype = DTYPES[parameter.type]
            if dtype.kind == "f":
                number = np.array([value], dtype)
            else:
                mask = (1 << 8 * dtype.itemsize) - 1  # negative integers are given as they are
                number = np.array([int(value) & mask], unsigned(dtype))
            given[parameter.name] = number.view(np.uint8)
        values: dict[str, Any] = {}
        for name in self.inputs:
            if name.startswith("param "):
                _, parameter_name, offset, kind = name.split(" ")
                data = given[parameter_name][int(offset) :][: DTYPES[kind].itemsize]
                values[name] = data.view(register_dtype(kind))[0]
        return values

    def placed_in(self, memory: Memory) -> dict[str, Any]:
        """The addresses of the module's variables, which a memory gets at its first launch."""
        placed = self.placed.setdefault(memory, {})
        for name, variable in self.variables.items():
            if name in self.inputs and name not in placed:
                placed[name] = memory.upload(variable.data, name)
        return {name: np.uint64(address) for name, address in placed.items()}


def sizes(shape: Shape, dynamic_shared: int) -> dict[str, Any]:
    """Special registers that are the same in every thread."""
    values: dict[str, Any] = {
        "%dynamic_smem_size": np.uint32(dynamic_shared),
        "%clock": np.uint32(0),
        "%clock64": np.uint64(0),
    }
    for axis, name in enumerate("xyz"):
        values[f"%ntid.{name}"] = np.uint32(shape.block[axis])
        values[f"%nctaid.{name}"] = np.uint32(shape.grid[axis])
    return values


def triple(size: Size) -> tuple[int, int, int]:
    given = (size,) if isinstance(size, int) else tuple(size)
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z


def lay_out(arrays: list[Variable]) -> tuple[np.ndarray, dict[str, int]]:
    """Shared arrays in memory: which bytes are theirs, and where each begins.

    A gap of at least a row of banks follows each, so that leaving one array is seen. Arrays
    that the launch sizes come last and share one place.
    """
    pieces, places, top = [], {}, 0
    for array in sorted(arrays, key=lambda a: a.dynamic):
        places[array.name] = top
        if not array.dynamic:
            room = -(-array.bytes // BANK_ROW) * BANK_ROW + BANK_ROW
            pieces.append(np.arange(room) < array.bytes)
            top += room
    return np.concatenate(pieces) if pieces else np.zeros(0, bool), places


def touches(i: Instruction) -> bool:
    """True for accesses of single elements; ldmatrix and cp.async touch words."""
    return i.opcode in ("ld", "ldu", "st", "atom", "red") and "param" not in i.modifiers
