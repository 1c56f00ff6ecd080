"""Pooling of integers and with dilation; transposed convolutions' output padding."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph.autodiff import check_grad
from tinygraph.graph.interpret import run
from tinygraph.ops.window import WINDOW_MAX, WINDOW_SUM


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
    [(2, 1, 0, 1), (2, 1, 0, 2), (3, 2, 1, 2), (2, 3, 1, 3), (3, 1, 0, 3), (1, 2, 0, 2),
     (5, 1, 2, 1), (4, 1, 3, 2), (9, 1, 8, 1), (9, 2, 4, 1)],
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


@pytest.mark.parametrize("kernel, padding", [((5, 7), (2, 3)), ((9, 9), (0, 0)), ((4, 8), (3, 1))])
def test_large_windows_are_folded_axis_by_axis(
    kernel: tuple[int, int], padding: tuple[int, int]
) -> None:
    """Maxima, their places and gradients are those of windows at once, with ties and NaN, too."""
    a = np.random.default_rng(0).integers(0, 4, (2, 3, 11, 13)).astype("float32")
    a[0, 1, 5, 6] = np.nan
    x = tg.input("x", *a.shape)
    y, places = tg.max_pool(x, kernel, 1, padding, return_indices=True)
    sizes = {"kernel": (1, 1, *kernel), "stride": (1,) * 4, "padding": (0, 0, *padding)}
    whole = WINDOW_MAX(x, **sizes, size=y.shape)
    mean = tg.avg_pool2d(x, kernel, 1, padding)
    scaled = WINDOW_SUM(x, **sizes, size=y.shape) / (kernel[0] * kernel[1])
    assert sum(n.op is WINDOW_MAX for n in graph_of(y).nodes) == 2
    g = tg.input("g", *y.shape)
    pairs = [(y, whole), (mean, scaled)]
    pairs += [tuple(tg.grad(tg.sum(v * g), [x])[0] for v in pair) for pair in pairs]
    seed = np.random.default_rng(1).integers(-3, 4, y.shape).astype("float32")
    found = tg.compile([x, g], [v for pair in pairs for v in pair] + [places])(a, seed)
    for got, want in zip(found[0:8:2], found[1:8:2], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    rows = np.where(np.isnan(a), 9, a).reshape(2, 3, -1)
    picked = np.take_along_axis(rows, found[8].reshape(2, 3, -1), 2)
    assert np.array_equal(picked, np.where(np.isnan(found[0]), 9, found[0]).reshape(2, 3, -1))


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
