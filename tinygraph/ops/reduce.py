"""Folds over axes: sum, max and min, and what is built from them."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.convert import flag
from ..graph.dtype import DTYPES, is_float
from ..graph.ir import Node
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, Stacked, define, input, promote
from ..graph.size import Size
from ..graph.types import Type
from .along import cumprod
from .arithmetic import div, mul, sub
from .indexing import concat
from .logic import cast, equal, isnan, logical_not, logical_or, not_equal, where
from .math import root
from .source import axis_index, flat_index, ones
from .view import Axes, broadcast_to, normalize_axes, reshape, transpose

__all__ = (
    "all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std", "sum", "sum_to", "var"
)  # fmt: skip


def keep_shape(shape: tuple[int, ...], axis: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with size 1 along the reduced axes."""
    return tuple(1 if a in axis else n for a, n in enumerate(shape))


def _infer(name: str) -> Callable[..., Type]:
    def infer(x: Type, *, axis: tuple[int, ...], keepdims: bool) -> Type:
        if builtins.any(not 0 <= a < len(x.shape) for a in axis) or len(set(axis)) != len(axis):
            raise ShapeError(f"{name} requires different axes of {x}, got {axis}")
        flag(f"{name} keepdims", keepdims)
        if x.dtype == "bool":
            raise ShapeError(f"{name} requires numbers, got bool; convert with tg.cast")
        if name != "sum" and builtins.any(x.shape[a] == 0 for a in axis):
            raise ShapeError(f"{name} requires at least one element, got {x} over axes {axis}")
        kept = tuple(n for a, n in enumerate(x.shape) if a not in axis)
        return Type(keep_shape(x.shape, axis) if keepdims else kept, x.dtype)

    return infer


def _loops(out: Type, x: Type, *, axis: tuple[int, ...], keepdims: bool) -> Loops:
    rank = len(out.shape)
    kept = [a for a in range(len(x.shape)) if keepdims or a not in axis]

    def index(a: int) -> Index:
        return Index(terms=((rank + axis.index(a) if a in axis else kept.index(a), 1),))

    return Loops(
        tuple(x.shape[a] for a in axis), (Read(tuple(index(a) for a in range(len(x.shape)))),)
    )


def _spread(small: Node, out: Node, x: Node) -> Node:
    """A result of the reduction ``out``, once for every element of x."""
    return broadcast_to(reshape(small, keep_shape(x.shape, out.attr("axis"))), x.shape)


def _vjp_extreme(g: Node, out: Node, x: Node) -> tuple[Node]:
    """Equal extremes share the gradient evenly, as PyTorch's amax and amin do."""
    hits = cast(equal(x, reshape(out, keep_shape(x.shape, out.attr("axis")))), x.dtype)
    count = SUM(hits, axis=out.attr("axis"), keepdims=out.attr("keepdims"))
    return (mul(_spread(div(g, count), out, x), hits),)


def _stacked(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    axis = tuple(a + 1 for a in n.attr("axis"))
    return n.op(inputs[0][0], axis=axis, keepdims=n.attr("keepdims"))


def _cost(out: Type, x: Type, **_: Any) -> int:
    return x.size - out.size


SUM: Op = define(
    "sum",
    Kind.REDUCE,
    infer=_infer("sum"),
    ref=lambda x, *, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype),
    loops=_loops,
    fold="sum",
    stacked=_stacked,
    vjp=lambda g, out, x: (_spread(g, out, x),),
    cost=_cost,
    example=lambda: SUM(input("x", 4, 3, 5), axis=(0, 2), keepdims=False),
)

MAX: Op = define(
    "max",
    Kind.REDUCE,
    infer=_infer("max"),
    ref=lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    loops=_loops,
    fold="max",
    stacked=_stacked,
    vjp=_vjp_extreme,
    cost=_cost,
    example=lambda: MAX(input("x", 4, 3), axis=(1,), keepdims=False),
)

MIN: Op = define(
    "min",
    Kind.REDUCE,
    infer=_infer("min"),
    ref=lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    loops=_loops,
    fold="min",
    stacked=_stacked,
    vjp=_vjp_extreme,
    cost=_cost,
    example=lambda: MIN(input("x", 4, 3), axis=(0,), keepdims=True),
)


def sum(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """The sum over ``axis`` (one, several, or all).

    Integers below 32 bits and bool are summed in int32, unsigned ones in uint32: 300 times 200 in
    uint8 is 60000, as in NumPy, which takes 64 bits. Cast the sum back where it shall wrap.

    Args:
        x: numbers or bools.
        axis: an axis, several, or None for all.
        keepdims: axes that are summed stay, with size 1.

    Example:
        >>> tg.run(tg.sum(tg.constant([[1.0, 2.0], [3.0, 4.0]]), axis=1, keepdims=True))
        array([[3.],
               [7.]], dtype=float32)
    """
    (x,) = promote("sum", (x,))
    x = cast(x, DTYPES[x.dtype].accumulator)
    return SUM(x, axis=normalize_axes("sum", axis, x.ndim), keepdims=keepdims)


def max(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """The largest element along ``axis``; NaN if one is NaN.

    Args:
        x, axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.max(tg.constant([[1.0, 5.0], [4.0, 2.0]]), axis=0))
        array([4., 5.], dtype=float32)
    """
    (x,) = promote("max", (x,))
    if x.dtype == "bool":
        return cast(max(cast(x, "uint8"), axis, keepdims), "bool")
    return MAX(x, axis=normalize_axes("max", axis, x.ndim), keepdims=keepdims)


def min(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """The smallest element along ``axis``; NaN if one is NaN.

    Args:
        x, axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.min(tg.constant([[1.0, 5.0], [4.0, 2.0]]), axis=0))
        array([1., 2.], dtype=float32)
    """
    (x,) = promote("min", (x,))
    if x.dtype == "bool":
        return cast(min(cast(x, "uint8"), axis, keepdims), "bool")
    return MIN(x, axis=normalize_axes("min", axis, x.ndim), keepdims=keepdims)


def any(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """True where some element along ``axis`` is true (is not 0); False of no elements.

    Args:
        x, axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.any(tg.constant([[True, False], [False, False]]), axis=1))
        array([ True, False])
    """
    return not_equal(sum(cast(cast(x, "bool"), "int32"), axis, keepdims), 0)


def all(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """True where each element along ``axis`` is true (is not 0); True of no elements.

    Args:
        x, axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.all(tg.constant([[True, False], [True, True]]), axis=1))
        array([False,  True])
    """
    return logical_not(any(logical_not(cast(x, "bool")), axis, keepdims))


def prod(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """The product over ``axis``; integers below 32 bits are multiplied in 32, as in ``sum``.

    Halves are multiplied element by element, until one is left: gradients hold where elements are
    0, and the order is fixed. Over an open axis it is the last of running products.

    Args:
        x, axis, keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.prod(tg.constant([2.0, 3.0, 4.0])))
        array(24., dtype=float32)
    """
    (x,) = promote("prod", (x,))
    axes = normalize_axes("prod", axis, x.ndim)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    shape = tuple(x.shape[a] for a in kept)
    count = math.prod(x.shape[a] for a in axes)
    x = cast(x, DTYPES[x.dtype].accumulator)
    rows = reshape(transpose(x, (*axes, *kept)), (count, *shape))
    if isinstance(count, Size):
        rows, count = cumprod(concat([rows, ones((1, *shape), x.dtype)]), reverse=True), 1
    while count > 1:
        half, odd = divmod(count, 2)
        pairs = mul(rows[:half], rows[half : 2 * half])
        rows, count = (concat([pairs, rows[2 * half :]]) if odd else pairs), half + odd
    out = rows[0] if count else ones(shape, x.dtype)
    return reshape(out, keep_shape(x.shape, axes)) if keepdims else out


def mean(x: Node, axis: Axes = None, keepdims: bool = False) -> Node:
    """The mean over ``axis``: the sum divided by n.

    Args:
        x: floats.
        axis, keepdims: see ``tg.sum``.

    Raises:
        ShapeError: x is of integers.

    Example:
        >>> tg.run(tg.mean(tg.constant([[1.0, 5.0], [4.0, 2.0]]), axis=0))
        array([2.5, 3.5], dtype=float32)
    """
    (x,) = promote("mean", (x,))
    axes = normalize_axes("mean", axis, x.ndim)
    if not is_float(x.dtype):
        raise ShapeError(f"mean requires float32 or float64, got {x.dtype}; convert with tg.cast")
    return div(sum(x, axes, keepdims), math.prod(x.shape[a] for a in axes))


def var(x: Node, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Node:
    """The mean squared distance from the mean; E[x^2] - E[x]^2 would cancel in float32.

    Args:
        x: floats.
        axis, keepdims: see ``tg.sum``.
        ddof: is subtracted from the number of elements: 0 as in NumPy, 1 for a sample.

    Example:
        >>> tg.run(tg.var(tg.constant([1.0, 3.0]), ddof=1))
        array(2., dtype=float32)
    """
    (x,) = promote("var", (x,))
    axes = normalize_axes("var", axis, x.ndim)
    centred = sub(x, mean(x, axes, keepdims=True))
    n = math.prod(x.shape[a] for a in axes)
    return div(sum(mul(centred, centred), axes, keepdims), builtins.max(n - ddof, 0))


def std(x: Node, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Node:
    """The square root of ``var``; where all elements are equal, its gradient is 0.

    Args:
        x, axis, keepdims, ddof: see ``tg.var``.

    Example:
        >>> tg.run(tg.std(tg.constant([1.0, 3.0])))
        array(1., dtype=float32)
    """
    return root(var(x, axis, keepdims, ddof))


def _arg_extreme(extreme: Callable[..., Node], x: Node, axis: int | None, keepdims: bool) -> Node:
    (x,) = promote("argmax", (x,))
    x = cast(x, "uint8") if x.dtype == "bool" else x
    axes = normalize_axes("argmax", axis, x.ndim)
    place = flat_index(x.shape) if axis is None else axis_index(x.shape, axis)
    hit = equal(x, extreme(x, axes, keepdims=True))
    if is_float(x.dtype):
        hit = logical_or(hit, isnan(x))
    return min(where(hit, place, 2**31 - 1), axes, keepdims)


def argmax(x: Node, axis: int | None = None, keepdims: bool = False) -> Node:
    """The int32 index of the largest element, the first of equals; NaN counts as largest.

    Args:
        x: numbers.
        axis: an axis; None: an index into x as one row.
        keepdims: see ``tg.sum``.

    Example:
        >>> tg.run(tg.argmax(tg.constant([[1.0, 5.0], [4.0, 2.0]]), axis=1))
        array([1, 0], dtype=int32)
    """
    return _arg_extreme(max, x, axis, keepdims)


def argmin(x: Node, axis: int | None = None, keepdims: bool = False) -> Node:
    """The int32 index of the smallest element, the first of equals; NaN counts as smallest.

    Args:
        x, axis, keepdims: see ``tg.argmax``.

    Example:
        >>> tg.run(tg.argmin(tg.constant([[1.0, 5.0], [4.0, 2.0]]), axis=1))
        array([0, 1], dtype=int32)
    """
    return _arg_extreme(min, x, axis, keepdims)


def sum_to(x: Node, shape: tuple[int, ...]) -> Node:
    """Undoes broadcasting: sums x over the axes that ``shape`` lacks or has as 1.

    Example:
        >>> tg.run(tg.sum_to(tg.ones((8, 3)), (3,)))
        array([8., 8., 8.], dtype=float32)
    """
    if x.shape == tuple(shape):
        return x
    lead = x.ndim - len(shape)
    axes = (
        *range(lead),
        *(lead + a for a, n in enumerate(shape) if n == 1 and x.shape[lead + a] != 1),
    )
    return reshape(sum(x, axes), shape)
