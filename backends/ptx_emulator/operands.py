"""Registers by number, and operands as functions that read and write them.

``values[number]`` holds a register: an array with one value for each lane, or a scalar that all
lanes share. Special registers, kernel parameters and addresses of variables are registers too,
which a launch fills when it begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter

import numpy as np

from .arithmetic import select
from .faults import UnsupportedInstruction
from .flatten import Flat
from .parse import NAME, Instruction
from .types import DTYPES, Lanes, immediate, register_dtype, reinterpret

Values = list[Lanes]
Reader = Callable[[Values], Lanes]
Writer = Callable[[Values, Lanes], None]
Chooser = Callable[[Values, np.ndarray], "np.ndarray | None"]


class Operands:
    """The registers of a kernel.

    Attributes:
        dtypes: of the registers, by number.
        inputs: {name: number} of those that a launch fills.
        uses, defines: registers of the block at hand: read before they are written, and written.
    """

    def __init__(self, flat: Flat, addresses: dict[str, int], variables: set[str]):
        """`addresses` are those of shared variables; `variables` are in global memory."""
        self.types = dict(flat.registers)
        self.addresses = {**addresses, **flat.local}
        self.variables = variables
        self.dtypes: list[np.dtype] = []
        self.inputs: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.begin_block()

    def begin_block(self) -> None:
        self.uses: set[int] = set()
        self.defines: set[int] = set()

    def number(self, name: str, dtype: np.dtype) -> int:
        if name not in self.numbers:
            self.numbers[name] = len(self.dtypes)
            self.dtypes.append(dtype)
        return self.numbers[name]

    def used(self, number: int) -> int:
        if number not in self.defines:
            self.uses.add(number)
        return number

    def input(self, name: str, dtype: np.dtype) -> int:
        """A register that each launch fills."""
        self.inputs[name] = self.number(name, dtype)
        return self.used(self.inputs[name])

    def read(self, text: str, kind: str) -> Reader:
        """How an operand is read as a type: a register, variable or literal."""
        dtype = DTYPES[kind]
        if text.startswith("!"):
            inner = self.read(text[1:], kind)
            return lambda values: ~inner(values)
        if text in self.types:
            held = register_dtype(self.types[text])
            get = itemgetter(self.used(self.number(text, held)))
            return get if held == dtype else lambda values: reinterpret(get(values), dtype)
        name, _, offset = text.partition("+")
        if name in self.addresses:
            address = dtype.type(self.addresses[name] + int(offset or 0))
            return lambda values: address
        if name in self.variables or text.startswith("%"):
            return self.read_input(name, int(offset or 0), dtype)
        value = immediate("32" if text == "WARP_SZ" else text, dtype)
        return lambda values: value

    def read_input(self, name: str, offset: int, dtype: np.dtype) -> Reader:
        """A special register, or the address of a variable."""
        wide = name in self.variables or name == "%clock64"
        held = np.dtype(np.uint64 if wide else np.uint32)
        get, plus = itemgetter(self.input(name, held)), held.type(offset)
        return lambda values: reinterpret(get(values) + plus, dtype)

    def write(self, text: str, kind: str) -> Writer:
        """How a result of a type is put into a register; ``_`` drops it."""
        if text == "_":
            return lambda values, result: None
        held = register_dtype(self.types[text])
        number = self.number(text, held)
        self.defines.add(number)

        def store(values: Values, result: Lanes) -> None:
            values[number] = result if result.dtype == held else reinterpret(result, held)

        return store

    def write_all(self, i: Instruction, names: list[str], kinds: tuple[str, ...]) -> Writer:
        """Writes a result, or a tuple, in the lanes where the predicate is true."""
        guard = self.predicate(i) if i.predicate else None
        old = [
            self.read(name, kind) if guard and name != "_" else None
            for name, kind in zip(names, kinds, strict=True)
        ]
        writes = [self.write(name, kind) for name, kind in zip(names, kinds, strict=True)]
        if guard is None and len(writes) == 1:
            return writes[0]

        def write(values: Values, results: Lanes) -> None:
            each = results if isinstance(results, tuple) else (results,)
            chosen = guard(values) if guard else np.True_
            kept = [k(values) if k else None for k in old]
            for one, result, before in zip(writes, each, kept, strict=True):
                one(values, result if before is None else select(result, before, chosen))

        return write

    def address(self, text: str) -> Reader:
        """``[register+offset]``, or a variable in place of the register, as int64."""
        match = re.fullmatch(rf"({NAME})?(?:\+?(-?\d+))?", re.sub(r"\s|[][]", "", text))
        if match is None:
            raise UnsupportedInstruction(f"the address {text}")
        offset = np.int64(int(match[2] or 0))
        if match[1] is None:
            return lambda values: offset
        narrow = self.types.get(match[1], "b64")[1:] == "32"
        base = self.read(match[1], "u32" if narrow else "s64")
        return lambda values: base(values).astype(np.int64) + offset

    def predicate(self, i: Instruction) -> Reader:
        return self.read(f"{'!' if i.negated else ''}{i.predicate}", "pred")

    def chooser(self, i: Instruction) -> Chooser:
        """Which lanes an instruction applies to, of those that run; None for all."""
        if not i.predicate:
            return lambda values, lanes: None
        read = self.predicate(i)
        return lambda values, lanes: np.flatnonzero(spread(read(values), lanes))


def spread(values: Lanes, lanes: np.ndarray) -> np.ndarray:
    """A register with a value for each lane, also where it is a scalar."""
    return values if values.ndim else np.broadcast_to(values, lanes.shape)


def pick(values: Lanes, chosen: np.ndarray) -> Lanes:
    """The chosen lanes of a register that may be a scalar."""
    return values[chosen] if values.ndim else values
