"""What the text of a kernel may call when numba-cuda compiles it; the twins are in
tinygraph.codegen.

Importing this module imports numba-cuda.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES, DType
from tinygraph_scalar.arithmetic import Arithmetic, Operand, Value, declare
from tinygraph_scalar.scalar import ExpressionEmitter, parse

from .toolchain import SCALARS, intrinsic, types

Codegen = Callable[..., ir.Value]
Typed = tuple[Any, Codegen] | None

NAMES = {kind: name for name, kind in SCALARS.items()}
RESULTS = {
    "float_bits": "int32",
    "bits_float": "float32",
    "float64_bits": "int64",
    "bits_float64": "float64",
    "random_uniform": "float32",
    "isnan": "bool",
    "nearest": "int32",
}
VECTOR = 4  # elements of one access; 128 bits of float32


def define(name: str, arity: int, typer: Callable[..., Typed]) -> Any:
    """An intrinsic of `arity` arguments; Numba wants them spelled out, hence a lambda from text."""
    arguments = ", ".join(f"x{i}" for i in range(arity))
    function = eval(f"lambda context, {arguments}: typer({arguments})", {"typer": typer})
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


class Builder(ir.IRBuilder):
    """Emits after what another builder has emitted, in NVVM's older dialect of LLVM."""

    def __init__(self, other: Any):
        super().__init__(other.block)
        self.debug_metadata = other.debug_metadata

    def fneg(self, x: ir.Value, name: str = "", flags: tuple[str, ...] = ()) -> ir.Value:
        return self.fsub(ir.Constant(x.type, -0.0), x, name, flags)


class DeviceArithmetic(Arithmetic):
    """Arithmetic for NVVM: functions that it has no instruction for come from libdevice."""

    def intrinsic(self, name: str, *args: Operand) -> Value:
        if name not in LIBDEVICE:
            return super().intrinsic(name, *args)
        x = args[0] if isinstance(args[0], Value) else self.convert(args[0], "float32")
        symbol = f"__nv_{name}" + ("f" if x.dtype == "float32" else "")
        return Value(call(self.builder, symbol, [x.ir]), x.dtype)

    def rounded_product(self, left: Operand, right: Operand) -> Value:
        """By the instruction that is never fused, as NVVM's own multiplication is."""
        x, y = self.together(left, right)
        symbol = "__nv_fmul_rn" if x.dtype == "float32" else "__nv_dmul_rn"
        return Value(call(self.builder, symbol, [x.ir, y.ir]), x.dtype)

    def nearest(self, x: Operand) -> Value:
        kind = ir.IntType(32)
        value = self.convert(x, "float32")
        function = declare(self.builder.module, "__nv_float2int_rn", kind, [value.ir.type])
        return Value(self.builder.call(function, [value.ir]), "int32")

    def float_remainder(self, x: Value, y: Value) -> Value:
        """From libdevice: NVVM's own is not exact, and NaN for infinite y."""
        symbol = "__nv_fmod" + ("f" if x.dtype == "float32" else "")
        return Value(call(self.builder, symbol, [x.ir, y.ir]), x.dtype)


def emitter_at(builder: Any) -> ExpressionEmitter:
    """Compiles scalar code at the builder's position."""
    return ExpressionEmitter(DeviceArithmetic(builder, 1))


LIBDEVICE = ("fabs", "floor", "ceil", "trunc", "rint")


def call(builder: Any, symbol: str, args: list[ir.Value]) -> ir.Value:
    """A function of libdevice, from floats of one type to that type."""
    kinds = [x.type for x in args]
    return builder.call(declare(builder.module, symbol, kinds[0], kinds), args)


def expression(text: str, kinds: tuple[Any, ...], result: Any) -> Codegen:
    """Compiles `text`, scalar code over x0, x1, ..."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        names = {
            f"x{i}": Value(v, NAMES[k]) for i, (v, k) in enumerate(zip(args, kinds, strict=True))
        }
        value = emitter_at(Builder(builder)).value(parse(text), names, NAMES[result])
        builder.position_at_end(builder.block)
        return value.ir

    return lower


def double_function(name: str) -> Codegen:
    """libdevice stands in for the project's library, which is made for float32."""

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        if name != "sigmoid":
            return call(builder, f"__nv_{DOUBLE[name]}", args)
        one = ir.Constant(ir.DoubleType(), 1.0)
        negative = builder.fsub(ir.Constant(ir.DoubleType(), -0.0), args[0])
        return builder.fdiv(one, builder.fadd(one, call(builder, "__nv_exp", [negative])))

    return lower


DOUBLE = {name: name for name in vars(math) if name in library.FLOAT32} | {
    "sigmoid": "sigmoid",
    "power": "pow",
}


def scalar_function(name: str, arity: int) -> Any:
    """A function of the project's library, compiled in place."""
    text = f"{name}({', '.join(f'x{i}' for i in range(arity))})"

    def typer(*kinds: Any) -> Typed:
        if not all(kind in NAMES for kind in kinds):
            return None
        if types.float64 in kinds and name in DOUBLE:
            return types.float64(*[types.float64] * arity), double_function(name)
        result = SCALARS[RESULTS[name]] if name in RESULTS else kinds[-1]
        return result(*kinds), expression(text, kinds, result)

    return define(name, arity, typer)


def same_type(name: str, arity: int, text: str) -> Any:
    """Scalar code over arguments of one type, which is the result's too."""

    def typer(*kinds: Any) -> Typed:
        if len(set(kinds)) != 1 or kinds[0] not in NAMES:
            return None
        return kinds[0](*kinds), expression(text, kinds, kinds[0])

    return define(name, arity, typer)


def float_extremum(name: str, symbol: str) -> Any:
    """The larger or smaller number; NaN if either is NaN."""

    def typer(x: Any, y: Any) -> Typed:
        if x != y or x not in NAMES:
            return None
        text = f"x0 if x0 {symbol} x1 else x1"
        if isinstance(x, types.Float):
            text = f"x0 if isnan(x0) else (x1 if isnan(x1) else ({text}))"
        return x(x, x), expression(text, (x, x), x)

    return define(name, 2, typer)


@intrinsic
def where(context: Any, condition: Any, x: Any, y: Any) -> Typed:
    """x if condition else y, without a branch; x and y may be integers of two widths."""
    result = context.unify_pairs(x, y)

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        return builder.select(*args)

    return (result(types.boolean, result, result), lower) if result else None


def unsigned(operation: str) -> Callable[..., Typed]:
    """An operation on uint32, without Python's test for zero, which would double the code around
    it.
    """

    def typer(x: Any, y: Any) -> Typed:
        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            return getattr(builder, operation)(*args)

        return types.uint32(types.uint32, types.uint32), lower

    return typer


def as_int64(builder: Any, index: ir.Value, signed: bool) -> ir.Value:
    if index.type.width == 64:
        return index
    return (builder.sext if signed else builder.zext)(index, ir.IntType(64))


def vector_pointer(builder: Any, pointer: ir.Value, index: ir.Value, signed: bool) -> ir.Value:
    element = builder.gep(pointer, [as_int64(builder, index, signed)])
    return builder.bitcast(
        element, ir.VectorType(element.type.pointee, VECTOR).as_pointer(element.type.addrspace)
    )


def load4(pointer: Any, index: Any) -> Typed:
    """load4(x, i): x[i] to x[i + 3] in one access, whose address is a multiple of its size."""
    if not isinstance(pointer, types.CPointer):
        return None

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        place = vector_pointer(builder, args[0], args[1], index.signed)
        vector = builder.load(place, align=VECTOR * pointer.dtype.bitwidth // 8)
        parts = [builder.extract_element(vector, ir.IntType(32)(i)) for i in range(VECTOR)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(pointer.dtype, VECTOR)(pointer, index), lower


def store4(pointer: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Typed:
    """store4(x, i, a, b, c, d): the counterpart of load4."""
    if not isinstance(pointer, types.CPointer):
        return None
    kind = pointer.dtype

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        target = vector_pointer(builder, args[0], args[1], index.signed)
        vector = ir.Constant(target.type.pointee, ir.Undefined)
        for i, part in enumerate(args[2:]):
            vector = builder.insert_element(vector, part, ir.IntType(32)(i))
        builder.store(vector, target, align=VECTOR * kind.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, index, kind, kind, kind, kind), lower


def atomic(name: str, operation: str, symbols: dict[Any, str]) -> Any:
    """name(x, i, value): x[i] changed as a whole, among all threads; the old value."""

    def typer(pointer: Any, index: Any, value: Any) -> Typed:
        if not isinstance(pointer, types.CPointer) or pointer.dtype != value:
            return None
        if isinstance(value, types.Float) and value not in symbols:
            return None

        def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
            place = builder.gep(args[0], [as_int64(builder, args[1], index.signed)])
            if value not in symbols:
                return builder.atomic_rmw(operation, place, args[2], "monotonic")
            kinds = [place.type, args[2].type]
            function = declare(builder.module, symbols[value], args[2].type, kinds)
            return builder.call(function, [place, args[2]])

        return value(pointer, index, value), lower

    return define(name, 3, typer)


def conversion(dtype: DType) -> Any:
    """to_float32(x), and so on: a number of any dtype as this one. Numba's own constructors know
    no floats of 16 bits.
    """
    result = SCALARS[dtype.name]

    def lower(context: Any, builder: Any, signature: Any, args: list[ir.Value]) -> ir.Value:
        own, kind = Builder(builder), NAMES[signature.args[0]]
        value = Value(args[0], "int64" if kind == "uint64" else kind)  # an index: the same bits
        found = emitter_at(own).arithmetic.convert(value, dtype.name)
        builder.position_at_end(own.block)
        return found.ir

    def typer(kind: Any) -> Typed:
        return (result(kind), lower) if kind in NAMES else None

    return define(f"to_{dtype.constructor}", 1, typer)


def scalar_functions() -> dict[str, Any]:
    """Every primitive and every function of the project, with the arity of its twin."""
    found = {n: len(inspect.signature(f).parameters) for n, f in library.functions().items()}
    return {name: scalar_function(name, n) for name, n in (found | {"abs": 1, "round": 1}).items()}


ATOMIC_ADD = {  # of floats, which NVVM's dialect has no instruction for
    types.float32: "llvm.nvvm.atomic.load.add.f32.p0f32",
    types.float64: "llvm.nvvm.atomic.load.add.f64.p0f64",
}

SCOPE: dict[str, Any] = {
    **scalar_functions(),
    **{f"to_{d.constructor}": conversion(d) for d in DTYPES.values()},
    "where": where,
    "power": same_type("power", 2, "x0 ** x1"),
    "accumulate": same_type("accumulate", 2, "x0 + x1"),
    "maximum": float_extremum("maximum", ">"),
    "minimum": float_extremum("minimum", "<"),
    "quotient": define("quotient", 2, unsigned("udiv")),
    "remainder": define("remainder", 2, unsigned("urem")),
    "load4": define("load4", 2, load4),
    "store4": define("store4", 6, store4),
    "atomic_add": atomic("atomic_add", "add", ATOMIC_ADD),
    "atomic_max": atomic("atomic_max", "max", {}),
    "inf": math.inf,
    "nan": math.nan,
}
