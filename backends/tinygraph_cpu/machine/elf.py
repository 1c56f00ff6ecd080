"""ELF objects of x86-64 in memory: those of the large code model, whose places are all 64 bits.

That is what LLVM makes of kernels (``jit=True``): sections that nobody writes, and words that hold
the address of a symbol. System V ABI, chapter 4; its AMD64 supplement, section 4.4.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

HEAD = struct.Struct("<16xHH20xQ10xHHH")  # type, machine; where sections are; their size, count
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
RELOCATABLE, X86_64 = 1, 62
CONTENT, SYMBOLS, RELOCATIONS = 1, 2, 4  # types of sections
WRITE, ALLOC = 1, 2  # flags
ADDRESS = 1  # R_X86_64_64, the relocation: a symbol's address and a number
LINE = 64


@dataclass(frozen=True, slots=True)
class Section:
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str
    section: int  # 0: of the process
    value: int


class Object:
    """What a file says.

    Attributes:
        placed: numbers of the sections that are in memory when the code runs. Unwinding, through
            frames of which nothing is thrown, is left out.
    """

    def __init__(self, code: bytes) -> None:
        self.code = code
        kind, machine, start, size, count, names = HEAD.unpack_from(code)
        if code[:6] != b"\x7fELF\2\1" or (kind, machine) != (RELOCATABLE, X86_64):
            raise ValueError("it is no object of x86-64")
        rows = (SECTION.unpack_from(code, start + i * size) for i in range(count))
        self.sections = [Section(*row) for row in rows]
        self.placed = [
            i for i, s in enumerate(self.sections)
            if s.flags & ALLOC and s.size and self._text(names, s.name) != ".eh_frame"
        ]  # fmt: skip

    def _text(self, strings: int, at: int) -> str:
        start = self.sections[strings].offset + at
        return self.code[start : self.code.index(0, start)].decode()

    def symbols(self) -> list[Symbol]:
        (table,) = (s for s in self.sections if s.type == SYMBOLS)
        rows = SYMBOL.iter_unpack(self.code[table.offset : table.offset + table.size])
        return [Symbol(self._text(table.link, n), at, value) for n, _, _, at, value, _ in rows]

    def relocations(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Section, offset there, symbol, kind, number, of what is placed."""
        for s in self.sections:
            if s.type == RELOCATIONS and s.info in self.placed:
                rows = RELOCATION.iter_unpack(self.code[s.offset : s.offset + s.size])
                for at, what, number in rows:
                    yield s.info, at, what >> 32, what & 0xFFFFFFFF, number


def is_plain(code: bytes) -> bool:
    """True if it is an object that ``Mapped`` takes."""
    try:
        found = Object(code)
    except (ValueError, struct.error):
        return False
    sections = (found.sections[i] for i in found.placed)
    return all(s.type == CONTENT and not s.flags & WRITE for s in sections) and all(
        kind == ADDRESS for _, _, _, kind, _ in found.relocations()
    )


class Mapped:
    """Objects in executable memory, which goes with it.

    Attributes:
        addresses: of all symbols that the objects define.
    """

    def __init__(self, codes: Iterable[bytes]) -> None:
        objects = [Object(code) for code in dict.fromkeys(codes)]
        size = LINE
        places: list[dict[int, int]] = []
        for each in objects:
            places.append({})
            for i in each.placed:
                align = max(each.sections[i].align, LINE)
                size = -(-size // align) * align
                places[-1][i] = size
                size += each.sections[i].size
        self.memory = np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE), np.uint8)
        base = self.memory.ctypes.data
        self.addresses: dict[str, int] = {}
        for each, at in zip(objects, places, strict=True):
            self._place(each, {i: base + place for i, place in at.items()}, base)
        if _libc().mprotect(ctypes.c_void_p(base), size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "the system permits no new code")

    def _place(self, code: Object, starts: dict[int, int], base: int) -> None:
        symbols = code.symbols()
        for i, start in starts.items():
            s = code.sections[i]
            content = np.frombuffer(code.code, np.uint8, s.size, s.offset)
            self.memory[start - base : start - base + s.size] = content
        for i, at, number, _, more in code.relocations():
            symbol = symbols[number]
            target = starts[symbol.section] if symbol.section else of_process(symbol.name)
            word = (target + symbol.value + more) & 0xFFFFFFFFFFFFFFFF
            place = starts[i] - base + at
            self.memory[place : place + 8].view(np.uint64)[0] = word
        for symbol in symbols:
            if symbol.name and symbol.section in starts:
                self.addresses[symbol.name] = starts[symbol.section] + symbol.value


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@cache
def of_process(name: str) -> int:
    """The address of a function that this process has.

    Raises:
        ValueError: it has none of this name.
    """
    try:
        return ctypes.cast(getattr(_libc(), name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise ValueError(f"a kernel calls {name!r}, which this process does not have") from None
