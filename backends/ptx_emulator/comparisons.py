"""PTX's comparison and selection instructions."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np

from . import arithmetic as a
from .parse import Instruction
from .pure import Pure, flushing, unsupported
from .types import DTYPES, Lanes, unsigned

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
