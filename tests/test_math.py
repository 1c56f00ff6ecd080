"""The project's polynomials: stated errors and special values, on arrays and compiled."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import pytest
from llvmlite import ir

from tinygraph.codegen import library
from tinygraph_cpu.machine import loading, objects
from tinygraph_cpu.machine.features import detect
from tinygraph_scalar.arithmetic import Value, vector_type
from tinygraph_scalar.scalar import emit_expression

REFERENCES: dict[str, tuple[Callable[..., np.ndarray], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 2),
    "log": (np.log, 1),
    "log1p": (np.log1p, 2),
    "tanh": (np.tanh, 3),
    "softplus": (lambda x: np.logaddexp(x, 0), 3),
    "sigmoid": (lambda x: np.exp(-np.logaddexp(-x, 0)), 3),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 2),
    "exp2": (np.exp2, 1.5),
    "log2": (np.log2, 2),
    "log10": (np.log10, 2),
    "sin": (np.sin, 1.5),
    "cos": (np.cos, 1.5),
    "tan": (np.tan, 4),
    "asin": (np.arcsin, 3),
    "acos": (np.arccos, 2),
    "atan": (np.arctan, 2),
    "sinh": (np.sinh, 3),
    "cosh": (np.cosh, 2),
    "asinh": (np.arcsinh, 4),
    "acosh": (np.arccosh, 4),
    "atanh": (np.arctanh, 4),
    "power": (np.power, 5),
    "atan2": (np.arctan2, 3),
}
TWINS = library.functions()
FUNCTIONS = [name for name in REFERENCES if name not in ("power", "atan2")]
TARGETS = [(16, "native"), (1, "native"), (8, "x86-64-v3"), (4, "x86-64-v2")]
SPECIAL = [
    0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549435e-38, 3.4028235e38,
    -3.4028235e38, 88.72283, 88.72284, -87.33655, -103.97, -104.0, 0.625, 0.85, 2**-149, 4.0,
    0.70710677, 0.70710678
]  # fmt: skip


def samples() -> np.ndarray:
    """Bits evenly spread over all float32, a dense linear range, and what is special."""
    bits = np.arange(0, 2**32, 2**32 // 60_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = [np.linspace(-b, b, 40_001, dtype=np.float32) for b in (1, 10, 105)]
    return np.concatenate([np.array(SPECIAL, np.float32), bits, *dense, 1 + dense[0] / 8])


def powers() -> tuple[np.ndarray, np.ndarray]:
    """Bases and exponents: results of every size, every pair of special values."""
    random = np.random.default_rng(5)
    x = np.exp(random.uniform(-1, 1, 60_000) * np.resize([1e-3, 1, 80], 60_000))
    y = random.uniform(-110, 110, 60_000) / np.log(x)
    special = np.array([*SPECIAL, 2.0, 0.5, -2.0, 3.0, -3.0, 2.5, -0.5, 1e9], np.float32)
    pairs = np.array(np.meshgrid(special, special)).reshape(2, -1)
    near = random.uniform(0.5, 2, 20_000), random.integers(-30, 30, 20_000)
    x, y = (
        np.concatenate(z).astype(np.float32)
        for z in zip((x, y), pairs, near, (-near[0], near[1]), strict=True)
    )
    return x, y


def compiled(name: str, lanes: int, level: str, text: str):
    """`text` over arrays x and y by compiled code, `lanes` elements at a time."""
    module, i64 = ir.Module(), ir.IntType(64)
    symbol = f"test_{name}_{lanes}_{level.replace('-', '_')}"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64] * 4), symbol)
    entry, body, done = (function.append_basic_block(n) for n in ("entry", "body", "done"))
    b = ir.IRBuilder(entry)
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(i64)
    i.add_incoming(i64(0), entry)
    kind = vector_type("float32", lanes)
    *sources, target = (
        b.inttoptr(b.add(p, b.mul(i, i64(4))), ir.PointerType()) for p in function.args[:3]
    )
    x, y = (Value(b.load(p, typ=kind, align=4), "float32") for p in sources)
    b.store(emit_expression(b, text, {"x": x, "y": y}, "float32", lanes).ir, target, align=4)
    after = b.add(i, i64(lanes))
    i.add_incoming(after, body)
    b.cbranch(b.icmp_signed("<", after, function.args[3]), body, done)
    b.position_at_end(done)
    b.ret_void()
    address = loading.load_for_good({symbol: objects.compile_module(module, detect(level))})[symbol]
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)

    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x_padded, y_padded = (np.resize(z, -(-len(x) // lanes) * lanes) for z in (x, y))
        out = np.empty_like(x_padded)
        call(x_padded.ctypes.data, y_padded.ctypes.data, out.ctypes.data, len(out))
        return out[: len(x)]

    return run


def check(name: str, y: np.ndarray, *args: np.ndarray) -> None:
    reference, allowed = REFERENCES[name]
    with np.errstate(all="ignore"):
        exact = reference(*(x.astype(np.float64) for x in args))
        rounded = exact.astype(np.float32)
        ulp = np.abs(
            np.spacing(np.where(np.isfinite(rounded), rounded, np.float32(3e38))).astype(np.float64)
        )
        error = np.where(y == rounded, 0, np.abs(y.astype(np.float64) - exact) / ulp)
    assert y.dtype == np.float32
    wrong = np.isnan(y) != np.isnan(rounded)
    assert not wrong.any(), f"{name} of {[x[wrong][:4] for x in args]} = {y[wrong][:4]}"
    worst = np.nanargmax(error)
    at = ", ".join(str(x[worst]) for x in args)
    assert error[worst] <= allowed, (
        f"{name}({at}) = {y[worst]}, not {rounded[worst]}: {error[worst]} ULP"
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_arrays(name: str) -> None:
    x = samples()
    with np.errstate(all="ignore"):
        check(name, TWINS[name](x), x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_scalars(name: str) -> None:
    x = np.array(SPECIAL, np.float32)
    with np.errstate(all="ignore"):
        check(name, np.array([TWINS[name](v) for v in x]), x)


@pytest.mark.parametrize("lanes, level", TARGETS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name: str, lanes: int, level: str) -> None:
    x = samples()
    check(name, compiled(name, lanes, level, f"{name}(x)")(x, x), x)


def test_power_on_arrays() -> None:
    x, y = powers()
    with np.errstate(all="ignore"):
        check("power", TWINS["power"](x, y), x, y)


@pytest.mark.parametrize("lanes, level", TARGETS)
def test_power_compiled(lanes: int, level: str) -> None:
    x, y = powers()
    check("power", compiled("power", lanes, level, "x ** y")(x, y), x, y)


def test_every_function_is_tested() -> None:
    assert set(REFERENCES) == set(library.FLOAT32)


def points() -> tuple[np.ndarray, np.ndarray]:
    """Of every size and in every direction, and every pair of special values."""
    random = np.random.default_rng(6)
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    size = np.exp(random.uniform(-80, 80, (2, 40_000))) * random.choice([-1, 1], (2, 40_000))
    near = random.standard_normal((2, 40_000))
    return tuple(np.concatenate([pairs, size, near], 1).astype(np.float32))


def test_atan2_on_arrays() -> None:
    y, x = points()
    with np.errstate(all="ignore"):
        check("atan2", TWINS["atan2"](y, x), y, x)


@pytest.mark.parametrize("lanes, level", TARGETS)
def test_atan2_compiled(lanes: int, level: str) -> None:
    y, x = points()
    check("atan2", compiled("atan2", lanes, level, "atan2(x, y)")(y, x), y, x)


def test_the_sign_of_zero_stays() -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    for name in ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"):
        np.testing.assert_array_equal(np.signbit(TWINS[name](zeros)), [False, True], name)
