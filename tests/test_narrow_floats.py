"""float16 and bfloat16: the same bits from NumPy, the interpreter and compiled code."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from narrow_examples import narrow_example
from tinygraph.checkpoint import read_arrays, write_arrays
from tinygraph.graph.dtype import DTYPES, is_exact
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS
from tinygraph.passes import widen

NARROW = [d.name for d in DTYPES.values() if d.compute]
ALL = np.arange(1 << 16, dtype=np.uint16)


def every(dtype: str) -> np.ndarray:
    """All numbers of a format."""
    return ALL.view(DTYPES[dtype].numpy)


def same(a: np.ndarray, b: np.ndarray) -> None:
    """The same bits; any NaN is as good as another."""
    assert a.dtype == b.dtype
    wide, other = tg.astype(a, "float32"), tg.astype(b, "float32")
    np.testing.assert_array_equal(
        wide.view("uint32")[wide == wide], other.view("uint32")[wide == wide]
    )
    assert np.array_equal(np.isnan(wide), np.isnan(other))


def floats() -> np.ndarray:
    """float32 of all sizes, what is half way between two narrower ones, and their ends."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 100_000, dtype=np.uint32)
    ties = (bits & 0xFFFF0000) | 0x8000, (bits & 0xFFFFE000) | 0x1000
    small = rng.standard_normal(50_000) * np.exp(rng.uniform(-30, 13, 50_000))
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, 65536, 3.4e38, 2**-24,
            2**-25, 1.5 * 2**-25, 1e-40, -1e-45]  # fmt: skip
    parts = [x.view(np.float32) for x in (bits, *ties)]
    return np.concatenate([*parts, small.astype(np.float32), np.float32(ends)])


def nearest(x: np.ndarray, dtype: str) -> np.ndarray:
    """The bits of the nearest number of a format, of two the even one: by search among all."""
    size = np.abs(x.astype(np.float64))
    values = tg.astype(every(dtype)[:0x8000], "float64")
    values = values[~np.isnan(values)]  # ascending; the last one is infinity
    steps = np.append(values[:-1], 2 * values[-2] - values[-3])  # where it would go on
    above = np.minimum(np.searchsorted(steps, size), len(steps) - 1)
    below = np.maximum(above - 1, 0)
    gap = (size - steps[below]) - (steps[above] - size)
    up = (gap > 0) | ((gap == 0) & (above % 2 == 0))
    bits = np.where(size >= steps[-1], len(steps) - 1, np.where(up, above, below))
    return bits.astype(np.uint16) | np.signbit(x).astype(np.uint16) << np.uint16(15)


@pytest.mark.parametrize("dtype", NARROW)
def test_casts_round_to_the_nearest_of_two_the_even_one(dtype):
    values = floats()
    x = tg.input("x", len(values))
    y = tg.cast(x, dtype)
    narrow, back = tg.compile([x], [y, tg.cast(y, "float32")])(values)
    number = ~np.isnan(values)
    np.testing.assert_array_equal(narrow.view("uint16")[number], nearest(values[number], dtype))
    same(narrow, tg.astype(values, dtype))
    same(back, tg.astype(narrow, "float32"))
    assert np.isnan(back[~number]).all()
    (found,) = tg.run(graph_of(y), values)
    same(found, narrow)


@pytest.mark.parametrize("dtype", NARROW)
def test_every_number_comes_back(dtype):
    x = tg.input("x", 1 << 16, dtype=dtype)
    (wide,) = tg.compile([x], [tg.cast(x, "float32")])(every(dtype))
    same(wide, tg.astype(every(dtype), "float32"))
    same(tg.astype(wide, dtype), every(dtype))
    kept = wide[~np.isnan(wide)]
    assert np.array_equal(nearest(kept, dtype), ALL[~np.isnan(wide)])


@pytest.mark.parametrize("other", DTYPES)
@pytest.mark.parametrize("dtype", NARROW)
def test_casts_from_and_to_every_dtype(dtype, other):
    """Between 0 and 100, which all of them hold."""
    numbers = tg.astype([0.0, -0.0, 1.0, 2.0, 0.5, 3.25, 100.0, 2.0**-14], dtype)
    x, y = tg.input("x", 8, dtype=dtype), tg.input("y", 8, dtype=other)
    made = [tg.cast(x, other), tg.cast(y, dtype), tg.cast(tg.cast(x, "float32"), other)]
    arrays = [numbers, tg.astype(numbers, other)]
    graph = Graph("g", (x, y), tuple(made))
    for a, b in zip(tg.compile([x, y], made)(*arrays), tg.run(graph, *arrays), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def outputs(x: tg.Node, w: tg.Node) -> list[tg.Node]:
    """What needs no function whose last digit may differ."""
    return [
        x * w + x, x / (w + 2.0), tg.relu(x) - 0.3, tg.where(x < w, x, w), tg.maximum(x, w),
        tg.sqrt(tg.abs(x)), -x.T, tg.concat([x, w * 1.5], 0), tg.pad(x, ((1, 2), (0, 1))),
        x[::2, 1:], tg.cast(x * 10.0, "int8"), x > 0.5, tg.max(x, 1), tg.cumsum(x, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 33), (0, 4)])
def test_compiled_code_and_the_interpreter_agree_to_the_bit(dtype, shape):
    """Each operator rounds once, whatever is fused: also where nothing is."""
    x, w = (tg.input(n, *shape, dtype=dtype) for n in "xw")
    rng = np.random.default_rng(1)
    arrays = [tg.astype(rng.standard_normal(shape), dtype) for _ in "xw"]
    made = [y for y in outputs(x, w) if y.type.size or y.ndim == 2]
    graph = graph_of(*made)
    want = tg.run(graph, *arrays)
    for without in ([], ["fuse"], ["simplify", "fold_constants"]):
        found = tg.compile(graph.inputs, made, without=without)(*arrays)
        for a, b in zip(found, want, strict=True):
            same(a, b)


@pytest.mark.parametrize("dtype", NARROW)
def test_each_operator_rounds_its_result(dtype):
    """1 + eps/2 + eps/2 is 1 where each sum is rounded, and 1 + eps where only the last one is."""
    eps = DTYPES[dtype].eps
    x = tg.input("x", 3, dtype=dtype)
    kept = tg.cast(tg.cast(x, "float32") + eps / 2 + eps / 2, dtype)
    rounded, once = tg.compile([x], [x + eps / 2 + eps / 2, kept])(tg.astype([1, 1, 1], dtype))
    assert tg.astype(rounded, "float32").tolist() == [1, 1, 1]
    assert tg.astype(once, "float32").tolist() == [1 + eps] * 3


@pytest.mark.parametrize("dtype", NARROW)
def test_the_twin_gives_the_same_bits(dtype):
    x, w = (tg.input(n, 4, 6, dtype=dtype) for n in "xw")
    rng = np.random.default_rng(2)
    arrays = [tg.astype(rng.standard_normal((4, 6)), dtype) for _ in "xw"]
    graph = widen(graph_of(x * w + x, tg.relu(x)))
    for a, b in zip(run_python(graph, *arrays), tg.run(graph, *arrays), strict=True):
        same(a, b)


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.example], ids=lambda o: o.name)
def test_every_operator_that_takes_narrow_floats(op):
    example = op.example()
    for dtype in NARROW:
        if any(i.dtype == "float32" for i in example.inputs) and not example.bodies:
            if (made := narrow_example(op, dtype)) is None:
                continue
            y, graph, arrays = made
            (want,) = tg.run(graph, *arrays)
            (found,) = tg.compile(graph.inputs, [y])(*arrays)
            assert found.dtype == want.dtype
            if y.dtype not in NARROW:
                continue
            wide = tg.astype(want, "float64")
            gap = np.abs(tg.astype(found, "float64") - wide)
            size = np.maximum(np.abs(wide), DTYPES[dtype].eps)
            np.testing.assert_array_less(gap, 1.1 * DTYPES[dtype].eps * size + 1e-30)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_checkpoints_keep_bits(suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    arrays = {d: every(d).reshape(256, 256) for d in NARROW}
    write_arrays(tmp_path / f"x{suffix}", arrays)
    found = read_arrays(tmp_path / f"x{suffix}")
    for d in NARROW:
        assert found[d].dtype == DTYPES[d].numpy
        np.testing.assert_array_equal(found[d].view("uint16"), arrays[d].view("uint16"))


def test_bits_are_not_taken_for_numbers():
    x = tg.input("x", 3, dtype="bfloat16")
    program = tg.compile([x], [x * 2])
    with pytest.raises(TypeError, match="bfloat16"):
        program(np.array([1, 2, 3], np.uint16))
    with pytest.raises(TypeError, match="bfloat16"):
        program(np.ones(3, np.float32))
    p = tg.parameter(np.float32([1, 2.5, 3]), "p", dtype="bfloat16")
    p.value = np.float32([1, 1.001, 2])
    assert tg.astype(p.value, "float32").tolist() == [1, 1, 2]
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = np.array([1, -2, 0.5], ml_dtypes.bfloat16)
    (found,) = program(given)
    assert tg.astype(found, "float32").tolist() == [2, -4, 1]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_nan_is_seen(dtype):
    x = tg.input("x", 3, dtype=dtype)
    program = tg.compile([x], [tg.log(x)], check_nan=True)
    program(tg.astype([1, 2, 3], dtype))
    with pytest.raises(FloatingPointError, match=r"NaN in log .*\[3\] at \[1\]"):
        program(tg.astype([1, -2, 3], dtype))


def test_what_is_exact():
    for a in DTYPES:
        for b in DTYPES:
            if not {a, b} & set(NARROW):
                exact = np.can_cast(a, b, "safe") and (a, b) != ("int64", "float64")
                assert is_exact(a, b) == exact, (a, b)
    assert is_exact("bfloat16", "float32") and is_exact("float16", "float32")
    assert is_exact("int8", "bfloat16") and not is_exact("int16", "float16")
    assert not is_exact("bfloat16", "float16") and not is_exact("float16", "bfloat16")
    assert not is_exact("float32", "float16")


@pytest.mark.parametrize("dtype", NARROW)
def test_programs_are_checked_by_their_values(dtype):
    x, w = tg.input("x", 5, 7, dtype=dtype), tg.parameter(np.ones((7, 3), "float32"), dtype=dtype)
    y = tg.softmax(tg.tanh(tg.matmul(x, w)), -1)
    program = tg.compile([x], [y, tg.sum(x), tg.exp(y)], verify="values")
    same(program(tg.astype(np.ones((5, 7)), dtype))[1], tg.astype(35.0, dtype))


@pytest.mark.parametrize("dtype", NARROW)
def test_the_pass_that_computes_in_float32_is_needed(dtype):
    x = tg.input("x", 5, dtype=dtype)
    where = rf"exp {DTYPES[dtype].short}\[5\] \(.*\.py:\d+\)"
    with pytest.raises(ValueError, match=f"{where} needs the pass widen"):
        tg.compile([x], [tg.exp(x)], without=["widen"])
    tg.compile([x], [x[1:]], without=["widen"])


@pytest.mark.parametrize("dtype", NARROW)
def test_casts_from_float64_round_once(dtype):
    """Next to the middle of two neighbours: float32 is the middle, and its even one wrong."""
    middle = tg.astype(every(dtype)[:0x7000], "float64")
    middle = (middle[1:] + middle[:-1]) / 2
    values = np.concatenate([middle * (1 + e) for e in (0, 2.0**-40, -(2.0**-40))])
    values = np.concatenate([values, -values, [1e300, -1e300, 1e-300, np.nan, np.inf]])
    x = tg.input("x", len(values), dtype="float64")
    got = tg.compile([x], [tg.cast(x, dtype)])(values)[0]
    same(got, tg.astype(values, dtype))
    number = ~np.isnan(values)
    np.testing.assert_array_equal(got.view("uint16")[number], nearest(values, dtype)[number])


@pytest.mark.parametrize(("source", "top"), [("int64", 62), ("int32", 30), ("uint32", 31)])
def test_casts_from_integers_round_once(source, top):
    """2**top is the even number of the first two; of the next two it is the second."""
    one = 1 << top - 7
    values = [(1 << top) + k * one // 2 + e for k in (1, 3) for e in (-1, 0, 1)]
    want = [float((1 << top) + k * one) for k in (0, 0, 1, 1, 2, 2)]
    if source != "uint32":
        values, want = [*values, *(-v for v in values)], [*want, *(-v for v in want)]
    array, x = np.array(values, source), tg.input("x", len(values), dtype=source)
    got = tg.compile([x], [tg.cast(x, "bfloat16")])(array)[0]
    for found in (
        got,
        tg.astype(array, "bfloat16"),
        run_python(graph_of(tg.cast(x, "bfloat16")), array)[0],
    ):
        assert tg.astype(found, "float64").tolist() == want
