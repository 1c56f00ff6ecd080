"""float16 and bfloat16 on a GPU: the same bits as NumPy's, run from their PTX."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

import tinygraph as tg
from compiled import graph_of
from narrow_examples import narrow_example
from test_narrow_floats import NARROW, every, floats, outputs, same
from tinygraph.graph.dtype import DTYPES, is_float
from tinygraph.graph.op import OPS

pytestmark = pytest.mark.usefixtures("no_device", "cache")
EMULATE = "cuda:emulate"


@pytest.mark.parametrize("dtype", NARROW)
def test_conversions(dtype):
    """Of every number of the format, and of floats of all sizes."""
    x, y = tg.input("x", 1 << 16, dtype=dtype), tg.input("y", len(values := floats()))
    made = tg.cast(x, "float32"), tg.cast(y, dtype)
    wide, narrow = tg.compile([x, y], made, backend=EMULATE)(every(dtype), values)
    same(wide, tg.astype(every(dtype), "float32"))
    same(narrow, tg.astype(values, dtype))


@pytest.mark.parametrize("dtype", NARROW)
def test_conversions_from_and_to_every_dtype(dtype):
    """Between 0 and 100, which all of them hold."""
    numbers = tg.astype([0.0, -0.0, 1.0, 2.0, 0.5, 3.25, 100.0, 2.0**-14], dtype)
    inputs = [tg.input(f"from_{d}", 8, dtype=d) for d in DTYPES]
    made = [tg.cast(inputs[list(DTYPES).index(dtype)], d) for d in DTYPES]
    made += [tg.cast(i, dtype) for i in inputs]
    arrays = [tg.astype(numbers, d) for d in DTYPES]
    found = tg.compile(inputs, made, backend=EMULATE)(*arrays)
    for a, b in zip(found, tg.run(tg.Graph("g", tuple(inputs), tuple(made)), *arrays), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", NARROW)
def test_values_are_moved_bit_by_bit(dtype):
    """Also a NaN that signals, which arithmetic would make quiet; in fours and one by one."""
    x = tg.input("x", 256, 256, dtype=dtype)
    numbers = every(dtype).reshape(256, 256)
    made = [x[:, 4:252], tg.flip(x, 1), tg.concat([x, x], 0)]
    found = tg.compile([x], made, backend=EMULATE)(numbers)
    bits = numbers.view("uint16")
    wants = [bits[:, 4:252], bits[:, ::-1], np.concatenate([bits, bits])]
    for got, want in zip(found, wants, strict=True):
        np.testing.assert_array_equal(got.view("uint16"), want)


@pytest.mark.parametrize("dtype", NARROW)
def test_compiled_code_and_the_interpreter_agree_to_the_bit(dtype):
    x, w = (tg.input(n, 5, 7, dtype=dtype) for n in "xw")
    rng = np.random.default_rng(1)
    arrays = [tg.astype(rng.standard_normal((5, 7)), dtype) for _ in "xw"]
    graph = graph_of(*outputs(x, w))
    found = tg.compile(graph.inputs, graph.outputs, backend=EMULATE)(*arrays)
    for a, b in zip(found, tg.run(graph, *arrays), strict=True):
        same(a, b)


def test_a_parameter_is_trained_in_bfloat16():
    w = tg.parameter(np.float32([1, -2, 0.5, 3]), name="w", dtype="bfloat16")
    x = tg.input("x", 4, dtype="bfloat16")
    step = tg.compile([x], [tg.sum(x * w)], updates=[(w, w - x * 0.125)], backend=EMULATE)
    numbers = tg.astype([1, 2, 3, 4], "bfloat16")
    assert tg.astype(step(numbers)[0], "float32") == 10.5
    assert tg.astype(w.value, "float32").tolist() == [0.875, -2.25, 0.125, 2.5]


def examples() -> list[str]:
    return [o.name for o in OPS.values() if o.example and not o.example().bodies]


# of each kind, and each that has a kernel of its own; all with --deep
SOME = ("tanh", "sum", "matmul", "take", "scatter_add", "cumsum", "sort_indices", "pad")


@pytest.mark.parametrize("name", examples())
def test_every_operator(name, request):
    if name not in SOME and not request.config.getoption("--deep"):
        pytest.skip("takes minutes: --deep")
    for dtype in NARROW if name in SOME[:2] or request.config.getoption("--deep") else NARROW[1:]:
        if (made := narrow_example(OPS[name], dtype)) is None:
            continue
        y, graph, arrays = made
        (want,) = tg.run(graph, *arrays)
        (found,) = tg.compile(graph.inputs, [y], backend=EMULATE)(*arrays)
        assert found.dtype == want.dtype
        if is_float(y.dtype):
            wide, eps = tg.astype(want, "float64"), DTYPES[dtype].eps
            gap = np.abs(tg.astype(found, "float64") - wide)
            np.testing.assert_array_less(gap, 1.1 * eps * np.maximum(np.abs(wide), eps) + 1e-30)
