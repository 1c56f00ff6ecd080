"""Integers of every width mean the same to Python, the interpreter, folding and compiled code."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from integer_cases import (
    FLOATS,
    INTEGERS,
    PAIRS,
    check,
    drawn,
    ends,
    expected_rows,
    pairs_expected,
    pairs_graph,
    retyped,
    rows,
    wrapped,
)
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS
from tinygraph.ops.reduce import SUM
from tinygraph.passes.fold_constants import fold_constants
from tinygraph.passes.simplify import simplify


def table(dtype: str) -> np.ndarray:
    """Rows of numbers whose sums go beyond the dtype."""
    return np.random.default_rng(0).permutation(np.tile(ends(dtype), 5))[:35].reshape(5, 7)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_pairs(dtype):
    graph, want = pairs_graph(dtype), pairs_expected(dtype)
    arrays = ends(dtype)[:, None], ends(dtype)
    check(tg.run(graph, *arrays), want, PAIRS)
    check(run_python(graph, *arrays), want, PAIRS)
    check(run_python(graph, *arrays, without=["fuse"]), want, PAIRS)
    check(tg.run(simplify(graph), *arrays), want, PAIRS)
    folded = fold_constants(pairs_graph(dtype, *map(tg.constant, arrays)))
    assert {n.op.name for n in folded.nodes} <= {"constant", "broadcast_to"}
    check(tg.run(folded), want, PAIRS)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_rows(dtype):
    x = tg.input("x", 5, 7, dtype=dtype)
    graph, want = Graph("rows", (x,), tuple(rows(x))), expected_rows(table(dtype))
    check(tg.run(graph, table(dtype)), want)
    check(run_python(graph, table(dtype)), want)


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.example], ids=lambda o: o.name)
def test_every_operator_that_takes_integers(op):
    for dtype in INTEGERS:
        if (graph := retyped(op.example(), dtype)) is not None:
            arrays = drawn(graph, dtype)
            want = tg.run(graph, *arrays)
            for without in ((), ("fuse",)):
                check(run_python(graph, *arrays, without=without), want)


# one of one byte, one of two, one that processors compute in as it is; signed and not
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_compiled(dtype):
    pairs, x = pairs_graph(dtype), tg.input("x", 5, 7, dtype=dtype)
    program = tg.compile([*pairs.inputs, x], [*pairs.outputs, *rows(x)])
    arrays = ends(dtype)[:, None], ends(dtype), table(dtype)
    check(program(*arrays), [*pairs_expected(dtype), *expected_rows(arrays[-1])])


def test_floats_are_cut_and_wrap():
    x = tg.input("x", len(FLOATS))
    graph = Graph("casts", (x,), tuple(tg.cast(x, d) for d in INTEGERS))
    want = [np.array([wrapped(int(v), d) for v in FLOATS], d) for d in INTEGERS]
    check(tg.run(graph, FLOATS), want, INTEGERS)
    check(run_python(graph, FLOATS), want, INTEGERS)
    check(tg.compile([x], list(graph.outputs))(FLOATS), want, INTEGERS)


def test_floats_that_no_integer_holds_have_one_answer():
    """The processor's, but the same of the interpreter and of compiled code, vector or not."""
    values = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e20, 2.0**31, 2.0**63] * 5, "float32")
    x, y = tg.input("x", len(values)), tg.input("y", len(values), dtype="float64")
    outputs = [tg.cast(z, d) for z in (x, y) for d in INTEGERS]
    arrays = values, values.astype("float64")
    want = tg.run(Graph("casts", (x, y), tuple(outputs)), *arrays)
    check(tg.compile([x, y], outputs)(*arrays), want)


# -- integers that count and point -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_are_told_apart_however_narrow_they_are(dtype):
    """More classes than the dtype has numbers: no class is another one's number, wrapped around."""
    classes = 300
    labels = np.array([0, 3, 43, min(200, int(DTYPES[dtype].greatest))], dtype)
    logits = np.random.default_rng(0).standard_normal((4, classes)).astype("float32")
    x, t = tg.input("x", 4, classes), tg.input("t", 4, dtype=dtype)
    loss = tg.cross_entropy(x, t)
    outputs = [loss, tg.one_hot(t, classes), tg.grad(loss, x)[0], tg.take(x, t, 1)]
    exact = logits.astype("float64")
    chance = np.exp(exact) / np.exp(exact).sum(1, keepdims=True)
    hot, rows = np.eye(classes)[labels.astype(int)], np.arange(4)
    want = [-np.log(chance[rows, labels]).mean(), hot, (chance - hot) / 4, logits[:, labels]]
    for got in (tg.run(Graph("g", (x, t), tuple(outputs)), logits, labels),
                run_python(Graph("g", (x, t), tuple(outputs)), logits, labels)):  # fmt: skip
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32", "int64"])
def test_slices_that_begin_at_a_narrow_number(dtype):
    """Positions beyond what the start's dtype holds."""
    x, start = tg.input("x", 500), tg.input("s", dtype=dtype)
    array, at = np.arange(500, dtype="float32"), np.array(100, dtype)
    part = tg.dynamic_slice(x, [start], [300])
    whole = tg.dynamic_update(x, -tg.input("u", 300), [start])
    (got,) = run_python(graph_of(part), array, at)
    np.testing.assert_array_equal(got, array[100:400])
    graph = graph_of(whole)
    given = {"x": array, "s": at, "u": array[:300]}
    (got,) = run_python(graph, *(given[i.name or ""] for i in graph.inputs))
    np.testing.assert_array_equal(got, np.concatenate([array[:100], -array[:300], array[400:]]))


def test_ramps_fit_their_dtype():
    assert tg.run(graph_of(tg.arange(256, dtype="uint8")))[0].tolist() == list(range(256))
    for n, dtype in ((257, "uint8"), (129, "int8"), (2**15 + 1, "int16"), (3, "bool")):
        with pytest.raises(tg.ShapeError, match=f"iota requires a dtype that holds .* got {dtype}"):
            tg.arange(n, dtype=dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_attributes_fit_their_dtype(dtype):
    x, high = tg.input("x", 4, dtype=dtype), int(DTYPES[dtype].greatest)
    for value in (high + 1, int(DTYPES[dtype].least) - 1, 0.5, np.inf, -np.inf, np.nan):
        with pytest.raises(tg.ShapeError, match=f"pad requires a value that {dtype} can hold"):
            tg.pad(x, 1, value=value)
    for low, above in ((high + 1, None), (0.5, None), (np.nan, None), (None, -(2**70))):
        with pytest.raises(tg.ShapeError, match=f"clip requires bounds that {dtype} can hold"):
            tg.clip(x, low, above)


def test_floats_between_bounds_that_cross_or_are_none():
    x, values = tg.input("x", 5), np.array([-2, 0.5, 3, np.nan, np.inf], "float32")
    graph = Graph("g", (x,), (tg.clip(x, 2, 1), tg.clip(x, -np.inf, np.inf)))
    for got in (tg.run(graph, values), run_python(graph, values)):
        np.testing.assert_array_equal(got[0], [1, 1, 1, np.nan, 1])
        np.testing.assert_array_equal(got[1], values)
    with pytest.raises(tg.ShapeError, match="clip requires bounds"):
        tg.clip(x, np.nan, 1)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_equal_summands_wrap_as_their_sum(dtype):
    """Of 300 copies, as users sum them, and in the operator itself, whose count wraps as well."""
    x, values = tg.input("x", 2, dtype=dtype), np.array([1, 0], dtype)
    many = tg.broadcast_to(x, (300, 2))
    outputs = [tg.sum(many, 0)]
    if dtype != "bool":
        outputs += [SUM(many, axis=(0,), keepdims=False)]
    results = tg.run(simplify(Graph("g", (x,), tuple(outputs))), values)
    assert results[0].tolist() == [300, 0]
    assert dtype == "bool" or results[1].tolist() == [wrapped(300, dtype), 0]


def test_an_epilogue_reads_and_writes_integers():
    """Tiles at the edges, whole vectors and masked ones; sums of small integers are exact."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, s).astype("float32") for s in ((17, 33), (33, 37)))
    tables = [rng.choice(ends(d), (17, 37)) for d in INTEGERS]
    given = [tg.input("x", 17, 33), tg.input("w", 33, 37)]
    given += [tg.input(d, 17, 37, dtype=d) for d in INTEGERS]
    y = given[0] @ given[1]
    outputs = []
    for n in given[2:]:
        whole = tg.cast(y, n.dtype)
        outputs += [whole + n, tg.floor_divide(n, whole), tg.mod(whole, n)]
        outputs += [tg.abs(n) + tg.sign(whole)]
    program = tg.compile(given, outputs)
    assert "run: 1 launches" in program.dump("plan")
    want = tg.run(Graph("g", tuple(given), tuple(outputs)), x, w, *tables)
    check(run_python(Graph("g", tuple(given), tuple(outputs)), x, w, *tables), want)
    check(program(x, w, *tables), want)


def test_bits_are_those_of_numpy():
    """Between all dtypes of one width, in the interpreter and in generated Python."""
    rng = np.random.default_rng(0)
    taken = [d for d in DTYPES.values() if d.name != "bool" and not d.compute]
    for old in taken:
        same = [d for d in taken if d.bits == old.bits]
        a = rng.integers(0, 256, (5, old.bytes), np.uint8).view(old.name).reshape(5)
        x = tg.input("x", 5, dtype=old.name)
        graph = Graph("bits", (x,), tuple(tg.bitcast(x, d.name) for d in same))
        for found in (tg.run(graph, a), run_python(graph, a)):
            for got, d in zip(found, same, strict=True):
                assert got.dtype == d.name
                np.testing.assert_array_equal(got.view(np.uint8), a.view(np.uint8), d.name)
        for other in (d for d in DTYPES.values() if d.bits != old.bits):
            with pytest.raises(tg.ShapeError, match=f"requires a dtype of {old.bits} bits"):
                tg.bitcast(x, other.name)
    with pytest.raises(tg.ShapeError, match="requires no floats of 16 bits"):
        tg.bitcast(tg.input("x", 5, dtype="int16"), "float16")
    with pytest.raises(tg.ShapeError, match="other than bool"):
        tg.bitcast(tg.input("x", 5, dtype="uint8"), "bool")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_symbols_mean_what_they_mean_in_numpy(dtype):
    """Bits of integers, truth values of bool; a number or an array may be on the left."""
    a = np.array([0, 1, 1, 0, 1]).astype(dtype) * np.array(1 if dtype == "bool" else 5, dtype)
    b = np.array([0, 0, 1, 1, 1]).astype(dtype)
    x = tg.input("x", 5, dtype=dtype)

    def written(v):
        found = [v & b, b & v, v | b, b | v, v ^ b, b ^ v, ~v]
        one = True if dtype == "bool" else 3
        found += [v & one, one | v, one ^ v]
        if dtype != "bool":
            found += [v << b, b << v, v >> b, 99 >> v, 1 << v, *divmod(v, 3), *divmod(9, v + 1)]
        return found

    for got, want in zip(tg.compile([x], written(x))(a), written(a), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("symbol", ["&", "|", "^", "<<", ">>"])
def test_floats_have_no_bits(symbol):
    x = tg.input("x", 3)
    with pytest.raises(tg.ShapeError, match=r"requires (bool|integers)"):
        eval(f"x {symbol} x", {"x": x})  # our own text
