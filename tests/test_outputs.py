"""Outputs into arrays that the caller gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.graph.addresses import address

GIVEN = np.arange(12, dtype="float32").reshape(3, 4)


def two_outputs(out: str = "x", rows: int | None = 3) -> tg.Program:
    x, w = tg.input(out, rows, 4), tg.parameter(np.ones((4, 4), "float32"), "w")
    return tg.compile([x], [x @ w, tg.sum(x, 1)], name="both")


def test_arrays_are_filled_and_returned() -> None:
    run = two_outputs()
    want = run(GIVEN)
    arrays = np.full((3, 4), np.nan, "float32"), np.full(3, np.nan, "float32")
    got = run(GIVEN, out=arrays)
    assert got[0] is arrays[0] and got[1] is arrays[1]
    for array, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(array, other)
    kept = run(GIVEN)
    run(GIVEN + 1, out=list(arrays))
    np.testing.assert_array_equal(kept[0], want[0])  # fresh ones stay as they are
    assert (arrays[1] == want[1] + 4).all()


def test_parts_of_larger_arrays() -> None:
    """An array is wherever it begins, in each call somewhere else."""
    x = tg.input("x", 4)
    run = tg.compile([x], [x + 1])
    table = np.zeros((5, 4), "float32")
    for row in range(5):
        (got,) = run(GIVEN[row % 3], out=table[row])
        assert np.shares_memory(got, table)
    np.testing.assert_array_equal(table, GIVEN[[0, 1, 2, 0, 1]] + 1)


def test_an_open_batch_and_a_loop() -> None:
    run = two_outputs(rows=None)
    for n in (1, 3, 0):
        arrays = np.empty((n, 4), "float32"), np.empty(n, "float32")
        run(GIVEN[:n], out=arrays)
        np.testing.assert_array_equal(arrays[1], GIVEN[:n].sum(1))
    x = tg.input("x", 6, 4)
    steps = tg.compile([x], [tg.scan(lambda s, v: (s + v, s * v), tg.zeros((4,)), x)[1][0]])
    (want,), out = steps(np.ones((6, 4), "float32")), np.empty((6, 4), "float32")
    steps(np.ones((6, 4), "float32"), out=out)
    np.testing.assert_array_equal(out, want)


def test_an_input_may_be_called_out() -> None:
    for rows in (3, None):
        run = two_outputs("out", rows)
        np.testing.assert_array_equal(run(out=GIVEN)[1], GIVEN.sum(1))


def test_every_type() -> None:
    for dtype in ("float64", "int32", "int64", "uint8", "bool"):
        x = tg.input("x", 3, 4, dtype=dtype)
        out = np.empty((4, 3), dtype)
        tg.compile([x], [tg.transpose(x, (1, 0))])(GIVEN.astype(dtype), out=out)
        np.testing.assert_array_equal(out, GIVEN.astype(dtype).T)


FINE = np.empty((3, 4), "float32"), np.empty(3, "float32")
READ_ONLY = np.empty(3, "float32")
READ_ONLY.flags.writeable = False
FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "one": (FINE[0], TypeError, "out of both takes 2 arrays, got 1"),
    "three": ((*FINE, FINE[1]), TypeError, "takes 2 arrays, got 3"),
    "list": ((FINE[0], [0.0, 0.0, 0.0]), TypeError, "output 1, sum f32"),
    "shape": ((FINE[1], FINE[1]), ValueError, r"output 0, matmul .*got float32 of shape \(3,\)"),
    "dtype": ((np.empty((3, 4)), FINE[1]), ValueError, "got float64 of shape"),
    "order": ((np.empty((4, 3), "float32").T, FINE[1]), ValueError, "not contiguous"),
    "read only": ((FINE[0], READ_ONLY), ValueError, "read-only"),
    "twice": ((FINE[0], FINE[0].reshape(-1)[:3]), ValueError, "shares memory with out of output 0"),
    "input": ((GIVEN, FINE[1]), ValueError, "shares memory with input 0"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_error_for_each_fault(fault) -> None:
    out, kind, message = FAULTS[fault]
    run = two_outputs()
    with pytest.raises(kind, match=message) as raised:
        run(GIVEN, out=out)
    assert fault in ("one", "three") or "test_outputs.py:" in str(raised.value)
    np.testing.assert_array_equal(run(GIVEN)[1], GIVEN.sum(1))


def test_memory_of_a_parameter_is_refused() -> None:
    x, w = tg.input("x", 4, 4), tg.parameter(np.ones((4, 4), "float32"), "w")
    run = tg.compile([x], [x @ w])
    with pytest.raises(ValueError, match="shares memory with parameter w"):
        run(np.ones((4, 4), "float32"), out=w.state.read())


@pytest.mark.parametrize("make", [
    lambda: np.arange(5),
    lambda: np.arange(20.0).reshape(4, 5)[1:, ::2],
    lambda: np.zeros((0, 3)),
    lambda: np.frombuffer(b"abcdefgh", "uint8")[3:],
    lambda: np.arange(9).view(np.recarray),
])  # fmt: skip
def test_addresses_are_those_of_numpy(make: Callable[[], np.ndarray]) -> None:
    array = make()
    assert address(array) == array.ctypes.data
