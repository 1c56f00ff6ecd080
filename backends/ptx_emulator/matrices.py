"""Tensor cores: the matrices that the lanes of a warp hold together, and their products.

Where each lane has which elements is PTX's "matrix fragments" for ``mma.m16n8k*`` and ``ldmatrix``:
a register holds neighbouring elements along k, eight rows by four registers make a square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .types import Lanes

ROWS, COLUMNS = 16, 8
LANE = np.arange(32)
GROUP, PLACE = LANE // 4, LANE % 4


def bfloat16(words: np.ndarray) -> np.ndarray:
    halves = np.ascontiguousarray(words).view(np.uint16).astype(np.uint32) << np.uint32(16)
    return halves.view(np.float32).astype(np.float64)


def tensor_float32(words: np.ndarray) -> np.ndarray:
    """float32 without its last 13 bits, which a tensor core does not read."""
    return (words & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def as_dtype(name: str, into: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda words: np.ascontiguousarray(words).view(name).astype(into)


# elements of a register, by their type
ELEMENTS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "bf16": (2, bfloat16),
    "f16": (2, as_dtype("f2", "f8")),
    "tf32": (1, tensor_float32),
    "s8": (4, as_dtype("i1", "i8")),
    "u8": (4, as_dtype("u1", "i8")),
}


def left(registers: np.ndarray, kind: str) -> np.ndarray:
    """A, (warps, 16, k), of registers (n, warps, 32)."""
    return fragment(registers, kind, ROWS).transpose(0, 2, 1)


def right(registers: np.ndarray, kind: str) -> np.ndarray:
    """B, (warps, k, 8), of registers (n, warps, 32)."""
    return fragment(registers, kind, COLUMNS)


def fragment(registers: np.ndarray, kind: str, lines: int) -> np.ndarray:
    """(warps, k, lines) of registers (n, warps, 32): lines come in eights first, then k."""
    each, numbers = ELEMENTS[kind]
    count, warps, _ = registers.shape
    eights = lines // 8
    found = np.empty((warps, count // eights * 4 * each, lines), numbers(registers[0, :, :1]).dtype)
    for r in range(count):
        values = numbers(registers[r].reshape(-1)).reshape(warps, 32, each)
        k = (r // eights * 4 + PLACE)[:, None] * each + np.arange(each)
        line = GROUP[:, None] + r % eights * 8
        found[:, k, np.broadcast_to(line, k.shape)] = values
    return found


def sums(registers: np.ndarray) -> np.ndarray:
    """C, (warps, 16, 8), of registers (4, warps, 32)."""
    found = np.empty((registers.shape[1], ROWS, COLUMNS), registers.dtype)
    for r in range(4):
        found[:, GROUP + r // 2 * 8, 2 * PLACE + r % 2] = registers[r]
    return found


def spread_sums(found: np.ndarray) -> tuple[np.ndarray, ...]:
    """The registers, (warps, 32) each, of C."""
    return tuple(found[:, GROUP + r // 2 * 8, 2 * PLACE + r % 2] for r in range(4))


def multiply(a: np.ndarray, b: np.ndarray, c: np.ndarray, kinds: tuple[str, str]) -> np.ndarray:
    """A B + C. Floats are added up in float64 and rounded once: a tensor core adds in an order, and
    cuts off digits, of which nothing is documented.
    """
    found = left(a, kinds[0]) @ right(b, kinds[1]) + sums(c)
    return found.astype(c.dtype)


def squares(rows: np.ndarray, transposed: bool) -> np.ndarray:
    """What ldmatrix gives each lane, (warps, 32), of squares whose rows, 16 bytes each, are
    (warps, 8, 8) of uint16; ``transposed``, rows are columns.
    """
    square = rows.transpose(0, 2, 1) if transposed else rows
    pairs = square.astype(np.uint32).reshape(square.shape[0], 32, 2)
    return pairs[..., 0] | pairs[..., 1] << np.uint32(16)


def round_tensor_float32(x: Lanes) -> Lanes:
    """cvt.rna.tf32.f32: to 10 digits after the first, of two the one farther from 0."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), rounded, bits)[()]
