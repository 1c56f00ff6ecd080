"""Folds over sliding windows, and the transposes that carry gradients back: sums and maxima."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Kind, Op, Read, ShapeError, define, input
from ..graph.types import Type
from .sliding import (
    Sizes,
    cost_gathered,
    cost_scattered,
    gathered,
    infer_transposed,
    infer_window,
    like,
    loops_of,
    own,
    padded,
    ref_gather,
    ref_scatter,
    scattered,
    taps_of,
)

_WINDOW: dict[str, Sizes] = {
    "kernel": (1, 1, 3, 2),
    "stride": (1, 1, 2, 1),
    "padding": (0, 0, 1, 1),
}
_SMALL: dict[str, Sizes] = _WINDOW | {"size": (2, 3, 4, 6)}
_LARGE: dict[str, Sizes] = _WINDOW | {"size": (2, 3, 7, 6)}

WINDOW_SUM: Op = define(
    "window_sum",
    Kind.REDUCE,
    infer=infer_window("window_sum"),
    ref=ref_gather(0, 0, lambda out, x, r, tap: out + x),
    loops=loops_of(gathered, 0.0),
    fold="sum",
    vjp=lambda g, y, x: (WINDOW_SUM_TRANSPOSE(g, **like(y, x.shape)),),
    cost=cost_gathered,
    example=lambda: WINDOW_SUM(input("x", 2, 3, 7, 6), **_SMALL),
)

WINDOW_SUM_TRANSPOSE: Op = define(
    "window_sum_transpose",
    Kind.REDUCE,
    infer=infer_transposed("window_sum_transpose"),
    ref=ref_scatter(lambda g, r, tap: g),
    loops=loops_of(scattered, 0.0),
    fold="sum",
    vjp=lambda c, x, g: (WINDOW_SUM(c, **like(x, g.shape)),),
    cost=cost_scattered,
    example=lambda: WINDOW_SUM_TRANSPOSE(input("g", 2, 3, 4, 6), **_LARGE),
)


# -- maxima, and which tap of a window is one ------------------------------------------------------


def index_dtype(kernel: Sizes) -> str:
    """The dtype of a tap's number; its largest number says that no tap is meant."""
    return "uint8" if math.prod(kernel) < 2**8 else "int32"


def nowhere(kernel: Sizes) -> int:
    return int(np.iinfo(index_dtype(kernel)).max)


def _ref_max_index(
    x: Any,
    y: Any,
    *,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    size: Sizes,
    dilation: Sizes = (),
) -> np.ndarray:
    out = np.full(size, nowhere(kernel), index_dtype(kernel))
    image = padded(x, -np.inf, kernel, stride, padding, size, dilation)
    for r, _, window in taps_of(kernel, stride, size, dilation):
        tap = image[window]
        hit = (tap == y) | np.isnan(tap)
        out[hit & (out == nowhere(kernel))] = r
    return out


def _infer_max_index(x: Type, y: Type, *, kernel: Sizes, **others: Sizes) -> Type:
    window = infer_window("window_max_index")(x, kernel=kernel, **others)
    if window != y:
        raise ShapeError(f"window_max_index requires the maxima {window}, got {y}")
    return Type(y.shape, index_dtype(kernel))


def _infer_unpool(g: Type, index: Type, *, kernel: Sizes, **window: Sizes) -> Type:
    wanted = Type(g.shape, index_dtype(kernel))
    if index != wanted:
        raise ShapeError(f"window_unpool requires indices {wanted}, got {index}")
    return infer_transposed("window_unpool")(g, kernel=kernel, **window)


def _infer_pick(x: Type, index: Type, *, kernel: Sizes, size: Sizes, **window: Sizes) -> Type:
    wanted = Type(tuple(size), index_dtype(kernel))
    if index != wanted:
        raise ShapeError(f"window_pick requires indices {wanted}, got {index}")
    return infer_window("window_pick")(x, kernel=kernel, size=size, **window)


def _expr_max_index(*, kernel: Sizes, **_: Sizes) -> str:
    return f"K({{r}}) if {{0}} == {{1}} or {{0}} != {{0}} else K({nowhere(kernel)})"


def _expr_picked(*, kernel: Sizes, **_: Sizes) -> str:
    """The expression that adds the first input to the tap that the second one names."""
    return f"{{0}} if {{1}} == {index_dtype(kernel)}({{r}}) else K(0)"


def _vjp_max(g: Node, y: Node, x: Node) -> tuple[Node]:
    """All to the first maximum of each window, as in PyTorch; NaN counts as the maximum."""
    index = WINDOW_MAX_INDEX(x, y, **like(y, y.shape))
    return (WINDOW_UNPOOL(g, index, **like(y, x.shape)),)


def _ref_max(x: Any, **window: Sizes) -> np.ndarray:
    least = DTYPES[x.dtype.name].least
    return ref_gather(least, least, lambda out, x, r, tap: np.maximum(out, x))(x, **window)


WINDOW_MAX: Op = define(
    "window_max",
    Kind.REDUCE,
    infer=infer_window("window_max", integers=True),
    ref=_ref_max,
    loops=lambda y, x, **window: loops_of(gathered, DTYPES[x.dtype].least)(y, x, **window),
    fold="max",
    vjp=_vjp_max,
    cost=cost_gathered,
    example=lambda: WINDOW_MAX(input("x", 2, 3, 7, 6), **_SMALL),
)

# Which tap of each window, counted in scan order, is the first that equals the maximum y or is NaN.
WINDOW_MAX_INDEX: Op = define(
    "window_max_index",
    Kind.REDUCE,
    infer=_infer_max_index,
    ref=_ref_max_index,
    expr=_expr_max_index,
    loops=loops_of(gathered, -math.inf, own),
    fold="min",
    vjp=lambda g, index, x, y: (None, None),
    cost=cost_gathered,
    example=lambda: _example_index(),
)

# Element i of the result is the sum of g over the windows whose index names i.
WINDOW_UNPOOL: Op = define(
    "window_unpool",
    Kind.REDUCE,
    infer=_infer_unpool,
    ref=ref_scatter(lambda g, r, tap, index: np.where(index == r, g, 0)),
    expr=_expr_picked,
    loops=loops_of(scattered, 0.0, lambda kernel, indices: Read(indices, nowhere(kernel))),
    fold="sum",
    vjp=lambda c, x, g, index: (WINDOW_PICK(c, index, **like(x, g.shape)), None),
    cost=cost_scattered,
    example=lambda: WINDOW_UNPOOL(
        input("g", 2, 3, 4, 6), input("index", 2, 3, 4, 6, dtype="uint8"), **_LARGE
    ),
)

# The element of each window that its index names.
WINDOW_PICK: Op = define(
    "window_pick",
    Kind.REDUCE,
    infer=_infer_pick,
    ref=ref_gather(0, 0, lambda out, x, r, tap, index: out + np.where(index == r, x, 0)),
    expr=_expr_picked,
    loops=loops_of(gathered, 0.0, own),
    fold="sum",
    vjp=lambda g, y, x, index: (WINDOW_UNPOOL(g, index, **like(y, x.shape)), None),
    cost=cost_gathered,
    example=lambda: WINDOW_PICK(
        input("x", 2, 3, 7, 6), input("index", 2, 3, 4, 6, dtype="uint8"), **_SMALL
    ),
)


def _example_index() -> Node:
    x = input("x", 2, 3, 7, 6)
    return WINDOW_MAX_INDEX(x, WINDOW_MAX(x, **_SMALL), **_SMALL)
