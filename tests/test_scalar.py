"""The scalar compiler and NumPy's evaluation of the same text agree, dtype by dtype."""

from __future__ import annotations

import ctypes
import hashlib

import numpy as np
import pytest
from llvmlite import ir

from tinygraph.codegen.arrays import evaluate
from tinygraph_cpu.gemm.tile import pointer
from tinygraph_cpu.machine import loading, objects
from tinygraph_cpu.machine.features import detect
from tinygraph_scalar.arithmetic import Value, vector_type
from tinygraph_scalar.builder import TextBuilder
from tinygraph_scalar.scalar import emit_expression

FLOATS = np.array(
    [0, -0.0, 1, -1, 2.5, -2.5, 3, 7, -7, 1e-40, 1e30, np.nan, np.inf, -np.inf, 0.5, -3], np.float32
)
INTEGERS = np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 9, 100, -100, 2**30, -(2**30), 5, -5], np.int32)

FLOAT_TEXTS = {
    "float32": [
        "x + 1",
        "x * y - y / 3",
        "-x if x < y <= 2 else abs(y)",
        "x ** 3",
        "floor(x) + ceil(y)",
        "trunc(x) - rint(y)",
        "round(x)",
        "sqrt(x)",
        "x // y",
        "x % y",
        "(x > y) * x",
        "x if isnan(x) else 0.0",
        "x if x > y else -inf",
        "nan if x == inf else x",
        "fma(x, y, 1)",
    ],
    "bool": ["x > 0 and not y > 0 or x == y", "x != x", "isnan(x)", "x < True"],
    "int32": ["float_bits(x)", "1 if x > y else 0"],
    "float64": ["float64(x) * 2"],
}
INTEGER_TEXTS = {
    "int32": [
        "x + y * 3",
        "x // 3 + y % -7",
        "x // y if y != 0 else x",
        "(x >> 2) ^ (y << 1)",
        "(x & 255) | 1",
        "~x",
        "abs(x)",
        "-x",
        "(x > 0) + (y > 0)",
    ],
    "uint32": ["uint32(x) >> uint32(3)"],
    "float32": ["float32(x) / 2", "bits_float(x)"],
    "int64": ["int64(x) * int64(y)"],
    "bool": ["bool_(x)", "uint32(x) > uint32(y)", "x == y"],
    "uint8": ["uint8(x & 127)"],
}


def cases(texts: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(text, dtype) for dtype, group in texts.items() for text in group]


def compiled(text: str, dtype: str, **arrays: np.ndarray) -> np.ndarray:
    """`text` over 16 elements at once."""
    module, lanes = ir.Module(), 16
    kinds = [x.dtype.name for x in arrays.values()]
    symbol = "scalar_" + hashlib.sha256(f"{text}{dtype}{kinds}".encode()).hexdigest()[:16]
    kind = ir.FunctionType(ir.VoidType(), [pointer] * (len(arrays) + 1))
    function = ir.Function(module, kind, symbol)
    b = TextBuilder(function.append_basic_block())
    names = {}
    for (name, x), at in zip(arrays.items(), function.args, strict=False):
        stored = (
            ir.VectorType(ir.IntType(8), lanes)
            if x.dtype == bool
            else vector_type(x.dtype.name, lanes)
        )
        value = b.load(at, typ=stored, align=1)
        names[name] = Value(
            b.trunc(value, vector_type("bool", lanes)) if x.dtype == bool else value,
            x.dtype.name,
        )
    result = emit_expression(b, text, names, dtype, lanes).ir
    if dtype == "bool":
        result = b.zext(result, ir.VectorType(ir.IntType(8), lanes))
    b.store(result, function.args[-1], align=1)
    b.ret_void()
    address = loading.load_for_good({symbol: objects.compile_module(module, detect())})[symbol]
    out = np.empty(lanes, dtype)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(arrays) + 1))(address)(
        *(x.ctypes.data for x in (*arrays.values(), out))
    )
    return out


@pytest.mark.parametrize("text, dtype", cases(FLOAT_TEXTS))
def test_floats(text: str, dtype: str) -> None:
    x, y = FLOATS, np.roll(FLOATS, 3)
    expected = evaluate(text, {"x": x, "y": y}, dtype)
    np.testing.assert_allclose(compiled(text, dtype, x=x, y=y), expected, rtol=2e-7)


@pytest.mark.parametrize("text, dtype", cases(INTEGER_TEXTS))
def test_integers(text: str, dtype: str) -> None:
    x, y = INTEGERS, np.where(np.roll(INTEGERS, 5) == 0, 1, np.roll(INTEGERS, 5)).astype(np.int32)
    expected = evaluate(text, {"x": x, "y": y}, dtype)
    if text.startswith("(x > 0) +"):  # NumPy adds bools to a bool
        expected = (x > 0).astype(np.int32) + (y > 0)
    np.testing.assert_array_equal(compiled(text, dtype, x=x, y=y), expected)


@pytest.mark.parametrize(
    "text, error",
    [
        ("x + i", TypeError),
        ("i + 0.5", TypeError),
        ("i / i", TypeError),
        ("x & x", TypeError),
        ("-m", TypeError),
        ("unknown(x)", NameError),
        ("unknown", NameError),
        ("x.real", NotImplementedError),
        ("[x]", NotImplementedError),
        ("exp(float64(x))", TypeError),
    ],
)
def test_refusals(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        compiled(text, "float32", x=FLOATS, i=INTEGERS, m=FLOATS > 0)
