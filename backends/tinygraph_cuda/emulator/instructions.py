"""PTX instructions that only compute: operand types, result types and a function on lanes for each.

``TABLE[opcode](instruction)`` gives a Pure. What touches memory, other threads or control flow is
in tinygraph_cuda.emulator.translate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import arithmetic as a
from .faults import UnsupportedInstruction
from .parse import Instruction
from .types import DTYPES, Lanes, unsigned


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
            return same(lambda x, y: mode(function(x.astype(np.float64), y.astype(np.float64))), 2)(
                i
            )
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


COMPARE: dict[str, Callable[[Lanes, Lanes], Lanes]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge,
    "lo": operator.lt, "ls": operator.le, "hi": operator.gt, "hs": operator.ge,  # unsigned
}  # fmt: skip


def unordered(x: Lanes, y: Lanes) -> Lanes:
    return np.isnan(x) | np.isnan(y)


def comparison(i: Instruction) -> Callable[[Lanes, Lanes], Lanes]:
    """``lt`` is false where an operand is NaN, ``ltu`` true; ``nan`` asks for just that."""
    name = i.modifiers[0]
    if name == "num":
        return lambda x, y: ~unordered(x, y)
    if name == "nan":
        return unordered
    if i.type()[0] == "f" and name not in COMPARE:
        base = COMPARE[name[:-1]]
        return lambda x, y: base(x, y) | unordered(x, y)
    if i.type()[0] == "f" and name == "ne":
        return lambda x, y: (x != y) & ~unordered(x, y)
    return COMPARE[name]


def set_predicate(i: Instruction) -> Pure:
    """setp p[|q], a, b[, c]: p = (a ? b) op c, q = not (a ? b) op c."""
    compare, kind = flushing(i, comparison(i)), i.type()
    join = next((m for m in i.modifiers if m in ("and", "or", "xor")), None)
    combine = {None: lambda p, q: p, "and": operator.and_, "or": operator.or_, "xor": operator.xor}[
        join
    ]
    two = "|" in i.operands[0]

    def both(x: Lanes, y: Lanes, third: Lanes = None) -> Lanes:
        answer = compare(x, y)
        return (combine(answer, third), combine(~answer, third)) if two else combine(answer, third)

    return Pure(("pred",) * (1 + two), (kind, kind, *(["pred"] if join else [])), both)


def set_value(i: Instruction) -> Pure:
    """set: all ones, or 1.0, where the comparison holds."""
    compare, result, kind = comparison(i), i.type(0), i.type()
    true = np.float32(1) if result == "f32" else ~unsigned(DTYPES[result]).type(0)
    return Pure((result,), (kind, kind), lambda x, y: a.select(true, true * 0, compare(x, y)))


ROUND_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(i: Instruction) -> Pure:
    """cvt: between the widths of integers, of floats, and between them."""
    kinds = [m for m in i.modifiers if m in DTYPES]
    if len(kinds) != 2:
        raise unsupported(i)
    to, of = kinds
    target = DTYPES[to]
    whole = next((ROUND_WHOLE[m] for m in i.modifiers if m in ROUND_WHOLE), None)
    directed = next((a.ROUNDED[m] for m in i.modifiers if m in a.ROUNDED), None)

    def converted(x: Lanes) -> Lanes:
        if whole is not None:
            x = whole(x)
        if target.kind in "iu" and of[0] == "f":
            return a.to_integer(x, target)
        if directed is not None and to == "f32":
            return directed(x.astype(np.float64))
        if "sat" not in i.modifiers:
            return x.astype(target)
        if target.kind == "f":
            return a.saturate(x.astype(target))
        limits = np.iinfo(target)
        low, high = max(limits.min, np.iinfo(x.dtype).min), min(limits.max, np.iinfo(x.dtype).max)
        return np.clip(x, x.dtype.type(low), x.dtype.type(high)).astype(target)

    return Pure((to,), (of,), flushing(i, converted))


def move(i: Instruction) -> Pure:
    """mov: also packs narrow registers into a wide one, and takes a wide one apart."""
    kind = i.type()
    result, source = i.operands
    if result.startswith("{"):
        return unpack(DTYPES[kind].itemsize, result.count(",") + 1)
    if source.startswith("{"):
        return pack(DTYPES[kind].itemsize, source.count(",") + 1)
    return Pure((kind,), (kind,), lambda x: x)


def pack(size: int, count: int) -> Pure:
    """`count` registers side by side in one of `size` bytes, the first lowest."""
    wide, bits = np.dtype(f"u{size}"), 8 * size // count

    def joined(*parts: Lanes) -> Lanes:
        whole = parts[0].astype(wide)
        for k, part in enumerate(parts[1:], 1):
            whole = whole | part.astype(wide) << wide.type(k * bits)
        return whole

    return Pure((f"b{8 * size}",), (f"b{bits}",) * count, joined)


def unpack(size: int, count: int) -> Pure:
    wide, bits = np.dtype(f"u{size}"), 8 * size // count
    narrow = np.dtype(f"u{size // count}")

    def parts(x: Lanes) -> tuple[Lanes, ...]:
        return tuple((x >> wide.type(k * bits)).astype(narrow) for k in range(count))

    return Pure((f"b{bits}",) * count, (f"b{8 * size}",), parts)


def test_property(i: Instruction) -> Pure:
    tests: dict[str, Callable[[Lanes], Lanes]] = {
        "finite": np.isfinite, "infinite": np.isinf, "notanumber": np.isnan,
        "number": lambda x: ~np.isnan(x),
    }  # fmt: skip
    if i.modifiers[0] not in tests:
        raise unsupported(i)
    return Pure(("pred",), (i.type(),), tests[i.modifiers[0]])


def select_by_sign(i: Instruction) -> Pure:
    kind = i.type(0)
    return Pure((kind,), (kind, kind, i.type()), lambda x, y, z: a.select(x, y, z >= 0))


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
