"""What an instruction that only computes is: operand types, result types, a function on lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import arithmetic as a
from .faults import UnsupportedInstruction
from .parse import Instruction
from .types import Lanes


@dataclass(frozen=True, slots=True)
class Pure:
    """``results = function(*operands)`` of the types named; several results are a tuple."""

    results: tuple[str, ...]
    operands: tuple[str, ...]
    function: Callable[..., Lanes]


Maker = Callable[[Instruction], Pure]


def unsupported(i: Instruction) -> UnsupportedInstruction:
    return UnsupportedInstruction(f"line {i.line}: {i.text}")


def same(function: Callable[..., Lanes], count: int) -> Maker:
    """All operands and the result are of the instruction's type."""

    def make(i: Instruction) -> Pure:
        kind = i.type()
        return Pure((kind,), (kind,) * count, flushing(i, function))

    return make


def flushing(i: Instruction, function: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """With .ftz, float32 operands and results below the smallest normal number count as 0."""
    if "ftz" not in i.modifiers or "f32" not in i.modifiers:
        return function

    def flushed(*operands: Lanes) -> Lanes:
        floats = [a.flush_denormals(x) if x.dtype == np.float32 else x for x in operands]
        result = function(*floats)
        return a.flush_denormals(result) if result.dtype == np.float32 else result

    return flushed
