"""What atomic instructions do to memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .faults import UnsupportedInstruction
from .parse import Instruction
from .types import Lanes

CHANGES: dict[str, Callable[..., Lanes]] = {
    "add": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda old, new: new,
    "cas": lambda old, expected, new: np.where(old == expected, new, old),
    "inc": lambda old, limit: np.where(old >= limit, 0, old + 1).astype(old.dtype),
    "dec": lambda old, limit: np.where((old == 0) | (old > limit), limit, old - 1).astype(
        old.dtype
    ),
}


def operation(i: Instruction) -> tuple[str, Callable[..., Lanes]]:
    """(type, new value from the old one and the operands) of an atom or red instruction."""
    name = next((m for m in i.modifiers if m in CHANGES), None)
    if name is None:
        raise UnsupportedInstruction(f"line {i.line}: {i.text}")
    return i.type(), CHANGES[name]
