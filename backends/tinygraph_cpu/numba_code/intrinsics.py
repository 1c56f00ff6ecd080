"""What the text of a kernel may call when Numba compiles it; the twins are in tinygraph.codegen.

Importing this module imports Numba.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.arithmetic import Value, declare, suffix
from tinygraph_scalar.scalar import emit_expression

Codegen = Callable[..., ir.Value]

CONSTRUCTORS: dict[str, types.Type] = {
    d.constructor: getattr(types, d.constructor) for d in DTYPES.values()
}
_DTYPES = {CONSTRUCTORS[d.constructor]: d.name for d in DTYPES.values()}

# Numba does not convert what it loads through a pointer, and keeps a bool as a byte: the text of
# a kernel gets bool_(...) around such loads.
VIEWS = {
    f"view_{dtype}": types.CPointer(types.uint8 if dtype == "bool" else kind)
    for kind, dtype in _DTYPES.items()
}


def _intrinsic(name: str, arity: int, typer: Callable[..., Any], literals: bool = False) -> Any:
    """An intrinsic of `arity` arguments; Numba wants them spelled out, hence a lambda from text.

    With `literals`, the typer sees the values of integer literals.
    """
    arguments = ", ".join(f"x{i}" for i in range(arity))
    function = eval(f"lambda context, {arguments}: typer({arguments})", {"typer": typer})
    function.__name__ = function.__qualname__ = name
    return intrinsic(prefer_literal=literals)(function)


def _scalar(name: str, arity: int) -> Any:
    """A function that tinygraph_scalar.scalar compiles in place, at one lane.

    The project's library is made for float32; in float64 the C library stands in for it.
    """
    text = f"{name}({', '.join(f'x{i}' for i in range(arity))})"

    def typer(*kinds: types.Type) -> tuple[Signature, Codegen] | None:
        if not all(kind in _DTYPES for kind in kinds):
            return None
        if types.float64 in kinds and name in _FLOAT64:
            return types.float64(*[types.float64] * arity), _FLOAT64[name]
        result = CONSTRUCTORS[_RESULTS[name]] if name in _RESULTS else kinds[-1]
        return result(*kinds), _expression(text, kinds, result)

    return _intrinsic(name, arity, typer)


def _expression(text: str, kinds: tuple[types.Type, ...], result: types.Type) -> Codegen:
    """Compiles `text`, an expression over x0, x1, ..."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        names = {
            f"x{i}": Value(value, _DTYPES[kind])
            for i, (value, kind) in enumerate(zip(args, kinds, strict=False))
        }
        return emit_expression(builder, text, names, _DTYPES[result], 1).ir

    return lower


def _power(x: types.Type, y: types.Type) -> tuple[Signature, Codegen] | None:
    """x ** y; a small integer literal y becomes multiplications."""
    if x not in _DTYPES:
        return None
    if isinstance(y, types.IntegerLiteral) and 1 <= y.literal_value <= 8:
        return x(x, y), _expression(f"x0 ** {y.literal_value}", (x,), x)
    if x is types.float64:
        return x(x, x), _c_function("pow")
    return (x(x, y), _expression("x0 ** x1", (x, y), x)) if x == y else None


_RESULTS = {"float_bits": "int32", "bits_float": "float32", "random_uniform": "float32"}


def _c_call(builder: Any, symbol: str, args: list[ir.Value]) -> ir.Value:
    kinds = [x.type for x in args]
    return builder.call(declare(builder.module, symbol, ir.DoubleType(), kinds), args)


def _c_function(symbol: str) -> Codegen:
    return lambda context, builder, signature, args: _c_call(builder, symbol, args)


def _sigmoid_float64(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
    one = ir.DoubleType()(1.0)
    return builder.fdiv(one, builder.fadd(one, _c_call(builder, "exp", [builder.fneg(args[0])])))


def _softplus_float64(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
    (x,), zero = args, ir.DoubleType()(0.0)
    positive = builder.select(builder.fcmp_ordered("<=", x, zero), zero, x)
    magnitude = builder.select(builder.fcmp_ordered("<", x, zero), builder.fneg(x), x)
    return builder.fadd(
        positive, _c_call(builder, "log1p", [_c_call(builder, "exp", [builder.fneg(magnitude)])])
    )


_FLOAT64: dict[str, Codegen] = {
    "sigmoid": _sigmoid_float64,
    "softplus": _softplus_float64,
    **{name: _c_function(name) for name in vars(math) if name in library.FLOAT32},
}


@intrinsic
def _where(
    context: Any, condition: types.Type, x: types.Type, y: types.Type
) -> tuple[Signature, Codegen] | None:
    """x if condition else y, without a branch; x and y may be integers of two widths."""
    result = context.unify_pairs(x, y)

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        return builder.select(*args)

    return (result(types.boolean, result, result), lower) if result else None


@intrinsic
def _exchanged(
    context: Any, x: types.Type, y: types.Type, mask: types.Type
) -> tuple[Signature, Codegen] | None:
    """x where mask is 0, y where it is -1, by bits."""
    if x != y or not isinstance(x, types.Integer | types.Float):
        return None
    width: int = x.bitwidth  # type: ignore[union-attr]

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        kind = args[0].type
        word = ir.IntType(width)
        old, new = (builder.bitcast(value, word) for value in args[:2])
        bits = builder.trunc(args[2], word) if width < 64 else args[2]
        kept, taken = builder.and_(old, builder.not_(bits)), builder.and_(new, bits)
        return builder.bitcast(builder.or_(kept, taken), kind)

    return x(x, x, types.int64), lower


@intrinsic
def _opaque(context: Any, mask: types.Type) -> tuple[Signature, Codegen]:
    """The mask, through an empty piece of assembly that no pass looks into."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        word = ir.IntType(64)
        return builder.asm(ir.FunctionType(word, [word]), "", "=r,0", args, side_effect=False)

    return types.int64(types.int64), lower


def _stack(dtype: str) -> Any:
    """stack_float32(128): 128 elements on the stack; the number must be a literal."""
    view = VIEWS[f"view_{dtype}"]

    def typer(count: types.Type) -> tuple[Signature, Codegen] | None:
        if not isinstance(count, types.IntegerLiteral):
            return None

        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            kind = context.get_value_type(view)
            memory = ir.ArrayType(kind.pointee, count.literal_value)
            return builder.bitcast(cgutils.alloca_once(builder, memory), kind)

        return view(count), lower

    return _intrinsic(f"stack_{dtype}", 1, typer, literals=True)


def _accumulate(acc: types.Type, value: types.Type) -> tuple[Signature, Codegen] | None:
    """acc + value, in any order: the one addition that may be regrouped, so that sums vectorize.

    Never nsz in addition: LLVM would take the value apart, and the sum of x - x would lose NaN.
    """

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        return builder.fadd(*args, flags=("reassoc", "contract"))

    return (acc(acc, acc), lower) if acc == value and isinstance(acc, types.Float) else None


def _extremum(name: str, symbol: str) -> Any:
    """The larger or smaller of two numbers of one dtype; NaN if either is NaN."""

    def typer(x: types.Type, y: types.Type) -> tuple[Signature, Codegen] | None:
        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            kind = args[0].type
            if isinstance(x, types.Float):
                intrinsic_name = f"llvm.{name}.{suffix(_DTYPES[x])}"
                function = declare(builder.module, intrinsic_name, kind, [kind, kind])
                return builder.call(function, args, fastmath=("nsz",))
            signed = DTYPES[_DTYPES[x]].kind == "int"
            compare = builder.icmp_signed if signed else builder.icmp_unsigned
            return builder.select(compare(symbol, *args), *args)

        return (x(x, x), lower) if x == y and isinstance(x, types.Number) else None

    return _intrinsic(name, 2, typer)


def _index_extremum(name: str, symbol: str) -> Any:
    """min or max of two indices, as int64."""

    def typer(x: types.Type, y: types.Type) -> tuple[Signature, Codegen]:
        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            return builder.select(builder.icmp_signed(symbol, *args), *args)

        return types.int64(types.int64, types.int64), lower

    return _intrinsic(name, 2, typer)


def _scalar_functions() -> dict[str, Any]:
    """Every primitive and every function of the project, with the arity of its twin."""
    arity = {name: len(inspect.signature(f).parameters) for name, f in library.functions().items()}
    return {name: _scalar(name, n) for name, n in (arity | {"abs": 1, "round": 1}).items()}


SCOPE: dict[str, Any] = {
    **_scalar_functions(),
    **CONSTRUCTORS,
    **{f"stack_{dtype}": _stack(dtype) for dtype in _DTYPES.values()},
    "where": _where,
    "exchanged": _exchanged,
    "opaque": _opaque,
    "power": _intrinsic("power", 2, _power, literals=True),
    "accumulate": _intrinsic("accumulate", 2, _accumulate),
    "maximum": _extremum("maximum", ">"),
    "minimum": _extremum("minimum", "<"),
    "min": _index_extremum("min", "<"),
    "max": _index_extremum("max", ">"),
    "inf": math.inf,
    "nan": math.nan,
}
