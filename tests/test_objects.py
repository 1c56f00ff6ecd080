"""Kernels from text to addresses: values, vectorization, and what is refused."""

import ast
import ctypes
import dataclasses
import gc
import math
import os
import platform
import re
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

pytest.importorskip("tinygraph_cpu.machine.features")
from tinygraph.codegen.random import random_uniform
from tinygraph.compiler.store import Store
from tinygraph_cpu.loops import kernels as loops
from tinygraph_cpu.machine import elf, features, host, loading, objects

SOURCE = '''
def affine(part, tid, args):
    """y = (x + b) * z - u * w, a few rows a part."""
    y = view_float32(args[0])
    x = view_float32(args[1])
    b = view_float32(args[2])
    z = view_float32(args[3])
    u = view_float32(args[4])
    w = view_float32(args[5])
    rows = args[6]
    n = args[7]
    x_s = args[8]
    step = args[9]
    for i in range(part * step, min((part + 1) * step, rows)):
        for j in range(n):
            y[i * n + j] = (x[i * x_s + j] + b[j]) * z[i * n + j] - u[j] * w[i * n + j]

def row_sum(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    n = args[2]
    acc = float32(0)
    for j in range(n):
        acc = accumulate(acc, x[part * n + j] * x[part * n + j])
    y[part] = acc

def row_max(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    n = args[2]
    acc = float32(-inf)
    for j in range(n):
        acc = maximum(acc, x[part * n + j])
    y[part] = acc

def column_sum(part, tid, args):
    acc = view_float32(args[0])
    x = view_float32(args[1])
    rows = args[2]
    n = args[3]
    for j in range(n):
        acc[j] = float32(0)
    for i in range(rows):
        for j in range(n):
            acc[j] += x[i * n + j]

def window_max(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    h = args[2]
    w = args[3]
    n = args[4]
    for j in range(w):
        for c in range(n):
            acc = float32(-inf)
            for di in range(3):
                r = min(max(part + di - 1, 0), h - 1)
                for dj in range(3):
                    q = min(max(j + dj - 1, 0), w - 1)
                    acc = maximum(acc, x[(r * w + q) * n + c])
            y[(part * w + j) * n + c] = acc

def relu(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    n = args[2]
    for j in range(n):
        y[j] = float32(0) if x[j] <= float32(0) else x[j]

def one_hot(part, tid, args):
    y = view_float32(args[0])
    x = view_int32(args[1])
    n = args[2]
    for j in range(n):
        y[part * n + j] = float32(1) if x[part] == j else float32(0)

def scale_bytes(part, tid, args):
    y = view_float32(args[0])
    x = view_uint8(args[1])
    m = view_bool(args[2])
    n = args[3]
    for j in range(n):
        t = float32(x[j]) * float32(0.25)
        y[j] = t if m[j] else float32(-1)

def cubes(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    n = args[2]
    for j in range(n):
        y[j] = x[j] ** 3

def functions(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    n = args[2]
    for j in range(n):
        t = exp(-abs(x[j])) + tanh(x[j]) * sigmoid(x[j]) + erf(x[j])
        y[j] = log1p(t * t) + sqrt(abs(x[j])) + fma(t, t, floor(x[j]))

def column_max(part, tid, args):
    y = view_float32(args[0])
    seen = view_bool(args[1])
    x = view_float32(args[2])
    rows = args[3]
    n = args[4]
    best = stack_float32(32)
    negative = stack_bool(32)
    for block in range(0, n, 32):
        width = min(32, n - block)
        for c in range(width):
            best[c] = float32(-inf)
            negative[c] = False
        for i in range(rows):
            for c in range(width):
                t = x[i * n + block + c]
                best[c] = maximum(best[c], t)
                negative[c] = negative[c] or t < float32(0)
        for c in range(width):
            y[block + c] = best[c]
            seen[block + c] = not negative[c]

def noise(part, tid, args):
    y = view_float32(args[0])
    n = args[1]
    for j in range(n):
        y[j] = random_uniform(uint32(7), uint32(8), uint32(j), uint32(part))

def doubles(part, tid, args):
    y = view_float64(args[0])
    x = view_float64(args[1])
    n = args[2]
    for j in range(n):
        y[j] = exp(x[j]) + sigmoid(x[j]) + x[j] ** 3.5 + float64(j // 3 + j % 7)
'''
FUNCTIONS = {f.name: f for f in ast.parse(SOURCE).body}
TARGET = features.detect()


@pytest.fixture(scope="module")
def compiled():
    symbols = {name: f"test_objects_{name}" for name in FUNCTIONS}
    return {
        symbols[name]: code
        for name, code in loops.compile_kernels(SOURCE, symbols, TARGET).items()
    }


@pytest.fixture(scope="module")
def run(compiled):
    addresses = loading.load_for_good(compiled)

    def run(name, parts, *arguments):
        words = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
        block = np.array(words, np.int64)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
        kernel = kind(addresses[f"test_objects_{name}"])
        for part in range(parts):
            kernel(part, 0, block.ctypes.data)

    return run


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n", [1, 7, 16, 33, 100])
def test_element_wise(run, n):
    x, b, z, u, w = numbers(5, n + 3), numbers(n), numbers(5, n), numbers(n), numbers(5, n)
    y = np.zeros((5, n), np.float32)
    run("affine", 3, y, x, b, z, u, w, 5, n, n + 3, 2)
    np.testing.assert_allclose(y, (x[:, :n] + b) * z - u * w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 15, 64, 130])
def test_reductions(run, n):
    x, y, columns = numbers(4, n), np.zeros(4, np.float32), np.zeros(n, np.float32)
    run("row_sum", 4, y, x, n)
    np.testing.assert_allclose(y, (x * x).sum(1), rtol=1e-5)
    run("column_sum", 1, columns, x, 4, n)
    np.testing.assert_allclose(columns, x.sum(0), rtol=1e-5, atol=1e-6)
    run("row_max", 4, y, x, n)
    np.testing.assert_array_equal(y, x.max(1))


@pytest.mark.parametrize("place", [0, 5, 63, 70])
def test_maximum_propagates_nan(run, place):
    x, y = numbers(1, 71), np.zeros(1, np.float32)
    x[0, place] = np.nan
    run("row_max", 1, y, x, 71)
    assert np.isnan(y[0])


def test_stack(run):
    x, y, seen = numbers(5, 70), np.zeros(70, np.float32), np.zeros(70, bool)
    run("column_max", 1, y, seen, x, 5, 70)
    np.testing.assert_array_equal(y, x.max(0))
    np.testing.assert_array_equal(seen, ~(x < 0).any(0))


def test_random(run):
    y, counter = np.zeros(100, np.float32), np.arange(100, dtype=np.uint32)
    run("noise", 1, y, 100)
    with np.errstate(over="ignore"):
        key = np.uint32(7), np.uint32(8)
        np.testing.assert_array_equal(y, random_uniform(*key, counter, np.uint32(0)))


def test_window(run):
    x, y = numbers(5, 4, 21), np.zeros((5, 4, 21), np.float32)
    run("window_max", 5, y, x, 5, 4, 21)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = np.max([padded[i : i + 5, j : j + 4] for i in range(3) for j in range(3)], axis=0)
    np.testing.assert_array_equal(y, expected)


def test_relu_keeps_nan(run):
    x = np.array([-1, 0, 2, np.nan, np.inf, -np.inf, 1e-40] * 5, np.float32)
    y = np.zeros_like(x)
    run("relu", 1, y, x, x.size)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_integers_bytes_and_bools(run):
    labels, y = np.array([2, 0, 18], np.int32), np.zeros((3, 19), np.float32)
    run("one_hot", 3, y, labels, 19)
    np.testing.assert_array_equal(y, np.eye(19, dtype=np.float32)[labels])
    x, mask, z = np.arange(40, dtype=np.uint8) + 200, np.arange(40) % 3 == 0, np.zeros(40, "f4")
    run("scale_bytes", 1, z, x, mask, 40)
    np.testing.assert_array_equal(z, np.where(mask, x.astype(np.float32) / 4, -1))


def test_functions_powers_and_float64(run):
    x, y = numbers(50), np.zeros(50, np.float32)
    run("cubes", 1, y, x, 50)
    np.testing.assert_allclose(y, x**3, rtol=1e-6)
    run("functions", 1, y, x, 50)
    a = x.astype(np.float64)
    t = np.exp(-abs(a)) + np.tanh(a) / (1 + np.exp(-a)) + [math.erf(v) for v in a]
    y_exact = np.log1p(t * t) + np.sqrt(abs(a)) + t * t + np.floor(a)
    np.testing.assert_allclose(y, y_exact, rtol=1e-6, atol=1e-6)
    a, z, j = np.abs(x).astype(np.float64), np.zeros(50), np.arange(50)
    run("doubles", 1, z, a, 50)
    expected = np.exp(a) + 1 / (1 + np.exp(-a)) + a**3.5 + j // 3 + j % 7
    np.testing.assert_allclose(z, expected, rtol=1e-14)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"doubles"}))
def test_loops_vectorize_without_run_time_checks(name):
    module = loops.kernel_module(FUNCTIONS[name], f"v_{name}")
    text = str(objects.optimize(module, TARGET)[0])
    assert f"<{TARGET.lanes} x " in text
    assert "memcheck" not in text
    assert "double" not in text


def test_only_accumulate_may_be_regrouped():
    for name, expected in (("row_sum", True), ("column_sum", False), ("affine", False)):
        module = loops.kernel_module(FUNCTIONS[name], f"r_{name}")
        assert ("reassoc" in module) == expected
        assert "nnan" not in module
        assert "ninf" not in module
        assert "fast" not in module.replace("fastcc", "")


PROLOGUE = "def bad(part, tid, args):\n    y = view_float32(args[0])\n    n = args[1]\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    y[0] = float32(args[2])", "args is no view"),
        ("    t = float32(args[2])\n    y[0] = t", "args is no view"),
        ("    y[0] = y[1] * where(n < 2, 0.1, 0.2) + x64()", "unknown function 'x64'"),
        ("    y[0] = float32(n) / double(n)", "unknown function 'double'"),
        ("    y[0] = y[1] + n", "float32 meets int64"),
        ("    y[0] = y[n / 2]", "/ of int64"),
        ("    y[0] = z[n]", "z is no view"),
        ("    y[0] = y", "y is a view"),
        ("    i = 0\n    i = y[0]", "i is int64, and cannot become float32"),
        ("    n = 3", "n is an argument"),
        ("    for i in range(0, 9, n):\n        y[i] = float32(0)", "steps by a literal, got n"),
        ("    for i in y:\n        y[i] = float32(0)", "no statement of a kernel"),
        ("    return n", "no statement of a kernel"),
    ],
)
def test_refuses_a_kernel(body, message):
    with pytest.raises(ValueError, match=f"kernel bad.*{re.escape(message)}"):
        loops.compile_kernels(PROLOGUE + body, {"bad": "bad"}, TARGET)


def test_refuses_functions_that_the_process_lacks():
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [])
    b = ir.IRBuilder(ir.Function(module, kind, "caller").append_basic_block())
    b.call(ir.Function(module, kind, "no_such_function"), [])
    b.ret_void()
    with pytest.raises(ValueError, match="no_such_function"):
        objects.compile_module(module, TARGET)
    with pytest.raises(RuntimeError):
        objects.compile_module("define nonsense", TARGET)


def test_a_symbol_is_loaded_once_and_must_be_defined(compiled):
    first, again = loading.load(compiled), loading.load(dict(reversed(compiled.items())))
    assert first.addresses == again.addresses
    assert first.engines == again.engines
    with pytest.raises(ValueError, match="does not define"):
        loading.load({"another_symbol": next(iter(compiled.values()))})


def test_code_is_freed_when_nobody_holds_it():
    code = objects.compile_module("define void @test_objects_freed() { ret void }", TARGET)
    first = loading.load({"test_objects_freed": code})
    second = loading.load({"test_objects_freed": code})
    engine = weakref.ref(first.engines[0])
    del first
    gc.collect()
    assert engine() is not None and "test_objects_freed" in loading._loaded
    del second
    gc.collect()
    assert engine() is None and "test_objects_freed" not in loading._loaded
    assert loading.load({"test_objects_freed": code}).addresses["test_objects_freed"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other objects are LLVM's to load")
def test_objects_are_loaded_as_by_llvm(compiled):
    """Code at other addresses, but the same bytes between them, and the same results."""
    mine, llvm = elf.Mapped(compiled.values()), objects.Engine(compiled)
    for symbol, code in compiled.items():
        assert elf.is_plain(code) and symbol in mine.addresses and llvm.addresses[symbol]
        (start,) = (s.value for s in elf.Object(code).symbols() if s.name == symbol)
        placed = [elf.Object(code).sections[i] for i in elf.Object(code).placed]
        assert start < max(s.size for s in placed)
        relocated = {at + k for _, at, *_ in elf.Object(code).relocations() for k in range(8)}
        size = min(s.size for s in placed if s.size > start) - start
        pairs = zip(*(ctypes.string_at(x.addresses[symbol], size) for x in (mine, llvm)),
                    strict=True)  # fmt: skip
        differ = {start + i for i, (a, b) in enumerate(pairs) if a != b}
        assert differ <= relocated


@pytest.mark.parametrize("damage", [b"", b"text", b"\x7fELF\2\1" + b"\0" * 100])
def test_what_is_no_object_is_left_to_llvm(damage):
    assert not elf.is_plain(damage)


def test_a_function_that_the_process_lacks_is_named():
    with pytest.raises(ValueError, match="calls 'no_such_function', which"):
        elf.of_process("no_such_function")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="LLVM loads what it has compiled")
def test_a_process_that_compiles_nothing_loads_no_llvm(tmp_path):
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
import numpy as np, tinygraph as tg
x, w = tg.input("x", 40, 64), tg.parameter(np.ones((64, 32), "float32"), "w")
assert tg.compile([x], [tg.exp(x @ w)])(np.zeros((40, 64), "float32"))[0].sum() == 40 * 32
print("llvmlite.binding" in sys.modules)
"""
    command, environ = [sys.executable, "-c", program], {"TINYGRAPH_CACHE": str(tmp_path / "cache")}
    found = [
        subprocess.run(command, check=True, capture_output=True, env=os.environ | environ)
        for _ in range(2)
    ]
    assert [x.stdout.strip() for x in found] == [b"True", b"False"]


@pytest.mark.skipif(not host.CPUINFO.exists(), reason="Linux tells which processor it is")
def test_another_processor_is_asked_for_again(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    monkeypatch.setattr(host, "default_store", lambda: store)
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"processor : 0\nmodel name : {name}\ncpu MHz : 1\n\n")
        monkeypatch.setattr(host, "CPUINFO", tmp_path / name)
        assert host.host() == host.host()
    assert len(store.entries()) == 2
    (tmp_path / "two").write_text("processor : 0\nmodel name : two\ncpu MHz : 2\n\n")
    host.host()
    assert len(store.entries()) == 2
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "none")
    assert host.host().cpu and len(store.entries()) == 2


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells a process' size")
def test_optimizing_keeps_no_memory():
    """A pass manager of llvmlite 0.50 is not freed on its own: 70 kilobytes each."""

    def pages():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    def optimize(count):
        for _ in range(count):
            objects.optimize("define void @test_objects_small() { ret void }", TARGET)

    optimize(20)
    before = pages()
    optimize(80)
    assert (pages() - before) * os.sysconf("SC_PAGESIZE") / 80 < 10_000


def test_a_stored_module_is_not_compiled_again(tmp_path, monkeypatch):
    module = "define void @test_objects_nothing() { ret void }"
    store = Store(tmp_path)
    code = loading.stored_module(module, TARGET, store)
    monkeypatch.setattr(objects, "compile_module", None)
    assert loading.stored_module(module, TARGET, store) == code
    other = dataclasses.replace(TARGET, cpu="x86-64")
    with pytest.raises(TypeError):
        loading.stored_module(module, other, store)


def test_a_fresh_process_loads_without_numba(compiled, tmp_path):
    (tmp_path / "k.o").write_bytes(compiled["test_objects_doubles"])
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from tinygraph_cpu.machine import loading, objects
from tinygraph_cpu.loops import kernels
code = open({str(tmp_path / "k.o")!r}, "rb").read()
assert loading.load({{"test_objects_doubles": code}}).addresses["test_objects_doubles"]
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
