"""PTX instructions that only compute: operand types, result types and a function on lanes for each.

``TABLE[opcode](instruction)`` gives a Pure. What touches memory, other threads or control flow is
in ptx_emulator.translate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np

from . import arithmetic as a
from .comparisons import select_by_sign, set_predicate, set_value, test_property
from .conversions import convert, move
from .parse import Instruction
from .pure import Maker, Pure, same, unsupported
from .types import DTYPES, Lanes


def by_kind(floating: Callable[..., Lanes], whole: Callable[..., Lanes], count: int) -> Maker:
    return lambda i: same(floating if i.type()[0] == "f" else whole, count)(i)


def rounding(i: Instruction) -> Callable[[Lanes], Lanes] | None:
    """How a float32 result is rounded, if not to nearest."""
    mode = next((m for m in i.modifiers if m in a.ROUNDED), None)
    if mode is None or i.type()[0] != "f":
        return None
    if i.type() != "f32":
        raise unsupported(i)
    return a.ROUNDED[mode]


def sum_like(function: Callable[[Lanes, Lanes], Lanes]) -> Maker:
    """add and sub."""

    def make(i: Instruction) -> Pure:
        mode = rounding(i)
        if mode is not None:
            wide = lambda x, y: function(x.astype(np.float64), y.astype(np.float64))  # noqa: E731
            return same(lambda x, y: mode(wide(x, y)), 2)(i)
        result = (lambda x, y: a.saturate(function(x, y))) if "sat" in i.modifiers else function
        return same(result, 2)(i)

    return make


def uses_carry(i: Instruction) -> bool:
    return "cc" in i.modifiers or i.opcode in ("addc", "subc", "madc")


def carrying(i: Instruction) -> Pure:
    """Arithmetic with a carry, the last operand and result: add.cc begins with 0, addc takes it."""
    if DTYPES[i.type()].itemsize != 4:
        raise unsupported(i)
    name = i.opcode.removesuffix("c")
    functions: dict[str, Callable[..., Lanes]] = {
        "add": a.add_carry,
        "sub": a.subtract_borrow,
        "mad": a.multiply_high_add_carry if "hi" in i.modifiers else a.multiply_low_add_carry,
    }
    function, kinds = functions[name], ("u32",) * (4 if name == "mad" else 3)
    if i.opcode != name:
        return Pure(("u32", "u32"), kinds, function)
    return Pure(("u32", "u32"), kinds, lambda *x: function(*x[:-1], np.uint32(0)))


def widened(kind: str) -> str:
    return f"{kind[0]}{2 * int(kind[1:])}"


def multiply(i: Instruction) -> Pure:
    kind, mode = i.type(), rounding(i)
    if "wide" in i.modifiers:
        wide = DTYPES[widened(kind)]
        return Pure((widened(kind),), (kind, kind), lambda x, y: x.astype(wide) * y.astype(wide))
    if "hi" in i.modifiers:
        return same(a.multiply_high, 2)(i)
    if mode is not None:
        return same(lambda x, y: mode(np.multiply(x, y, dtype=np.float64)), 2)(i)
    return same(operator.mul, 2)(i)


def multiply_add(i: Instruction) -> Pure:
    """mad and fma."""
    kind, mode = i.type(), rounding(i)
    if kind == "f64":
        return same(a.fma64, 3)(i)
    if kind == "f32":
        if mode is not None:
            return same(lambda x, y, z: mode(np.multiply(x, y, dtype=np.float64) + z), 3)(i)
        return same(
            (lambda x, y, z: a.saturate(a.fma32(x, y, z))) if "sat" in i.modifiers else a.fma32, 3
        )(i)
    if "wide" in i.modifiers:
        wide = DTYPES[widened(kind)]
        return Pure(
            (widened(kind),),
            (kind, kind, widened(kind)),
            lambda x, y, z: x.astype(wide) * y.astype(wide) + z,
        )
    if "hi" in i.modifiers:
        return same(lambda x, y, z: a.multiply_high(x, y) + z, 3)(i)
    return same(lambda x, y, z: x * y + z, 3)(i)


def dot_of_bytes(i: Instruction) -> Pure:
    """dp4a, dp2a: products of bytes with bytes, or with half words, added to the third operand."""
    kinds = tuple(m for m in i.modifiers if m in ("s32", "u32"))
    total = "s32" if "s32" in kinds else "u32"
    halves = {"lo": (0, 8), "hi": (16, 24)}
    bits = 16 if i.opcode == "dp2a" else 8
    places = next((halves[m] for m in i.modifiers if m in halves), (0, 8, 16, 24))

    def dot(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
        for at, place in enumerate(places):
            one = a.field_at(x, bits * at, bits, kinds[0] == "s32")
            other = a.field_at(y, place, 8, kinds[1] == "s32")
            z = z + (one * other).astype(z.dtype)
        return z

    return Pure((total,), (*kinds, total), dot)


def extremum(number: Callable[..., Lanes], propagating: Callable[..., Lanes]) -> Maker:
    """min and max: a NaN loses against a number, unless the instruction says .NaN."""

    def make(i: Instruction) -> Pure:
        return same(propagating if "NaN" in i.modifiers or i.type()[0] != "f" else number, 2)(i)

    return make


def shift(function: Callable[[Lanes, Lanes], Lanes]) -> Maker:
    return lambda i: Pure((i.type(),), (i.type(), "u32"), function)


def funnel(i: Instruction) -> Pure:
    function = a.funnel_left if "l" in i.modifiers else a.funnel_right
    wrap = "wrap" in i.modifiers

    def shifted(low: Lanes, high: Lanes, count: Lanes) -> Lanes:
        return function(
            low, high, count & np.uint32(31) if wrap else np.minimum(count, np.uint32(32))
        )

    return Pure(("b32",), ("b32", "b32", "u32"), shifted)


def count_bits(function: Callable[[Lanes], Lanes]) -> Maker:
    return lambda i: Pure(("u32",), (i.type(),), function)


def logic(i: Instruction) -> Pure:
    table = int(i.operands[4], 0)
    return Pure(("b32",), ("b32", "b32", "b32"), lambda x, y, z: a.logic3(x, y, z, table))


def reciprocal(x: Lanes) -> Lanes:
    return x.dtype.type(1) / x


TABLE: dict[str, Maker] = {
    "add": sum_like(operator.add),
    "sub": sum_like(operator.sub),
    "mul": multiply,
    "mad": multiply_add,
    "dp4a": dot_of_bytes,
    "dp2a": dot_of_bytes,
    "fma": multiply_add,
    "div": by_kind(operator.truediv, a.divide, 2),
    "rem": same(a.remainder, 2),
    "min": extremum(np.fmin, np.minimum),
    "max": extremum(np.fmax, np.maximum),
    "abs": same(np.abs, 1),
    "neg": same(operator.neg, 1),
    "copysign": same(lambda x, y: np.copysign(y, x), 2),
    "sqrt": same(np.sqrt, 1),
    "rsqrt": same(lambda x: reciprocal(np.sqrt(x)), 1),
    "rcp": same(reciprocal, 1),
    "ex2": same(np.exp2, 1),
    "lg2": same(np.log2, 1),
    "sin": same(np.sin, 1),
    "cos": same(np.cos, 1),
    "tanh": same(np.tanh, 1),
    "and": same(operator.and_, 2),
    "or": same(operator.or_, 2),
    "xor": same(operator.xor, 2),
    "not": same(operator.invert, 1),
    "cnot": same(lambda x: (x == 0).astype(x.dtype), 1),
    "shl": shift(a.shift_left),
    "shr": shift(a.shift_right),
    "shf": funnel,
    "setp": set_predicate,
    "set": set_value,
    "selp": lambda i: Pure((i.type(),), (i.type(), i.type(), "pred"), a.select),
    "slct": select_by_sign,
    "mov": move,
    "cvt": convert,
    "testp": test_property,
    "popc": count_bits(a.count_ones),
    "clz": count_bits(a.count_leading_zeros),
    "bfind": lambda i: count_bits(
        a.shift_to_highest_bit if "shiftamt" in i.modifiers else a.highest_bit
    )(i),
    "brev": same(a.reverse_bits, 1),
    "bfe": lambda i: Pure((i.type(),), (i.type(), "u32", "u32"), a.extract_bits),
    "bfi": lambda i: Pure((i.type(),), (i.type(), i.type(), "u32", "u32"), a.insert_bits),
    "prmt": lambda i: Pure(("b32",), ("b32", "b32", "b32"), a.permute_bytes),
    "lop3": logic,
}
