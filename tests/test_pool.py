"""Pooling of integers and with dilation; transposed convolutions' output padding."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph.autodiff import check_grad
from tinygraph.graph.interpret import run


def dilated(
    a: np.ndarray, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> np.ndarray:
    """By the definition, window by window."""
    span, size = dilation * (kernel - 1) + 1, a.shape[2]
    room = size + 2 * padding - span
    count = (room + (stride - 1) * ceil_mode) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    low = -np.inf if a.dtype.kind == "f" else np.iinfo(a.dtype).min
    wide = np.pad(a, [(0, 0), (0, 0), (padding, 99), (padding, 99)], constant_values=low)
    out = np.empty((*a.shape[:2], count, count), a.dtype)
    for i in range(count):
        for j in range(count):
            y, x = i * stride, j * stride
            taps = wide[:, :, y : y + span : dilation, x : x + span : dilation]
            out[:, :, i, j] = taps.max((2, 3))
    return out


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(2, 1, 0, 1), (2, 1, 0, 2), (3, 2, 1, 2), (2, 3, 1, 3), (3, 1, 0, 3), (1, 2, 0, 2)],
)
def test_max_pooling_with_dilation(
    kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> None:
    a = np.random.default_rng(0).permutation(2 * 9 * 9).reshape(1, 2, 9, 9).astype("float32")
    x = tg.input("x", *a.shape)
    y = tg.max_pool2d(x, kernel, stride, padding, ceil_mode, dilation)
    for got in (run(graph_of(y), a)[0], run_python(graph_of(y), a)[0]):
        np.testing.assert_array_equal(got, dilated(a, kernel, stride, padding, dilation, ceil_mode))
    check_grad(lambda v: tg.max_pool2d(v, kernel, stride, padding, ceil_mode, dilation), a)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32"])
def test_max_pooling_of_integers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    a = rng.integers(limits.min, limits.max, (1, 2, 6, 6), dtype, endpoint=True)
    x = tg.input("x", *a.shape, dtype=dtype)
    y = tg.max_pool2d(x, 3, 2, 1)
    assert y.dtype == dtype
    for got in (run(graph_of(y), a)[0], run_python(graph_of(y), a)[0]):
        np.testing.assert_array_equal(got, dilated(a, 3, 2, 1, 1, False))


def test_what_pooling_refuses() -> None:
    x = tg.input("x", 1, 1, 6, 6)
    for options in ({"dilation": 0}, {"dilation": 9}, {"dilation": 2, "padding": 3}):
        with pytest.raises(tg.ShapeError, match="max_pool2d requires"):
            tg.max_pool2d(x, 2, **options)
    with pytest.raises(tg.ShapeError, match="32 bits at most"):
        tg.max_pool2d(tg.input("x", 1, 1, 4, 4, dtype="int64"), 2)


@pytest.mark.parametrize(
    ("stride", "dilation", "padding", "extra"),
    [(2, 1, 1, 1), (1, 3, 0, 2), (1, 3, 1, 2), (1, 3, 3, 2), (2, 4, 1, 3), (2, 4, 5, 2)],
)
def test_output_padding(stride: int, dilation: int, padding: int, extra: int) -> None:
    """As PyTorch takes it: less than the stride or the dilation. Rows of the full convolution."""
    rng = np.random.default_rng(0)
    a, w = (rng.standard_normal(s).astype("float32") for s in ((1, 2, 5, 5), (2, 3, 3, 3)))
    x, v = tg.input("x", *a.shape), tg.input("w", *w.shape)
    y = tg.conv_transpose2d(
        x, v, stride=stride, padding=padding, output_padding=extra, dilation=dilation
    )
    span = (5 - 1) * stride + dilation * 2 + 1
    full = np.zeros((1, 3, span + 99, span + 99), "float32")
    for i in range(5):
        for j in range(5):
            for k in range(3):
                for m in range(3):
                    at = i * stride + k * dilation, j * stride + m * dilation
                    full[:, :, at[0], at[1]] += a[:, :, i, j] @ w[:, :, k, m]
    size = span - 2 * padding + extra
    want = full[:, :, padding : padding + size, padding : padding + size]
    (got,) = run(graph_of(y), a, w)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_output_padding_beyond_stride_and_dilation_is_refused() -> None:
    x, w = tg.input("x", 1, 2, 5, 5), tg.input("w", 2, 3, 3, 3)
    with pytest.raises(tg.ShapeError, match="below stride or dilation"):
        tg.conv_transpose2d(x, w, stride=2, dilation=3, output_padding=3)
