"""What the text of a kernel may call when Numba compiles it; the twins are in tinygraph.codegen.

Importing this module imports Numba.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import tinygraph.codegen.intrinsics as twins
import tinygraph.codegen.math as library
from llvmlite import ir
from numba import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from tinygraph_cpu import scalar

Lowering = Callable[..., ir.Value]

CONSTRUCTORS: dict[str, types.Type] = {
    "bool_": types.boolean,
    "uint8": types.uint8,
    "int32": types.int32,
    "uint32": types.uint32,
    "int64": types.int64,
    "float32": types.float32,
    "float64": types.float64,
}
_DTYPES = {kind: "bool" if kind is types.boolean else kind.name for kind in CONSTRUCTORS.values()}


VIEWS = {
    f"view_{dtype}": types.CPointer(kind)
    for dtype, kind in ((name.rstrip("_"), kind) for name, kind in CONSTRUCTORS.items())
}


def _intrinsic(name: str, arity: int, typer: Callable[..., Any]) -> Any:
    """An intrinsic of `arity` arguments; Numba wants them spelled out, hence a lambda from text."""
    arguments = ", ".join(f"x{i}" for i in range(arity))
    function = eval(f"lambda context, {arguments}: typer({arguments})", {"typer": typer})
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _scalar(name: str, arity: int) -> Any:
    """A function that tinygraph_cpu.scalar compiles in place, at one lane.

    The project's library is made for float32; in float64 the C library stands in for it.
    """
    arguments = [f"x{i}" for i in range(arity)]
    text = f"{name}({', '.join(arguments)})"

    def typer(*kinds: types.Type) -> tuple[Signature, Lowering] | None:
        kinds = tuple(types.unliteral(kind) for kind in kinds)
        if not all(kind in _DTYPES for kind in kinds):
            return None
        if types.float64 in kinds and name in _FLOAT64:
            return types.float64(*[types.float64] * arity), _FLOAT64[name]
        result = CONSTRUCTORS[_RESULTS[name]] if name in _RESULTS else kinds[-1]
        dtypes = [_DTYPES[kind] for kind in kinds]

        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            operands = map(scalar.Value, args, dtypes)
            names = dict(zip(arguments, operands, strict=True))
            return scalar.emit_expression(builder, text, names, _DTYPES[result], 1).ir

        return result(*kinds), lower

    return _intrinsic(name, arity, typer)


_RESULTS = {"float_bits": "int32", "bits_float": "float32"}


def _c_call(builder: Any, symbol: str, args: list[ir.Value]) -> ir.Value:
    kinds = [x.type for x in args]
    return builder.call(scalar.declare(builder.module, symbol, ir.DoubleType(), kinds), args)


def _c_function(symbol: str) -> Lowering:
    return lambda context, builder, signature, args: _c_call(builder, symbol, args)


def _sigmoid_float64(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
    one = ir.DoubleType()(1.0)
    return builder.fdiv(one, builder.fadd(one, _c_call(builder, "exp", [builder.fneg(args[0])])))


_FLOAT64: dict[str, Lowering] = {
    "sigmoid": _sigmoid_float64,
    "power": _c_function("pow"),
    **{name: _c_function(name) for name in vars(math) if name in vars(library)},
}


def _accumulate(acc: types.Type, value: types.Type) -> tuple[Signature, Lowering] | None:
    """acc + value, in any order: the one addition that may be regrouped, so that sums vectorize."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        return builder.fadd(*args, flags=("reassoc", "nsz", "contract"))

    return (acc(acc, acc), lower) if acc == value and isinstance(acc, types.Float) else None


def _extremum(name: str, symbol: str) -> Any:
    """The larger or smaller of two numbers of one dtype; NaN if either is NaN."""

    def typer(x: types.Type, y: types.Type) -> tuple[Signature, Lowering] | None:
        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            kind = args[0].type
            if isinstance(x, types.Float):
                width = "f32" if x is types.float32 else "f64"
                function = scalar.declare(
                    builder.module, f"llvm.{name}.{width}", kind, [kind, kind]
                )
                return builder.call(function, args, fastmath=("nsz",))
            compare = builder.icmp_signed if x.signed else builder.icmp_unsigned
            return builder.select(compare(symbol, *args), *args)

        return (x(x, x), lower) if x == y and isinstance(x, types.Number) else None

    return _intrinsic(name, 2, typer)


def _index_extremum(name: str, symbol: str) -> Any:
    """min or max of two indices, as int64."""

    def typer(x: types.Type, y: types.Type) -> tuple[Signature, Lowering]:
        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            return builder.select(builder.icmp_signed(symbol, *args), *args)

        return types.int64(types.int64, types.int64), lower

    return _intrinsic(name, 2, typer)


def _scalar_functions() -> dict[str, Any]:
    """Every primitive and every function of the library, with the arity of its twin."""
    functions = {
        name: function
        for module in (twins, library)
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__
    }
    arity = {name: len(inspect.signature(f).parameters) for name, f in functions.items()}
    return {name: _scalar(name, n) for name, n in (arity | {"abs": 1, "round": 1}).items()}


SCOPE: dict[str, Any] = {
    **_scalar_functions(),
    **CONSTRUCTORS,
    "accumulate": _intrinsic("accumulate", 2, _accumulate),
    "maximum": _extremum("maximum", ">"),
    "minimum": _extremum("minimum", "<"),
    "min": _index_extremum("min", "<"),
    "max": _index_extremum("max", ">"),
    "inf": math.inf,
    "nan": math.nan,
}
