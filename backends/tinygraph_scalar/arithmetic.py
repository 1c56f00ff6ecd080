"""Scalar arithmetic as LLVM IR, at any vector width: one lane gives scalar code, which LLVM's
vectorizer can widen.

Literals are weak: they take the dtype of what they meet. Values of two dtypes never mix, except for
bool, which is promoted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES, astype, is_float

from . import narrow

# never nnan or ninf, or NaN would not propagate; reassoc would undo the polynomials' care
# Never arcp: by reciprocal, 0 / 1e-40 and 1 / sqrt(0) would be NaN. Never nsz: 1 / (x + 0) tells.
FAST = ("contract",)

# the builder's methods
FLOAT_OPERATORS = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
INTEGER_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor", "<<": "shl",
    ">>": "ashr",
}  # fmt: skip

# operators on two literals, and on one
FOLD: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip
FOLD_ONE: dict[str, Callable[..., Any]] = {
    "+": operator.pos, "-": operator.neg, "not": operator.not_, "~": operator.inv,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """An LLVM value of `dtype`: a scalar at one lane, else a vector."""

    ir: ir.Value
    dtype: str

    @property
    def is_float(self) -> bool:
        return is_float(self.dtype)

    @property
    def is_signed(self) -> bool:
        return DTYPES[self.dtype].kind in ("int", "float")


Operand = Value | bool | int | float


def scalar_type(dtype: str, memory: bool = False) -> ir.Type:
    """A number of ``dtype`` in a register; a bool has one bit there, and eight in ``memory``. A
    float of memory only is its bits.
    """
    kind = DTYPES[dtype]
    if kind.is_float and not kind.compute:
        return ir.FloatType() if kind.bits == 32 else ir.DoubleType()
    return ir.IntType(1 if kind.kind == "bool" and not memory else kind.bits)


def vector_type(dtype: str, lanes: int) -> ir.Type:
    return scalar_type(dtype) if lanes == 1 else ir.VectorType(scalar_type(dtype), lanes)


def suffix(dtype: str) -> str:
    """How the names of LLVM's functions call an element in memory: f32, i8."""
    kind = DTYPES[dtype]
    return f"{'f' if kind.is_float and not kind.compute else 'i'}{kind.bits}"


def constant(value: float, dtype: str, lanes: int) -> ir.Constant:
    if DTYPES[dtype].compute:
        value = int(astype(value, dtype).view("uint16"))
    number = float(value) if is_float(dtype) and not DTYPES[dtype].compute else int(value)
    return ir.Constant(vector_type(dtype, lanes), number if lanes == 1 else [number] * lanes)


def declare(module: ir.Module, name: str, result: ir.Type, args: list[ir.Type]) -> ir.Function:
    """The declaration of `name` in `module`, made at the first call."""
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(result, args), name)
    return module.globals[name]


class Arithmetic:
    """Emits operations at the builder's position; `lanes` elements at once."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes

    # -- dtypes --------------------------------------------------------------------------------

    def convert(self, x: Operand, dtype: str) -> Value:
        """`x` as `dtype`, as NumPy's ``astype``; what int32 or int64 cannot hold gives anything."""
        if not isinstance(x, Value):
            return Value(constant(x, dtype, self.lanes), dtype)
        if x.dtype == dtype:
            return x
        if DTYPES[x.dtype].compute:
            return self.convert(Value(narrow.widen(self, x.ir, x.dtype), "float32"), dtype)
        if dtype == "bool":
            return self.compare("!=", x, 0)
        if DTYPES[dtype].compute:
            return Value(narrow.narrow(self, narrow.to_odd(self, x).ir, dtype), dtype)
        b, to, to_float = self.builder, vector_type(dtype, self.lanes), is_float(dtype)
        if x.is_float and to_float:
            return Value((b.fpext if dtype == "float64" else b.fptrunc)(x.ir, to), dtype)
        if x.is_float:
            return Value(b.fptosi(x.ir, to), dtype)
        if to_float:
            return Value((b.sitofp if x.is_signed else b.uitofp)(x.ir, to), dtype)
        before, after = scalar_type(x.dtype).width, scalar_type(dtype).width
        if before == after:
            return Value(x.ir, dtype)
        resize = b.trunc if after < before else b.sext if x.is_signed else b.zext
        return Value(resize(x.ir, to), dtype)

    def together(self, x: Operand, y: Operand) -> tuple[Value, Value]:
        """Both operands in one dtype: a literal takes the other's, bool is promoted to it."""
        strong = {v.dtype for v in (x, y) if isinstance(v, Value)}
        kinds = {type(v) for v in (x, y) if not isinstance(v, Value)}
        literal = "float32" if float in kinds else "int32" if int in kinds else "bool"
        numbers = strong - {"bool"}
        dtype = min(numbers, default=literal)
        if len(numbers) > 1:
            raise TypeError(f"{' meets '.join(sorted(numbers))}: convert one of them")
        if float in kinds and not is_float(dtype):
            raise TypeError(f"{dtype} meets a float literal: convert one of them")
        return self.convert(x, dtype), self.convert(y, dtype)

    # -- operators, by their symbols -----------------------------------------------------------

    def unary(self, symbol: str, x: Operand) -> Operand:
        if not isinstance(x, Value):
            return FOLD_ONE[symbol](x)
        b = self.builder
        match symbol:
            case "+":
                return x
            case "not":
                return Value(b.not_(self.convert(x, "bool").ir), "bool")
            case "~" if not x.is_float:
                return Value(b.not_(x.ir), x.dtype)
            case "-" if x.dtype != "bool":
                self.require_arithmetic(x.dtype)
                return Value((b.fneg if x.is_float else b.neg)(x.ir), x.dtype)
        raise TypeError(f"{symbol} of {x.dtype}: convert it")

    def binary(self, symbol: str, left: Operand, right: Operand) -> Operand:
        if not isinstance(left, Value) and not isinstance(right, Value):
            return FOLD[symbol](left, right)
        x, y = self.together(left, right)
        self.require_arithmetic(x.dtype)
        if x.dtype == "bool" and symbol in ("+", "-", "*"):
            x, y = self.convert(x, "int32"), self.convert(y, "int32")
        if symbol in ("//", "%"):
            return (self.divide_floats if x.is_float else self.divide)(x, y, symbol == "%")
        name = (FLOAT_OPERATORS if x.is_float else INTEGER_OPERATORS).get(symbol)
        if name is None:
            raise TypeError(f"{symbol} of {x.dtype}: convert it")
        if name == "ashr" and not x.is_signed:
            name = "lshr"
        flags = {"flags": FAST} if x.is_float else {}
        return Value(getattr(self.builder, name)(x.ir, y.ir, **flags), x.dtype)

    def require_arithmetic(self, dtype: str) -> None:
        """Raises TypeError for a dtype of memory only."""
        if DTYPES[dtype].compute:
            raise TypeError(f"arithmetic of {dtype}, a format of memory: convert it")

    def divide(self, x: Value, y: Value, remainder: bool) -> Value:
        """Integer division that rounds down, as Python's; by zero it gives 0, as NumPy's.

        The processor traps at a division by zero, and at the least integer by -1, so that neither
        is ever given to it.
        """
        b, zero = self.builder, self.convert(0, x.dtype)
        by_zero = self.compare("==", y, 0)
        if not x.is_signed:
            divisor = self.where(by_zero, 1, y)
            found = (b.urem if remainder else b.udiv)(x.ir, divisor.ir)
            return self.where(by_zero, zero, Value(found, x.dtype))
        by_minus_one = self.compare("==", y, -1)
        divisor = self.where(self.any([by_zero, by_minus_one]), 1, y)
        rest = Value(b.srem(x.ir, divisor.ir), x.dtype)
        signs_differ = self.compare("<", Value(b.xor(rest.ir, divisor.ir), x.dtype), 0)
        wrong = self.all([signs_differ, self.compare("!=", rest, 0)])
        if remainder:  # by 1, and so by 0 and -1, it is 0
            return self.where(wrong, Value(b.add(rest.ir, divisor.ir), x.dtype), rest)
        quotient = Value(b.sdiv(x.ir, divisor.ir), x.dtype)
        quotient = self.where(wrong, self.binary("-", quotient, 1), quotient)
        quotient = self.where(by_minus_one, self.unary("-", x), quotient)
        return self.where(by_zero, zero, quotient)

    def float_remainder(self, x: Value, y: Value) -> Value:
        """C's fmod: exact, with the sign of x."""
        return Value(self.builder.frem(x.ir, y.ir), x.dtype)

    def divide_floats(self, x: Value, y: Value, remainder: bool) -> Value:
        """Division that rounds down, exactly, as NumPy's: through the remainder, which is exact."""
        rest = self.float_remainder(x, y)
        signs_differ = self.compare("!=", self.compare("<", rest, 0), self.compare("<", y, 0))
        wrong = self.all([signs_differ, self.compare("!=", rest, 0)])
        if remainder:
            zero = self.where(self.compare("<", y, 0), -0.0, self.convert(0.0, x.dtype))
            rest = self.where(self.compare("==", rest, 0), zero, rest)
            return self.where(wrong, self.binary("+", rest, y), rest)
        exact = self.binary("/", self.binary("-", x, rest), y)
        quotient = self.intrinsic("rint", exact)
        quotient = self.where(wrong, self.binary("-", quotient, 1), quotient)
        whole = self.binary("/", x, y)
        zero = self.compare("==", quotient, 0)
        quotient = self.where(zero, self.binary("*", whole, 0.0), quotient)
        return self.where(self.compare("==", y, 0), whole, quotient)

    def shift_left(self, left: Operand, right: Operand) -> Value:
        """As NumPy's: 0 where the number of places is not one of the dtype's."""
        x, y = self.together(left, right)
        inside, places = self._places(y)
        return self.where(inside, Value(self.builder.shl(x.ir, places.ir), x.dtype), 0)

    def shift_right(self, left: Operand, right: Operand) -> Value:
        """As NumPy's: what is left of the sign, or 0, where there are too many places."""
        x, y = self.together(left, right)
        inside, places = self._places(y)
        if x.is_signed:
            return Value(self.builder.ashr(x.ir, places.ir), x.dtype)
        return self.where(inside, Value(self.builder.lshr(x.ir, places.ir), x.dtype), 0)

    def _places(self, y: Value) -> tuple[Value, Value]:
        """Whether a number of places is below the width, and the number, or the last that is."""
        last = self.convert(DTYPES[y.dtype].bits - 1, y.dtype)
        inside = Value(self.builder.icmp_unsigned("<=", y.ir, last.ir), "bool")
        return inside, self.where(inside, y, last)

    def compare(self, symbol: str, left: Operand, right: Operand) -> Value:
        x, y = self.together(left, right)
        self.require_arithmetic(x.dtype)
        b = self.builder
        if x.is_float:
            compare = b.fcmp_unordered if symbol == "!=" else b.fcmp_ordered
        else:
            compare = b.icmp_signed if x.is_signed else b.icmp_unsigned
        return Value(compare(symbol, x.ir, y.ir), "bool")

    def all(self, bits: list[Operand]) -> Value:
        first, *rest = (self.convert(x, "bool").ir for x in bits)
        for bit in rest:
            first = self.builder.and_(first, bit)
        return Value(first, "bool")

    def any(self, bits: list[Operand]) -> Value:
        first, *rest = (self.convert(x, "bool").ir for x in bits)
        for bit in rest:
            first = self.builder.or_(first, bit)
        return Value(first, "bool")

    def where(self, condition: Operand, left: Operand, right: Operand) -> Value:
        x, y = self.together(left, right)
        return Value(self.builder.select(self.convert(condition, "bool").ir, x.ir, y.ir), x.dtype)

    # -- functions: the twins are in tinygraph.codegen.intrinsics ------------------------------

    def intrinsic(self, name: str, *args: Operand) -> Value:
        """One of LLVM's functions of floats, all of one dtype."""
        floats = [x.dtype for x in args if isinstance(x, Value)] or ["float32"]
        dtype = floats[0]
        self.require_arithmetic(dtype)
        if set(floats) - {dtype} or not is_float(dtype):
            raise TypeError(f"{name} requires floats of one dtype, got {', '.join(floats)}")
        values = [self.convert(x, dtype).ir for x in args]
        vector = "" if self.lanes == 1 else f"v{self.lanes}"
        kinds = [x.type for x in values]
        symbol = f"llvm.{name}.{vector}{suffix(dtype)}"
        function = declare(self.builder.module, symbol, kinds[0], kinds)
        return Value(self.builder.call(function, values, fastmath=FAST), dtype)

    def rounded_product(self, left: Operand, right: Operand) -> Value:
        """A product of floats that is part of no fused multiply-add: without ``contract``."""
        x, y = self.together(left, right)
        self.require_arithmetic(x.dtype)
        return Value(self.builder.fmul(x.ir, y.ir), x.dtype)

    def nearest(self, x: Operand) -> Value:
        """The nearest int32 of a float32, by the processor's rounding, which is to the even one."""
        value = self.convert(x, "float32")
        vector = "" if self.lanes == 1 else f"v{self.lanes}"
        symbol, kind = f"llvm.lrint.{vector}i32.{vector}f32", vector_type("int32", self.lanes)
        function = declare(self.builder.module, symbol, kind, [value.ir.type])
        return Value(self.builder.call(function, [value.ir]), "int32")

    def abs(self, x: Operand) -> Operand:
        if not isinstance(x, Value) or x.is_float:
            return self.intrinsic("fabs", x)
        return self.where(self.compare("<", x, 0), self.unary("-", x), x) if x.is_signed else x

    def isnan(self, x: Operand) -> Value:
        value = self.convert(x, "float32") if not isinstance(x, Value) else x
        self.require_arithmetic(value.dtype)
        return Value(self.builder.fcmp_unordered("uno", value.ir, value.ir), "bool")

    def bitcast(self, x: Operand, dtype: str) -> Value:
        bits = DTYPES[dtype].bits
        source = f"int{bits}" if is_float(dtype) else f"float{bits}"
        if isinstance(x, Value) and x.dtype != source:
            raise TypeError(f"the bits as {dtype} require {source}, got {x.dtype}")
        taken = self.convert(x, source).ir
        return Value(self.builder.bitcast(taken, vector_type(dtype, self.lanes)), dtype)
