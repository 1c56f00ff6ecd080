"""A small compiler from scalar Python text to LLVM IR, at any vector width.

It eats what the expressions of operators and the functions of ``tinygraph.codegen.math`` are made
of: arithmetic, comparisons, ``x if c else y`` (a select: both sides are evaluated), constructors
such as ``float32(x)``, primitives, and calls of those functions, whose text is compiled in place.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from llvmlite import ir

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES

from .arithmetic import Arithmetic, Operand, Value


def emit_expression(
    builder: ir.IRBuilder, text: str, names: Mapping[str, Value], dtype: str, lanes: int
) -> Value:
    """Compiles `text`, an expression over `names`, and converts the result to `dtype`."""
    return ExpressionEmitter(Arithmetic(builder, lanes)).value(parse(text), names, dtype)


@lru_cache(maxsize=4096)
def calls_function(text: str) -> bool:
    """True if `text` calls a function that is compiled in place, dozens of instructions."""
    calls = [node.func for node in ast.walk(parse(text)) if isinstance(node, ast.Call)]
    return any(isinstance(name, ast.Name) and name.id in _functions() for name in calls)


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@lru_cache(maxsize=1)
def _functions() -> dict[str, ast.FunctionDef]:
    trees = [ast.parse(inspect.getsource(module)) for module in library.MODULES]
    return {f.name: f for tree in trees for f in tree.body if isinstance(f, ast.FunctionDef)}


class ExpressionEmitter:
    """Walks expressions; what they do to values is up to ``arithmetic``."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic

    def value(self, node: ast.expr, names: Mapping[str, Operand], dtype: str) -> Value:
        """An expression over `names`, as `dtype`."""
        return self.arithmetic.convert(self.visit(node, names), dtype)

    def visit(self, node: ast.expr, names: Mapping[str, Operand]) -> Operand:
        do = self.arithmetic
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.Name(id=name):
                return names[name] if name in names else self._global(name)
            case ast.UnaryOp(op=op, operand=x):
                return do.unary(SYMBOLS[type(op)], self.visit(x, names))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self.visit(left, names), self.visit(right, names))
            case ast.BinOp(left=left, op=op, right=right):
                sides = self.visit(left, names), self.visit(right, names)
                return do.binary(SYMBOLS[type(op)], *sides)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                return self._comparisons(ops, [self.visit(x, names) for x in (left, *rest)])
            case ast.BoolOp(op=op, values=values):
                bits = [self.visit(x, names) for x in values]
                return do.all(bits) if isinstance(op, ast.And) else do.any(bits)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return do.where(*(self.visit(x, names) for x in (test, body, orelse)))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, [self.visit(x, names) for x in args])
        raise NotImplementedError(f"not scalar code: {ast.unparse(node)}")

    @staticmethod
    def _global(name: str) -> float:
        value = {"inf": math.inf, "nan": math.nan}.get(name)
        for module in library.MODULES if value is None else ():
            value = getattr(module, name, value)
        if isinstance(value, int | float):
            return value
        raise NameError(f"unknown name {name!r} in scalar code")

    def _power(self, x: Operand, exponent: Operand) -> Operand:
        """Small whole exponents are products."""
        if not isinstance(x, Value) and not isinstance(exponent, Value):
            return x**exponent
        if isinstance(exponent, Value) or exponent != int(exponent) or not 1 <= exponent <= 8:
            return self._call("power", [x, exponent])
        result = x
        for _ in range(int(exponent) - 1):
            result = self.arithmetic.binary("*", result, x)
        return result

    def _comparisons(self, ops: list[ast.cmpop], values: list[Operand]) -> Value:
        do = self.arithmetic
        pairs = zip(ops, values, values[1:], strict=False)
        return do.all([do.compare(SYMBOLS[type(op)], x, y) for op, x, y in pairs])

    def _call(self, name: str, args: list[Operand]) -> Operand:
        if dtype := CONSTRUCTORS.get(name):
            return self.arithmetic.convert(args[0], dtype)
        if primitive := PRIMITIVES.get(name):
            return primitive(self.arithmetic, *args)
        if function := _functions().get(name):
            return self._inline(function, args)
        raise NameError(f"unknown function {name!r} in scalar code")

    def _inline(self, function: ast.FunctionDef, args: list[Operand]) -> Operand:
        for arg in args:
            if isinstance(arg, Value) and arg.dtype == "float64":
                raise TypeError(f"{function.name} requires float32, got {arg.dtype}")
        convert = self.arithmetic.convert
        values = [x if isinstance(x, Value) else convert(x, "float32") for x in args]
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


CONSTRUCTORS = {d.constructor: d.name for d in DTYPES.values()}


def _named(name: str) -> Callable[..., Operand]:
    return lambda arithmetic, *args: arithmetic.intrinsic(name, *args)


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
    "abs": Arithmetic.abs,
    "where": Arithmetic.where,
    "isnan": Arithmetic.isnan,
    "rounded_product": lambda arithmetic, x, y: arithmetic.rounded_product(x, y),
    "nearest": lambda arithmetic, x: arithmetic.nearest(x),
    "floor_divide": lambda arithmetic, x, y: arithmetic.binary("//", x, y),
    "modulo": lambda arithmetic, x, y: arithmetic.binary("%", x, y),
    "shift_left": Arithmetic.shift_left,
    "shift_right": Arithmetic.shift_right,
    "float_bits": lambda arithmetic, x: arithmetic.bitcast(x, "int32"),
    "bits_float": lambda arithmetic, x: arithmetic.bitcast(x, "float32"),
    "float64_bits": lambda arithmetic, x: arithmetic.bitcast(x, "int64"),
    "bits_float64": lambda arithmetic, x: arithmetic.bitcast(x, "float64"),
}

SYMBOLS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.UAdd: "+", ast.USub: "-", ast.Not: "not", ast.Invert: "~",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
