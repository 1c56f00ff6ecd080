"""Small constant matrices times vectors of registers, with the fewest operations that symmetry
gives.

Winograd's matrices come in opposite points: rows of B^T agree up to the signs of odd columns,
columns of A^T up to the signs of odd rows. So two rows share an even and an odd half, two columns
their sum and difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from llvmlite import ir

from tinygraph_scalar.arithmetic import declare

Row = Sequence[Fraction]
Term = tuple[Fraction, ir.Value]


def multiply(b: ir.IRBuilder, matrix: Sequence[Row], xs: Sequence[ir.Value]) -> list[ir.Value]:
    """matrix @ xs; xs are vectors of one type."""
    columns = _with_sums(b, list(zip(*matrix, strict=True)), xs)
    values = [x for _, x in columns]
    rows = list(zip(*(c for c, _ in columns), strict=True))
    result: dict[int, ir.Value] = {}
    for i, row in enumerate(rows):
        if i in result:
            continue
        twin = next(
            (j for j in range(i + 1, len(rows)) if j not in result and _opposite(row, rows[j])),
            None,
        )
        if twin is None:
            result[i] = combine(b, list(zip(row, values, strict=True)))
            continue
        terms = list(zip(row, rows[twin], values, strict=True))
        even = combine(b, [(c, x) for c, d, x in terms if c == d])
        odd = [(c, x) for c, d, x in terms if c != d]
        factor = min(abs(c) for c, _ in odd)
        half = combine(b, [(c / factor, x) for c, x in odd])
        result[i] = combine(b, [(Fraction(1), even), (factor, half)])
        result[twin] = combine(b, [(Fraction(1), even), (-factor, half)])
    return [result[i] for i in range(len(rows))]


def _with_sums(
    b: ir.IRBuilder, columns: list[Row], xs: Sequence[ir.Value]
) -> list[tuple[Row, ir.Value]]:
    """(column, value) pairs; two columns that agree up to signs become those of their values'
    sum and difference.
    """
    result: list[tuple[Row, ir.Value]] = []
    left = list(zip(columns, xs, strict=True))
    while left:
        column, x = left.pop(0)
        twin = next((i for i, (other, _) in enumerate(left) if _opposite(column, other)), None)
        if twin is None:
            result.append((column, x))
            continue
        other, y = left.pop(twin)
        same = [c == d for c, d in zip(column, other, strict=True)]
        result.append(
            ([c if s else Fraction(0) for c, s in zip(column, same, strict=True)], b.fadd(x, y))
        )
        result.append(
            ([Fraction(0) if s else c for c, s in zip(column, same, strict=True)], b.fsub(x, y))
        )
    return result


def _opposite(row: Row, other: Row) -> bool:
    """Equal up to the signs of some elements, not all and not none, and worth the halves."""
    pairs = [(c, d) for c, d in zip(row, other, strict=True) if c or d]
    equal = sum(c == d for c, d in pairs)
    return all(abs(c) == abs(d) for c, d in pairs) and 0 < equal < len(pairs)


def combine(b: ir.IRBuilder, terms: Sequence[Term]) -> ir.Value:
    """The sum of coefficient * vector: a term of coefficient 1 first, multiply-adds after it."""
    total = None
    for c, x in sorted((t for t in terms if t[0]), key=lambda t: t[0] != 1):
        if total is None:
            total = x if c == 1 else b.fmul(x, _constant(x, c))
        elif c == 1:
            total = b.fadd(total, x)
        elif c == -1:
            total = b.fsub(total, x)
        else:
            total = _fma(b, x, _constant(x, c), total)
    assert total is not None, "a row of zeros"
    return total


def _constant(x: ir.Value, c: Fraction) -> ir.Constant:
    return ir.Constant(x.type, [float(c)] * x.type.count)


def _fma(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    kind = x.type
    width = 32 if isinstance(kind.element, ir.FloatType) else 64
    fma = declare(b.module, f"llvm.fmuladd.v{kind.count}f{width}", kind, [kind] * 3)
    return b.call(fma, [x, y, z])
