"""The project's polynomials: stated errors and special values, as plain Python on arrays and compiled at every vector width."""

from __future__ import annotations

import ctypes
import math

import llvmlite.ir as ir
import numpy as np
import pytest
from tinygraph_cpu import objects
from tinygraph_cpu.features import detect
from tinygraph_cpu.scalar import Value, emit_expression, vector_type

from tinygraph.codegen import math as library

REFERENCES = {
    "exp": (np.exp, 1), "expm1": (np.expm1, 2), "log": (np.log, 1), "log1p": (np.log1p, 2), "tanh": (np.tanh, 2),
    "softplus": (lambda x: np.logaddexp(x, 0), 3), "sigmoid": (lambda x: np.exp(-np.logaddexp(-x, 0)), 3),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 2),
}  # fmt: skip
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549435e-38, 3.4028235e38, -3.4028235e38,
           88.72283, 88.72284, -87.33655, -103.97, -104.0, 0.625, 0.85, 2**-149, 4.0, 0.70710677, 0.70710678]  # fmt: skip


def samples() -> np.ndarray:
    """Bits evenly spread over all float32, a dense linear range, and what is special."""
    bits = np.arange(0, 2**32, 2**32 // 60_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = [np.linspace(-b, b, 40_001, dtype=np.float32) for b in (1, 10, 105)]
    return np.concatenate([np.array(SPECIAL, np.float32), bits, *dense, 1 + dense[0] / 8])


def compiled(name: str, lanes: int, level: str):
    """name(x) over an array by compiled code, `lanes` elements at a time."""
    module, i64 = ir.Module(), ir.IntType(64)
    symbol = f"test_{name}_{lanes}_{level.replace('-', '_')}"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64] * 3), symbol)
    entry, body, done = (function.append_basic_block(n) for n in ("entry", "body", "done"))
    b = ir.IRBuilder(entry)
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(i64)
    i.add_incoming(i64(0), entry)
    kind = vector_type("float32", lanes)
    source, target = (b.inttoptr(b.add(p, b.mul(i, i64(4))), ir.PointerType()) for p in function.args[:2])
    x = Value(b.load(source, typ=kind, align=4), "float32")
    b.store(emit_expression(b, f"{name}(x)", {"x": x}, "float32", lanes).ir, target, align=4)
    after = b.add(i, i64(lanes))
    i.add_incoming(after, body)
    b.cbranch(b.icmp_signed("<", after, function.args[2]), body, done)
    b.position_at_end(done)
    b.ret_void()
    address = objects.load({symbol: objects.compile_module(module, detect(level))})[symbol]
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)

    def run(x: np.ndarray) -> np.ndarray:
        padded = np.resize(x, -(-len(x) // lanes) * lanes)
        out = np.empty_like(padded)
        call(padded.ctypes.data, out.ctypes.data, len(padded))
        return out[: len(x)]

    return run


def check(name: str, x: np.ndarray, y: np.ndarray) -> None:
    reference, allowed = REFERENCES[name]
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.float64))
        rounded = exact.astype(np.float32)
        ulp = np.abs(np.spacing(np.where(np.isfinite(rounded), rounded, np.float32(3e38))).astype(np.float64))
        error = np.where(y == rounded, 0, np.abs(y.astype(np.float64) - exact) / ulp)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(y), np.isnan(rounded))
    worst = np.nanargmax(error)
    assert error[worst] <= allowed, f"{name}({x[worst]!r}) = {y[worst]!r}, not {rounded[worst]!r}: {error[worst]} ULP"


@pytest.mark.parametrize("name", REFERENCES)
def test_on_arrays(name: str) -> None:
    x = samples()
    with np.errstate(all="ignore"):
        check(name, x, getattr(library, name)(x))


@pytest.mark.parametrize("name", REFERENCES)
def test_on_scalars(name: str) -> None:
    x = np.array(SPECIAL, np.float32)
    with np.errstate(all="ignore"):
        check(name, x, np.array([getattr(library, name)(v) for v in x]))


@pytest.mark.parametrize("lanes, level", [(16, "native"), (1, "native"), (8, "x86-64-v3"), (4, "x86-64-v2")])
@pytest.mark.parametrize("name", REFERENCES)
def test_compiled(name: str, lanes: int, level: str) -> None:
    x = samples()
    check(name, x, compiled(name, lanes, level)(x))
