"""What the text of a kernel may call besides the scalar functions; the twins are in
tinygraph.codegen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.arithmetic import Arithmetic, Operand, Value, declare, suffix

I64 = ir.IntType(64)


class IndexArithmetic(Arithmetic):
    """Scalar arithmetic in which integers of two widths meet, as indices do: the wider wins."""

    def together(self, x: Operand, y: Operand) -> tuple[Value, Value]:
        kinds = [v.dtype for v in (x, y) if isinstance(v, Value) and DTYPES[v.dtype].is_integer]
        if len(kinds) == 2:
            dtype = np.promote_types(*kinds).name
            return self.convert(x, dtype), self.convert(y, dtype)
        return super().together(x, y)


def accumulate(do: Arithmetic, acc: Operand, value: Operand) -> Value:
    """acc + value, in any order: the one addition that may be regrouped, so that sums vectorize.

    Never nsz in addition: LLVM would take the value apart, and the sum of x - x would lose NaN.
    """
    x, y = do.together(acc, value)
    if not x.is_float:
        raise TypeError(f"accumulate requires floats, got {x.dtype}")
    return Value(do.builder.fadd(x.ir, y.ir, flags=("reassoc", "contract")), x.dtype)


def exchanged(do: Arithmetic, x: Operand, y: Operand, mask: Operand) -> Value:
    """x where mask is 0, y where it is -1, by bits."""
    old, new = do.together(x, y)
    b, width = do.builder, DTYPES[old.dtype].bits
    word = ir.IntType(width)
    bits = do.convert(mask, "int64").ir
    bits = b.trunc(bits, word) if width < 64 else bits
    kept = b.and_(b.bitcast(old.ir, word), b.not_(bits))
    taken = b.and_(b.bitcast(new.ir, word), bits)
    return Value(b.bitcast(b.or_(kept, taken), old.ir.type), old.dtype)


def opaque(do: Arithmetic, mask: Operand) -> Value:
    """The mask, through an empty piece of assembly that no pass looks into."""
    value = do.convert(mask, "int64").ir
    kind = ir.FunctionType(I64, [I64])
    return Value(do.builder.asm(kind, "", "=r,0", [value], side_effect=False), "int64")


def _extremum(name: str, symbol: str) -> Callable[..., Value]:
    """The larger or smaller of two numbers of one dtype; NaN if either is NaN."""

    def emit(do: Arithmetic, left: Operand, right: Operand) -> Value:
        x, y = do.together(left, right)
        if not x.is_float:
            return do.where(do.compare(symbol, x, y), x, y)
        kind = x.ir.type
        function = declare(do.builder.module, f"llvm.{name}.{suffix(x.dtype)}", kind, [kind, kind])
        return Value(do.builder.call(function, [x.ir, y.ir], fastmath=("nsz",)), x.dtype)

    return emit


def _index_extremum(symbol: str) -> Callable[..., Value]:
    """min or max of two indices, as int64."""

    def emit(do: Arithmetic, left: Operand, right: Operand) -> Value:
        x, y = do.convert(left, "int64"), do.convert(right, "int64")
        return do.where(do.compare(symbol, x, y), x, y)

    return emit


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "accumulate": accumulate,
    "exchanged": exchanged,
    "opaque": opaque,
    "maximum": _extremum("maximum", ">"),
    "minimum": _extremum("minimum", "<"),
    "max": _index_extremum(">"),
    "min": _index_extremum("<"),
}


# ------------------------------------------------------------------ in float64
# The project's library is made for float32; here the C library stands in for it.


def _c_call(do: Arithmetic, symbol: str, *args: Operand) -> Value:
    values = [do.convert(x, "float64").ir for x in args]
    kind = ir.DoubleType()
    function = declare(do.builder.module, symbol, kind, [kind] * len(values))
    return Value(do.builder.call(function, values), "float64")


def _c_function(symbol: str) -> Callable[..., Value]:
    return lambda do, *args: _c_call(do, symbol, *args)


def _sigmoid(do: Arithmetic, x: Operand) -> Operand:
    e = _c_call(do, "exp", do.unary("-", x))
    return do.binary("/", 1.0, do.binary("+", 1.0, e))


def _softplus(do: Arithmetic, x: Operand) -> Operand:
    positive = do.where(do.compare("<=", x, 0.0), 0.0, x)
    below = do.unary("-", do.abs(x))
    return do.binary("+", positive, _c_call(do, "log1p", _c_call(do, "exp", below)))


FLOAT64: dict[str, Callable[..., Operand]] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "power": _c_function("pow"),
    **{name: _c_function(name) for name in vars(math) if name in library.FLOAT32},
}


def computes_in_float64(name: str, args: list[Operand]) -> bool:
    """Whether a call is one of the functions above."""
    return name in FLOAT64 and any(isinstance(x, Value) and x.dtype == "float64" for x in args)
