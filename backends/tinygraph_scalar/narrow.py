"""Floats of 16 bits, to float32 and back, in integer operations on their bits.

Processors have instructions for some of these conversions; but LLVM calls library functions, which
no process has, where one lacks them, and a processor's ``vcvtneps2bf16`` takes denormals for 0.
These are the same bits everywhere. A value in a register is an integer of 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES, is_exact

if TYPE_CHECKING:
    from .arithmetic import Arithmetic, Operand, Value

INFINITY = 0x7F800000  # float32's
MOVED = 112 << 23  # from float16's exponents to those of float32


class Bits:
    """Integer operations on lanes of 32 bits."""

    def __init__(self, do: Arithmetic) -> None:
        self.do, self.b = do, do.builder
        self.word, self.short, self.float = (
            kind if do.lanes == 1 else ir.VectorType(kind, do.lanes)
            for kind in (ir.IntType(32), ir.IntType(16), ir.FloatType())
        )

    def number(self, value: float, kind: ir.Type | None = None) -> ir.Constant:
        lanes = self.do.lanes
        return ir.Constant(kind or self.word, value if lanes == 1 else [value] * lanes)

    def shifted(self, x: ir.Value, places: int) -> ir.Value:
        """Left, or right where ``places`` is negative."""
        shift = self.b.shl if places > 0 else self.b.lshr
        return shift(x, self.number(abs(places)))

    def masked(self, x: ir.Value, mask: int) -> ir.Value:
        return self.b.and_(x, self.number(mask))

    def plus(self, x: ir.Value, value: int) -> ir.Value:
        return self.b.add(x, self.number(value))

    def above(self, x: ir.Value, value: int) -> ir.Value:
        return self.b.icmp_unsigned(">", x, self.number(value))


def widen(do: Arithmetic, x: ir.Value, dtype: str) -> ir.Value:
    """A float of 16 bits as float32, exactly."""
    to = Bits(do)
    bits = to.b.zext(x, to.word)
    return to.b.bitcast(_WIDEN[dtype](to, bits), to.float)


def narrow(do: Arithmetic, x: ir.Value, dtype: str) -> ir.Value:
    """float32 rounded to the nearest float of 16 bits, of two to the even one; NaN stays NaN."""
    to = Bits(do)
    return to.b.trunc(_NARROW[dtype](to, to.b.bitcast(x, to.word)), to.short)


# from 2 ** the first on, so many low bits of an integer are more than float32 has; what is left are
# the 13 bits at least that to_odd must keep for float16
CUTS = {32: ((24, 8),), 64: ((24, 11), (35, 22), (46, 33), (57, 39))}


def to_odd(do: Arithmetic, x: Value) -> Value:
    """A number as float32, rounded to odd where that lacks it, so that to round it again rounds
    once; see ``rounded_to_odd`` in tinygraph/graph/dtype.py.
    """
    if is_exact(x.dtype, "float32") or DTYPES[x.dtype].compute:
        return do.convert(x, "float32")
    if not x.is_float:
        found = x
        for power, cut in CUTS[DTYPES[x.dtype].bits]:
            below = (1 << cut) - 1
            lost = do.convert(do.compare("!=", do.binary("&", x, below), 0), x.dtype)
            kept = do.binary("|", do.binary("&", x, ~below), do.shift_left(lost, cut))
            far: list[Operand] = [do.compare(">=", x, 1 << power)]
            far += [do.compare("<=", x, -(1 << power))] if x.is_signed else []
            found = do.where(do.any(far), kept, found)
        return do.convert(found, "float32")
    b, to, near = do.builder, Bits(do), do.convert(x, "float32")
    back, bits = do.convert(near, x.dtype), b.bitcast(near.ir, to.word)
    above = do.compare(">", do.abs(back), do.abs(x))
    odd = b.or_(b.sub(bits, b.zext(above.ir, to.word)), to.number(1))
    inexact = b.fcmp_ordered("!=", back.ir, x.ir)
    return replace(near, ir=b.bitcast(b.select(inexact, odd, bits), to.float))


def _widen_bfloat16(to: Bits, bits: ir.Value) -> ir.Value:
    return to.shifted(bits, 16)


def _narrow_bfloat16(to: Bits, bits: ir.Value) -> ir.Value:
    b, high = to.b, to.shifted(bits, -16)
    rounded = to.shifted(b.add(to.plus(bits, 0x7FFF), to.masked(high, 1)), -16)
    nan = to.above(to.masked(bits, 0x7FFFFFFF), INFINITY)
    return b.select(nan, b.or_(high, to.number(0x40)), rounded)


def _widen_float16(to: Bits, bits: ir.Value) -> ir.Value:
    b, size = to.b, to.masked(bits, 0x7FFF)
    normal = to.plus(to.shifted(size, 13), MOVED)
    other = to.plus(normal, MOVED)  # infinity and NaN
    whole = b.fmul(b.uitofp(size, to.float), to.number(2.0**-24, to.float))  # below 2**-14
    small = b.bitcast(whole, to.word)
    found = b.select(to.above(size, 0x7BFF), other, normal)
    found = b.select(to.above(size, 0x3FF), found, small)
    return b.or_(found, to.shifted(to.masked(bits, 0x8000), 16))


def _narrow_float16(to: Bits, bits: ir.Value) -> ir.Value:
    b, size = to.b, to.masked(bits, 0x7FFFFFFF)
    high = to.shifted(size, -13)
    rounded = b.add(to.plus(size, 0xFFF - MOVED), to.masked(high, 1))
    normal = to.shifted(rounded, -13)
    half = to.number(0.5, to.float)  # its last digit is 2**-24, as a denormal's
    small = b.bitcast(b.fadd(b.bitcast(size, to.float), half), to.word)
    small = to.plus(small, -(126 << 23))
    nan = b.or_(to.masked(high, 0x3FF), to.number(0x7E00))
    found = b.select(to.above(size, (113 << 23) - 1), normal, small)
    found = b.select(to.above(size, (143 << 23) - 1), to.number(0x7C00), found)  # from 65536 on
    found = b.select(to.above(size, INFINITY), nan, found)
    return b.or_(found, to.masked(to.shifted(bits, -16), 0x8000))


Conversion = Callable[[Bits, ir.Value], ir.Value]
_WIDEN: dict[str, Conversion] = {"bfloat16": _widen_bfloat16, "float16": _widen_float16}
_NARROW: dict[str, Conversion] = {"bfloat16": _narrow_bfloat16, "float16": _narrow_float16}
