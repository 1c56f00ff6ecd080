"""The table of dtypes, walked: each record agrees with NumPy, LLVM, and text in and out."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

import tinygraph as tg
from integer_cases import ends
from tinygraph.checkpoint import read_arrays, write_arrays
from tinygraph.graph.dtype import DTYPES, is_float, is_integer, known, name_of
from tinygraph.graph.types import Array, Type
from tinygraph_scalar.arithmetic import scalar_type, suffix
from tinygraph_scalar.scalar import CONSTRUCTORS

ROOT = Path(__file__).parent.parent
ALL = list(DTYPES)
INTEGERS = [d for d in ALL if is_integer(d)]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_a_record_agrees_with_numpy(dtype):
    assert DTYPES[dtype.name] is dtype is known(dtype.name)
    assert name_of(dtype.numpy) == dtype.name
    assert dtype.bytes == dtype.numpy.itemsize
    assert Type((3, 5), dtype.name).bytes == np.zeros((3, 5), dtype.numpy).nbytes
    if dtype.carrier:
        assert dtype.bytes == np.dtype(dtype.carrier).itemsize
        return
    kinds = {"f": "float", "i": "int", "u": "uint", "b": "bool"}
    assert dtype.kind == kinds[dtype.numpy.kind]
    if dtype.is_float:
        info = np.finfo(dtype.name)
        assert (dtype.eps, dtype.precision) == (info.eps, info.nmant + 1)
        assert (dtype.least, dtype.greatest) == (-np.inf, np.inf)
    elif dtype.is_integer:
        info = np.iinfo(dtype.name)
        assert (dtype.least, dtype.greatest) == (info.min, info.max)
        assert dtype.holds(info.min) and dtype.holds(info.max)
        assert not any(map(dtype.holds, (info.min - 1, info.max + 1, 0.5, np.nan, np.inf)))


@pytest.mark.parametrize("dtype", ALL)
def test_each_dtype_is_read_back_from_text(dtype):
    values = ends(dtype)
    x = tg.input("x", len(values), dtype=dtype)
    y = tg.where(tg.constant(False), x, tg.constant(values[-1:]))
    graph = tg.Graph("g", (x,), (y,))
    text = tg.dump(graph)
    assert f"x: {DTYPES[dtype].short}[{len(values)}]" in text
    assert tg.dump(tg.parse(text)) == text
    (result,) = tg.run(tg.parse(text), values)
    np.testing.assert_array_equal(result, np.broadcast_to(values[-1:], values.shape), strict=True)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_backends_make_their_types_of_the_record(dtype):
    memory, register = scalar_type(dtype.name, memory=True), scalar_type(dtype.name)
    if dtype.compute:
        assert memory == register == ir.IntType(dtype.bits)
    elif dtype.is_float:
        assert memory == register == {32: ir.FloatType(), 64: ir.DoubleType()}[dtype.bits]
    else:
        assert memory == ir.IntType(dtype.bits)
        assert register == (ir.IntType(1) if dtype.kind == "bool" else memory)
    assert suffix(dtype.name) == (
        f"i{dtype.bits}" if dtype.kind == "bool" or dtype.compute else dtype.short.replace("u", "i")
    )
    assert CONSTRUCTORS[dtype.constructor] == dtype.name


def test_bfloat16_is_a_format_of_memory_only():
    bfloat16 = DTYPES["bfloat16"]
    assert bfloat16.bytes == bfloat16.numpy.itemsize == 2
    assert (bfloat16.compute, bfloat16.eps) == ("float32", 2**-7)


def test_an_unknown_dtype_is_one_clear_error():
    wrong = "float8", "complex64", "f4", "", None
    x = tg.input("x", 3)
    for dtype in wrong:
        for build in (lambda d: tg.input("y", 2, dtype=d), lambda d: tg.cast(x, d)):
            with pytest.raises(tg.ShapeError, match=r"requires a dtype of float32, .*bool, got"):
                build(dtype)
    with pytest.raises(TypeError, match=r"requires a dtype of float32, .*bool, got 'complex64'"):
        Array.of(np.zeros(2, np.complex64))
    assert not any(is_float(d) or is_integer(d) for d in ("several", "float8", ""))


def test_text_with_an_unknown_dtype_is_one_clear_error():
    text = "graph g(x: f8[3]) {\n  return x\n}"
    one_of = r"line 1: 'f8' is not a dtype, which is one of f32, .*"
    with pytest.raises(tg.ParseError, match=one_of):
        tg.parse(text)
    with pytest.raises(tg.ParseError, match=r"line 2: 'f8' is not a dtype"):
        tg.parse("graph g(x: f32[3]) {\n  %0 = add(x, 2:f8) : f32[3]\n  return %0\n}")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_checkpoints_keep_every_dtype(suffix, tmp_path):
    arrays = {d: ends(d).reshape(1, -1) for d in ALL}
    write_arrays(tmp_path / f"all{suffix}", arrays)
    found = read_arrays(tmp_path / f"all{suffix}")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_inputs_and_parameters_of_every_dtype():
    """In one program: what comes in goes out again, through memory of its width."""
    inputs = [tg.input(d, len(ends(d)), dtype=d) for d in ALL]
    held = [tg.parameter(ends(d)[::-1], f"p.{d}", dtype=d) for d in ALL]
    chosen = [tg.where(tg.equal(x, x), tg.flip(p, 0), x) for x, p in zip(inputs, held, strict=True)]
    results = tg.compile(inputs, [*chosen, *(tg.flip(x, 0) for x in inputs)])(*map(ends, ALL))
    for d, same, turned in zip(ALL, results, results[len(ALL) :], strict=False):
        np.testing.assert_array_equal(same, ends(d), strict=True)
        np.testing.assert_array_equal(turned, ends(d)[::-1], strict=True)


def sources() -> list[Path]:
    """All of the project's files but the PTX emulator's, whose dtypes are those of PTX."""
    found = [p for folder in ("tinygraph", "backends") for p in (ROOT / folder).rglob("*.py")]
    return [p for p in found if "ptx_emulator" not in p.parts and p.name != "dtype.py"]


def test_no_second_table_of_dtypes():
    """A dict, list or tuple with three names of dtypes is one that a new dtype is missing from."""
    for path in sources():
        for n in ast.walk(ast.parse(path.read_text())):
            elements = n.keys if isinstance(n, ast.Dict) else getattr(n, "elts", [])
            names = {e.value for e in elements if isinstance(e, ast.Constant)}
            assert len(names & {d for d in ALL if d != "bool"}) < 3, f"{path}:{n.lineno}"
