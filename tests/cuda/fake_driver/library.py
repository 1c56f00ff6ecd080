"""A shared library without a compiler: functions by name, each of which jumps to where a slot says.

An ELF file for x86-64 (System V ABI, AMD64 supplement; gABI chapter 5, dynamic linking) with what
the dynamic linker requires: two segments, a dynamic section, symbols and their hash table.
"""

from __future__ import annotations

import atexit
import ctypes
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = 4096
READ, WRITE, EXECUTE = 4, 2, 1
LOAD, DYNAMIC = 1, 2  # types of segments
HASH, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 4, 5, 6, 10, 11, 14  # tags of the dynamic section
FUNCTION, OBJECT = 0x12, 0x11  # of symbols, global
SLOTS, ZERO = "slots", "zero"
ENTRY = 8  # bytes of a function
RETURN_ZERO = b"\x31\xc0\xc3".ljust(ENTRY, b"\x90")  # xor %eax, %eax; ret


def jump(to: int, place: int) -> bytes:
    """jmp *to(%rip), at ``place``."""
    return (b"\xff\x25" + struct.pack("<i", to - (place + 6))).ljust(ENTRY, b"\x90")


def library(name: str, functions: Sequence[str]) -> bytes:
    """The file of a library that calls itself ``name``. Its data, the symbol ``slots``, are an
    address for each function; the function ``zero`` returns 0.
    """
    symbols = [*functions, ZERO, SLOTS]
    texts = b"\0" + b"".join(s.encode() + b"\0" for s in [*symbols, name])
    at_hash = 64 + 3 * 56
    at_symbols = at_hash + 4 * (4 + len(symbols))
    at_symbols += -at_symbols % 8
    at_texts = at_symbols + 24 * (len(symbols) + 1)
    at_code = at_texts + len(texts)
    at_code += -at_code % 16
    end = at_code + ENTRY * (len(functions) + 1)
    at_slots = end + -end % PAGE
    at_dynamic = at_slots + 8 * len(functions)
    dynamic = [
        (SONAME, texts.index(b"\0" + name.encode() + b"\0") + 1), (HASH, at_hash),
        (SYMTAB, at_symbols), (STRTAB, at_texts), (STRSZ, len(texts)), (SYMENT, 24), (0, 0),
    ]  # fmt: skip
    size = at_dynamic + 16 * len(dynamic)

    def segment(kind: int, flags: int, first: int, last: int, align: int = PAGE) -> bytes:
        fields = (first, first, first, last - first, last - first, align)
        return struct.pack("<IIQQQQQQ", kind, flags, *fields)

    def symbol(text: str, kind: int, address: int, size: int) -> bytes:
        place = texts.index(b"\0" + text.encode() + b"\0") + 1
        return struct.pack("<IBBHQQ", place, kind, 0, 1, address, size)

    places = [at_code + ENTRY * i for i in range(len(functions) + 1)]
    content = {
        0: b"\x7fELF\2\1\1" + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
        + segment(LOAD, READ | EXECUTE, 0, end)
        + segment(LOAD, READ | WRITE, at_slots, size)
        + segment(DYNAMIC, READ | WRITE, at_dynamic, size, 8),
        at_hash: struct.pack("<3I", 1, len(symbols) + 1, 1)  # one bucket, a chain of all symbols
        + b"".join(struct.pack("<I", i) for i in [0, *range(2, len(symbols) + 1), 0]),
        at_symbols: bytes(24)
        + b"".join(symbol(s, FUNCTION, p, ENTRY) for s, p in zip(symbols, places, strict=False))
        + symbol(SLOTS, OBJECT, at_slots, 8 * len(functions)),
        at_texts: texts,
        at_code: b"".join(jump(at_slots + 8 * i, p) for i, p in enumerate(places[:-1]))
        + RETURN_ZERO,
        at_dynamic: b"".join(struct.pack("<QQ", *entry) for entry in dynamic),
    }  # fmt: skip
    data = bytearray(size)
    for place, piece in content.items():
        data[place : place + len(piece)] = piece
    return bytes(data)


def load(path: Path, functions: Mapping[str, Any]) -> ctypes.CDLL:
    """Writes and opens a library of these ctypes functions. Until the process ends, whoever opens
    a library of this name gets it. At exit all of them return 0: C++ may still call them then, but
    Python can no longer answer.
    """
    path.write_bytes(library(path.name, list(functions)))
    opened = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    slots = (ctypes.c_void_p * len(functions)).in_dll(opened, SLOTS)

    def fill(chosen: Iterable[Any]) -> None:
        for number, function in enumerate(chosen):
            slots[number] = ctypes.cast(function, ctypes.c_void_p).value

    fill(functions.values())
    atexit.register(fill, [getattr(opened, ZERO)] * len(functions))
    return opened
