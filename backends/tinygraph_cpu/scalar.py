"""A small compiler from scalar Python text to LLVM IR, at any vector width.

It eats what the expressions of operators and the functions of ``tinygraph.codegen.math`` are made
of: arithmetic, comparisons, ``x if c else y`` (a select: both sides are evaluated), constructors
such as ``float32(x)``, primitives, and calls of those functions, whose text is compiled in place.
One lane gives scalar code, which LLVM's vectorizer can widen.

Literals are weak: they take the dtype of what they meet. Values of two dtypes never mix, but for
    bool, which is promoted.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llvmlite import ir

from tinygraph.codegen import math as library
from tinygraph.codegen import random

# never nnan or ninf, or NaN would not propagate; reassoc would undo the polynomials' care
# Never arcp: by reciprocal, 0 / 1e-40 and 1 / sqrt(0) would be NaN.
FAST = ("contract", "nsz")

TYPES: dict[str, ir.Type] = {
    "bool": ir.IntType(1), "uint8": ir.IntType(8), "int32": ir.IntType(32),
    "uint32": ir.IntType(32), "int64": ir.IntType(64), "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """An LLVM value of `dtype`: a scalar at one lane, else a vector."""

    ir: ir.Value
    dtype: str


Operand = Value | bool | int | float


def vector_type(dtype: str, lanes: int) -> ir.Type:
    return TYPES[dtype] if lanes == 1 else ir.VectorType(TYPES[dtype], lanes)


def constant(value: float, dtype: str, lanes: int) -> ir.Constant:
    number = float(value) if dtype.startswith("float") else int(value)
    return ir.Constant(vector_type(dtype, lanes), number if lanes == 1 else [number] * lanes)


def emit_expression(
    builder: ir.IRBuilder, text: str, names: Mapping[str, Value], dtype: str, lanes: int
) -> Value:
    """Compiles `text`, an expression over `names`, and converts the result to `dtype`."""
    emitter = Emitter(builder, lanes)
    return emitter.convert(emitter.visit(_expression(text), names), dtype)


@lru_cache(maxsize=4096)
def calls_function(text: str) -> bool:
    """Whether `text` calls a function that is compiled in place, dozens of instructions."""
    calls = [node.func for node in ast.walk(_expression(text)) if isinstance(node, ast.Call)]
    return any(isinstance(name, ast.Name) and name.id in _functions() for name in calls)


@lru_cache(maxsize=4096)
def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@lru_cache(maxsize=1)
def _functions() -> dict[str, ast.FunctionDef]:
    trees = [ast.parse(inspect.getsource(module)) for module in (library, random)]
    return {f.name: f for tree in trees for f in tree.body if isinstance(f, ast.FunctionDef)}


class Emitter:
    """Emits at the builder's position; `lanes` elements at once."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes

    # -- names, constants, control -------------------------------------------------------------

    def visit(self, node: ast.expr, names: Mapping[str, Operand]) -> Operand:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.Name(id=name):
                return names[name] if name in names else self._global(name)
            case ast.UnaryOp(op=op, operand=x):
                return self._unary(op, self.visit(x, names))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self.visit(left, names), self.visit(right, names))
            case ast.Compare(left=left, ops=ops, comparators=rest):
                return self._comparisons(ops, [self.visit(x, names) for x in (left, *rest)])
            case ast.BoolOp(op=op, values=values):
                bits = [self.visit(x, names) for x in values]
                return self._all(bits) if isinstance(op, ast.And) else self._any(bits)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._where(*(self.visit(x, names) for x in (test, body, orelse)))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, [self.visit(x, names) for x in args])
        raise NotImplementedError(f"not scalar code: {ast.unparse(node)}")

    @staticmethod
    def _global(name: str) -> float:
        value = {"inf": math.inf, "nan": math.nan}.get(name, getattr(library, name, None))
        if isinstance(value, int | float):
            return value
        raise NameError(f"unknown name {name!r} in scalar code")

    def _call(self, name: str, args: list[Operand]) -> Operand:
        if name == "bool_" or name in TYPES:
            return self.convert(args[0], "bool" if name == "bool_" else name)
        if primitive := PRIMITIVES.get(name):
            return primitive(self, *args)
        if function := _functions().get(name):
            return self._inline(function, args)
        raise NameError(f"unknown function {name!r} in scalar code")

    def _inline(self, function: ast.FunctionDef, args: list[Operand]) -> Operand:
        for arg in args:
            if isinstance(arg, Value) and arg.dtype == "float64":
                raise TypeError(f"{function.name} requires float32, got {arg.dtype}")
        values = [x if isinstance(x, Value) else self.convert(x, "float32") for x in args]
        scope: dict[str, Operand] = dict(
            zip((a.arg for a in function.args.args), values, strict=True)
        )
        for statement in function.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    scope[name] = self.visit(value, scope)
                case ast.Return(value=ast.expr() as value):
                    return self.visit(value, scope)
                case ast.Expr(value=ast.Constant()):
                    pass  # the docstring
                case _:
                    raise NotImplementedError(f"not straight-line code: {ast.unparse(statement)}")
        raise NotImplementedError(f"{function.name} returns nothing")

    # -- dtypes --------------------------------------------------------------------------------

    def convert(self, x: Operand, dtype: str) -> Value:
        """`x` as `dtype`, as NumPy's ``astype``; what an integer cannot hold gives anything."""
        if not isinstance(x, Value):
            return Value(constant(x, dtype, self.lanes), dtype)
        if x.dtype == dtype:
            return x
        b, to = self.builder, vector_type(dtype, self.lanes)
        to_float, from_float = dtype.startswith("float"), x.dtype.startswith("float")
        unsigned = x.dtype in ("bool", "uint8", "uint32")
        if dtype == "bool":
            return self._compare("!=", x, 0)
        if from_float and to_float:
            return Value((b.fpext if dtype == "float64" else b.fptrunc)(x.ir, to), dtype)
        if from_float:  # through a wider signed integer: negative floats wrap, as in NumPy
            if dtype in ("uint8", "uint32"):
                return self.convert(
                    self.convert(x, "int64" if dtype == "uint32" else "int32"), dtype
                )
            return Value(b.fptosi(x.ir, to), dtype)
        if to_float:
            return Value((b.uitofp if unsigned else b.sitofp)(x.ir, to), dtype)
        before, after = TYPES[x.dtype].width, TYPES[dtype].width
        if before == after:
            return Value(x.ir, dtype)
        resize = b.trunc if after < before else b.zext if unsigned else b.sext
        return Value(resize(x.ir, to), dtype)

    def _together(self, x: Operand, y: Operand) -> tuple[Value, Value]:
        """Both operands in one dtype: a literal takes the other's, bool is promoted to it."""
        strong = {v.dtype for v in (x, y) if isinstance(v, Value)}
        kinds = {type(v) for v in (x, y) if not isinstance(v, Value)}
        literal = "float32" if float in kinds else "int32" if int in kinds else "bool"
        numbers = strong - {"bool"}
        dtype = min(numbers, default=literal)
        if len(numbers) > 1:
            raise TypeError(f"{' meets '.join(sorted(numbers))}: convert one of them")
        if float in kinds and not dtype.startswith("float"):
            raise TypeError(f"{dtype} meets a float literal: convert one of them")
        return self.convert(x, dtype), self.convert(y, dtype)

    # -- operators -----------------------------------------------------------------------------

    def _unary(self, op: ast.unaryop, x: Operand) -> Operand:
        if not isinstance(x, Value):
            return FOLD[type(op)](x)
        b = self.builder
        match op:
            case ast.UAdd():
                return x
            case ast.Not():
                return Value(b.not_(self.convert(x, "bool").ir), "bool")
            case ast.Invert() if not x.dtype.startswith("float"):
                return Value(b.not_(x.ir), x.dtype)
            case ast.USub() if x.dtype != "bool":
                negated = b.fneg(x.ir) if x.dtype.startswith("float") else b.neg(x.ir)
                return Value(negated, x.dtype)
        raise TypeError(f"{type(op).__name__} of {x.dtype}")

    def _binary(self, op: ast.operator, left: Operand, right: Operand) -> Operand:
        if not isinstance(left, Value) and not isinstance(right, Value):
            return FOLD[type(op)](left, right)
        if isinstance(op, ast.Pow):
            return self._power(left, right)
        x, y = self._together(left, right)
        if x.dtype == "bool" and isinstance(op, ast.Add | ast.Sub | ast.Mult):
            x, y = self.convert(x, "int32"), self.convert(y, "int32")
        floats = x.dtype.startswith("float")
        if isinstance(op, ast.FloorDiv | ast.Mod):
            return (self._divide_floats if floats else self._divide)(x, y, isinstance(op, ast.Mod))
        name = (FLOAT_OPERATORS if floats else INTEGER_OPERATORS).get(type(op))
        if name is None:
            raise TypeError(f"{type(op).__name__} of {x.dtype}: convert it")
        if name == "ashr" and x.dtype.startswith("u"):
            name = "lshr"
        flags = {"flags": FAST} if floats else {}
        return Value(getattr(self.builder, name)(x.ir, y.ir, **flags), x.dtype)

    def _divide(self, x: Value, y: Value, remainder: bool) -> Value:
        """Integer division that rounds down, as Python's; by zero it is undefined."""
        b = self.builder
        if x.dtype.startswith("u"):
            return Value((b.urem if remainder else b.udiv)(x.ir, y.ir), x.dtype)
        quotient, rest = Value(b.sdiv(x.ir, y.ir), x.dtype), Value(b.srem(x.ir, y.ir), x.dtype)
        signs_differ = self._compare("<", Value(b.xor(rest.ir, y.ir), x.dtype), 0)
        wrong = self._all([signs_differ, self._compare("!=", rest, 0)])
        if remainder:
            return self._where(wrong, Value(b.add(rest.ir, y.ir), x.dtype), rest)
        return self._where(wrong, self._binary(ast.Sub(), quotient, 1), quotient)

    def _divide_floats(self, x: Value, y: Value, remainder: bool) -> Value:
        """Division that rounds down, exactly, as NumPy's: through the remainder, which is exact."""
        rest = Value(self.builder.frem(x.ir, y.ir), x.dtype)
        signs_differ = self._compare("!=", self._compare("<", rest, 0), self._compare("<", y, 0))
        wrong = self._all([signs_differ, self._compare("!=", rest, 0)])
        if remainder:
            return self._where(wrong, self._binary(ast.Add(), rest, y), rest)
        exact = self._binary(ast.Div(), self._binary(ast.Sub(), x, rest), y)
        quotient = self._intrinsic("rint", exact)
        quotient = self._where(wrong, self._binary(ast.Sub(), quotient, 1), quotient)
        by_zero = self._compare("==", y, 0)
        return self._where(by_zero, self._binary(ast.Div(), x, y), quotient)

    def _power(self, x: Operand, exponent: Operand) -> Operand:
        if isinstance(exponent, Value) or exponent != int(exponent) or not 1 <= exponent <= 8:
            return self._call("power", [x, exponent])
        result = x
        for _ in range(int(exponent) - 1):
            result = self._binary(ast.Mult(), result, x)
        return result

    def _compare(self, symbol: str, left: Operand, right: Operand) -> Value:
        x, y = self._together(left, right)
        b = self.builder
        if x.dtype.startswith("float"):
            compare = b.fcmp_unordered if symbol == "!=" else b.fcmp_ordered
        else:
            compare = b.icmp_unsigned if x.dtype in ("bool", "uint8", "uint32") else b.icmp_signed
        return Value(compare(symbol, x.ir, y.ir), "bool")

    def _comparisons(self, ops: list[ast.cmpop], values: list[Operand]) -> Value:
        symbols = [SYMBOLS[type(op)] for op in ops]
        pairs = zip(symbols, values, values[1:], strict=False)
        return self._all([self._compare(symbol, x, y) for symbol, x, y in pairs])

    def _all(self, bits: list[Operand]) -> Value:
        first, *rest = (self.convert(x, "bool").ir for x in bits)
        for bit in rest:
            first = self.builder.and_(first, bit)
        return Value(first, "bool")

    def _any(self, bits: list[Operand]) -> Value:
        first, *rest = (self.convert(x, "bool").ir for x in bits)
        for bit in rest:
            first = self.builder.or_(first, bit)
        return Value(first, "bool")

    def _where(self, condition: Operand, left: Operand, right: Operand) -> Value:
        x, y = self._together(left, right)
        return Value(self.builder.select(self.convert(condition, "bool").ir, x.ir, y.ir), x.dtype)

    # -- primitives: the twins are in tinygraph.codegen.intrinsics -----------------------------

    def _intrinsic(self, name: str, *args: Operand) -> Value:
        """One of LLVM's functions of floats, all of one dtype."""
        floats = [x.dtype for x in args if isinstance(x, Value)] or ["float32"]
        dtype = floats[0]
        if set(floats) - {dtype} or not dtype.startswith("float"):
            raise TypeError(f"{name} requires floats of one dtype, got {', '.join(floats)}")
        values = [self.convert(x, dtype).ir for x in args]
        width = ("" if self.lanes == 1 else f"v{self.lanes}") + (
            "f32" if dtype == "float32" else "f64"
        )
        kinds = [x.type for x in values]
        function = declare(self.builder.module, f"llvm.{name}.{width}", kinds[0], kinds)
        return Value(self.builder.call(function, values, fastmath=FAST), dtype)

    def _abs(self, x: Operand) -> Operand:
        if isinstance(x, Value) and x.dtype.startswith("int"):
            return self._where(self._compare("<", x, 0), self._unary(ast.USub(), x), x)
        return self._intrinsic("fabs", x)

    def _isnan(self, x: Operand) -> Value:
        value = self.convert(x, "float32") if not isinstance(x, Value) else x
        return Value(self.builder.fcmp_unordered("uno", value.ir, value.ir), "bool")

    def _bitcast(self, x: Operand, dtype: str) -> Value:
        source = "int32" if dtype == "float32" else "float32"
        if isinstance(x, Value) and x.dtype != source:
            raise TypeError(f"the bits as {dtype} require {source}, got {x.dtype}")
        bits = self.convert(x, source).ir
        return Value(self.builder.bitcast(bits, vector_type(dtype, self.lanes)), dtype)


def declare(module: ir.Module, name: str, result: ir.Type, args: list[ir.Type]) -> ir.Function:
    """The declaration of `name` in `module`, made at the first call."""
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(result, args), name)
    return module.globals[name]


def _named(name: str) -> Callable[..., Operand]:
    return lambda emitter, *args: emitter._intrinsic(name, *args)


# fmuladd, not fma: without the instruction it is a multiplication and an addition, not a library
# call
PRIMITIVES: dict[str, Callable[..., Operand]] = {
    "fma": _named("fmuladd"),
    "sqrt": _named("sqrt"),
    "floor": _named("floor"),
    "ceil": _named("ceil"),
    "trunc": _named("trunc"),
    "rint": _named("rint"),
    "round": _named("rint"),
    "abs": Emitter._abs,
    "where": Emitter._where,
    "isnan": Emitter._isnan,
    "float_bits": lambda emitter, x: emitter._bitcast(x, "int32"),
    "bits_float": lambda emitter, x: emitter._bitcast(x, "float32"),
}

SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip

# the builder's methods
FLOAT_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv",
}  # fmt: skip
INTEGER_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_",
    ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "ashr",
}  # fmt: skip

# operators on literals
FOLD: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_,
    ast.Invert: operator.inv,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip
