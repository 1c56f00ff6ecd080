"""Along one axis, element by element: reads and writes at places that are data, recurrences.

``take`` and ``scatter_add`` move whole slices; here each element has an index of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.convert import flag, numbers
from ..graph.dtype import DTYPES, is_float, is_integer
from ..graph.ir import Node
from ..graph.op import (
    Index,
    Kind,
    Loops,
    Op,
    Read,
    ShapeError,
    constant,
    define,
    input,
    promote,
    same_dtype,
)
from ..graph.types import Type
from .arithmetic import div, mul
from .gather import places
from .logic import cast, equal, where
from .source import axis_index, full, zeros_like
from .templates import recurrence, row_parts, scattered
from .view import PAD, broadcast_to, free, normalize_axis

__all__ = ("cumprod", "linear_recurrence", "scatter", "take_along_axis")

REDUCTIONS = {
    "set": None,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _infer_take_along(x: Type, indices: Type, *, axis: int) -> Type:
    _check_indices("take_along_axis", x, indices, axis)
    if x.shape[axis] == 0 and indices.size:
        raise ShapeError(f"take_along_axis requires an axis that is not empty, got {x}")
    return Type(indices.shape, x.dtype)


def _check_indices(name: str, x: Type, indices: Type, axis: int) -> None:
    fits = len(indices.shape) == len(x.shape) and 0 <= axis < len(x.shape)
    pairs = enumerate(zip(indices.shape, x.shape, strict=False))
    if (
        not is_integer(indices.dtype)
        or not fits
        or any(isinstance(n, int) and k > n for a, (k, n) in pairs if a != axis)
    ):
        raise ShapeError(
            f"{name} requires integer indices of {len(x.shape)} axes, none but axis {axis} longer "
            f"than that of {x}, got {indices}"
        )


def _grid(x: np.ndarray, indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The index of each element along every axis of x, as NumPy's indexing takes them."""
    found: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    found[axis] = np.clip(indices, 0, x.shape[axis] - 1)
    return tuple(found)


def _loops_take_along(out: Type, x: Type, indices: Type, *, axis: int) -> Loops:
    same = tuple(Index(terms=((a, 1),)) for a in range(len(x.shape)))
    there = (*same[:axis], Index(), *same[axis + 1 :])
    return Loops((), (Read(there, gather=((axis, 1),)), Read(same)))


# Element by element, x where the index says along ``axis``; indices mean what they mean to take.
TAKE_ALONG: Op = define(
    "take_along_axis",
    Kind.VIEW,
    infer=_infer_take_along,
    ref=lambda x, indices, *, axis: x[_grid(x, indices, axis)],
    loops=_loops_take_along,
    vjp=lambda g, out, x, indices: (
        SCATTER(zeros_like(x), indices, g, axis=out.attr("axis"), reduce="add"),
        None,
    ),
    cost=free,
    example=lambda: take_along_axis(input("x", 4, 5, 3), input("i", 4, 2, 3, dtype="int32"), 1),
)


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Node:
    """x at ``indices`` along ``axis``, one index for each element of the result, as in NumPy.

    ``tg.take_along_axis(x, tg.argsort(x, 1), 1)`` is x sorted.

    Args:
        x: any array [..., n, ...].
        indices: integers of x's rank; axes other than ``axis`` have x's size or 1. They mean what
            they mean to ``take``: numbers count from the end where they are negative, a node's
            values are kept within 0 to n - 1.
        axis: the axis of n.

    Raises:
        ShapeError: the indices are no integers, or their shape does not fit.

    Example:
        >>> x = tg.constant([[3.0, 1.0, 2.0]])
        >>> tg.run(tg.take_along_axis(x, tg.argsort(x, 1), 1))
        array([[1., 2., 3.]], dtype=float32)
    """
    (x,) = promote("take_along_axis", (x,))
    axis = normalize_axis("take_along_axis", axis, x.ndim)
    found = places("take_along_axis", indices, x.shape[axis])
    if found.ndim == x.ndim:
        shape = (*x.shape[:axis], found.shape[axis], *x.shape[axis + 1 :])
        found = broadcast_to(found, shape)
    return TAKE_ALONG(x, found, axis=axis)


# -- scatter ---------------------------------------------------------------------------------------


def _infer_scatter(x: Type, indices: Type, updates: Type, *, axis: int, reduce: str) -> Type:
    _check_indices("scatter", x, indices, axis)
    if reduce not in REDUCTIONS:
        raise ShapeError(f"scatter requires reduce of {', '.join(REDUCTIONS)}, got {reduce!r}")
    same_dtype("scatter", x, updates)
    if updates.shape != indices.shape or (x.shape[axis] == 0 and indices.size):
        raise ShapeError(
            f"scatter requires an update for each index and an axis that is not empty, "
            f"got {x}, indices {indices} and updates {updates}"
        )
    if x.dtype == "bool" and reduce != "set":
        raise ShapeError(f"scatter with reduce={reduce!r} requires numbers, got bool")
    return x


def _ref_scatter(x: Any, indices: Any, updates: Any, *, axis: int, reduce: str) -> np.ndarray:
    """In the order of the indices along the axis: the last one wins, sums have one order."""
    out, fold = np.array(x), REDUCTIONS[reduce]
    lanes, rows, values = (np.moveaxis(a, axis, 0) for a in (out, indices, updates))
    for index, value in zip(rows, values, strict=True):
        at = _grid(lanes, index[None], 0)
        if fold is None:
            lanes[at] = value[None]
        else:
            lanes[at] = fold(lanes[at], value[None])
    return out


def _vjp_scatter(g: Node, out: Node, x: Node, indices: Node, u: Node) -> tuple[Node | None, ...]:
    axis, reduce = out.attr("axis"), out.attr("reduce")
    there = TAKE_ALONG(g, indices, axis=axis)
    if reduce == "add":
        return g, None, there
    if reduce == "set":
        order = axis_index(u.shape, axis)
        last = SCATTER(full(x.shape, -1, "int32"), indices, order, axis=axis, reduce="set")
        wins = equal(TAKE_ALONG(last, indices, axis=axis), order)
        return where(equal(last, -1), g, 0), None, where(wins, there, 0)
    if reduce == "mul":
        return _vjp_products(g, there, x, indices, u, axis)
    hits, hits_u = equal(x, out), equal(u, TAKE_ALONG(out, indices, axis=axis))
    ones = cast(hits, x.dtype)
    count = SCATTER(ones, indices, cast(hits_u, x.dtype), axis=axis, reduce="add")
    share = div(g, where(equal(count, 0), 1, count))
    return mul(share, ones), None, where(hits_u, TAKE_ALONG(share, indices, axis=axis), 0)


def _vjp_products(
    g: Node, there: Node, x: Node, indices: Node, u: Node, axis: int
) -> tuple[Node | None, ...]:
    """Each factor's gradient is the product of the others: zeros are counted, not divided by."""
    zero, zero_u = equal(x, 0), equal(u, 0)
    x1, u1 = where(zero, 1, x), where(zero_u, 1, u)
    product = SCATTER(x1, indices, u1, axis=axis, reduce="mul")
    zeros = SCATTER(
        cast(zero, "int32"), indices, cast(zero_u, "int32"), axis=axis, reduce="add"
    )

    def others(own: Node, is_zero: Node, product: Node, zeros: Node) -> Node:
        rest = where(equal(zeros, 1), product, 0)
        return where(is_zero, rest, where(equal(zeros, 0), div(product, own), 0))

    product_u, zeros_u = (TAKE_ALONG(n, indices, axis=axis) for n in (product, zeros))
    return (
        mul(g, others(x1, zero, product, zeros)),
        None,
        mul(there, others(u1, zero_u, product_u, zeros_u)),
    )


SCATTER: Op = define(
    "scatter",
    Kind.OPAQUE,
    infer=_infer_scatter,
    ref=_ref_scatter,
    template=scattered,
    parts=row_parts,
    vjp=_vjp_scatter,
    cost=lambda out, x, indices, updates, **_: updates.size,
    example=lambda: scatter(
        input("x", 4, 5), input("i", 3, 2, dtype="int32"), input("u", 3, 2), 1, "mul"
    ),
)


def scatter(x: Any, indices: Any, updates: Any, axis: int = 0, reduce: str = "set") -> Node:
    """x with ``updates`` put at ``indices`` along ``axis``, one index for each update.

    Updates come in the order of their place along the axis: of several at one place the last one
    wins, or they are added up in that order, whatever the number of threads.

    Args:
        x: any array.
        indices: integers of x's rank, with no axis but ``axis`` longer than x's; the others stay
            as they are in x beyond them. They mean what they mean to ``take``.
        updates: of x's dtype and the indices' shape, or a number.
        axis: the axis that indices are about.
        reduce: 'set', or how an update meets what is there: 'add', 'mul', 'max', 'min'.

    Raises:
        ShapeError: shapes or dtypes do not fit, or ``reduce`` is none of the five.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.scatter(tg.zeros((4,)), [1, 3, 1], [5.0, 6.0, 7.0], reduce="add"))
        array([ 0., 12.,  0.,  6.], dtype=float32)
    """
    (x,) = promote("scatter", (x,))
    axis = normalize_axis("scatter", axis, x.ndim)
    found = places("scatter", indices, x.shape[axis])
    if not isinstance(updates, Node):
        updates = broadcast_to(constant(numbers("scatter", updates, x.dtype)), found.shape)
    return SCATTER(x, found, updates, axis=axis, reduce=reduce)


# -- recurrences -----------------------------------------------------------------------------------


def _infer_recurrence(a: Type, b: Type, *, axis: int, reverse: bool) -> Type:
    if a != b or a.dtype == "bool" or not 0 <= axis < len(a.shape):
        raise ShapeError(
            f"linear_recurrence requires two arrays of numbers of one type, and one of their axes, "
            f"got {a}, {b} and axis {axis}"
        )
    return a


def _ref_recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> np.ndarray:
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    y, state = np.empty_like(b), np.zeros(b.shape[1:], b.dtype)
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        state = y[t] = a[t] * state + b[t]
    return np.moveaxis(y, 0, axis)


def _shifted(x: Node, axis: int, reverse: bool) -> Node:
    """x one step later in the order of the steps, 0 at the first."""
    low, high = (-1, 1) if reverse else (1, -1)
    widths = tuple((low, high, 0) if a == axis else (0, 0, 0) for a in range(x.ndim))
    return PAD(x, widths=widths, value=0)


def _vjp_recurrence(g: Node, out: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """The same recurrence, backwards."""
    axis, reverse = out.attr("axis"), out.attr("reverse")
    next_a = _shifted(a, axis, not reverse)
    slope = RECURRENCE(next_a, g, axis=axis, reverse=not reverse)
    return mul(slope, _shifted(out, axis, reverse)), slope


# y[t] = a[t] * y[t - 1] + b[t] along an axis, from 0: a scan that is linear (Blelloch, Prefix Sums
# and Their Applications, 1990, 1.4.1), with cumulative sums and products as its special cases.
RECURRENCE: Op = define(
    "linear_recurrence",
    Kind.OPAQUE,
    infer=_infer_recurrence,
    ref=_ref_recurrence,
    template=recurrence,
    parts=row_parts,
    vjp=_vjp_recurrence,
    cost=lambda out, a, b, **_: 2 * out.size,
    example=lambda: linear_recurrence(input("a", 4, 3), input("b", 4, 3), 0),
)


def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Node:
    """y[t] = a[t] * y[t - 1] + b[t] along ``axis``, with y before the first step 0.

    Exponential averages, state-space models and discounted returns are of this form.

    Args:
        a, b: numbers of one dtype whose shapes broadcast; the result has their shape.
        axis: the axis of the steps.
        reverse: the steps begin at the end: y[t] = a[t] * y[t + 1] + b[t].

    Raises:
        ShapeError: dtypes or shapes do not fit.

    Example:
        >>> import tinygraph as tg
        >>> rewards = tg.constant([0.0, 0.0, 1.0])
        >>> tg.run(tg.linear_recurrence(0.5, rewards, reverse=True))
        array([0.25, 0.5 , 1.  ], dtype=float32)
    """
    a, b = promote("linear_recurrence", (a, b))
    shape = (a * 0 + b).shape if a.shape != b.shape else a.shape
    axis = normalize_axis("linear_recurrence", axis, len(shape))
    reverse = flag("linear_recurrence reverse", reverse)
    return RECURRENCE(broadcast_to(a, shape), broadcast_to(b, shape), axis=axis, reverse=reverse)


def cumprod(x: Any, axis: int = 0, reverse: bool = False) -> Node:
    """Running products along ``axis``; with ``reverse`` from the end.

    The dtype is that of ``prod``. Gradients hold where elements are 0.

    Args:
        x: numbers.
        axis: along which they are multiplied.

    Example:
        >>> tg.run(tg.cumprod(tg.constant([2.0, 3.0, 4.0])))
        array([ 2.,  6., 24.], dtype=float32)
    """
    (x,) = promote("cumprod", (x,))
    axis, reverse = normalize_axis("cumprod", axis, x.ndim), flag("cumprod reverse", reverse)
    x = cast(x, DTYPES[x.dtype].accumulator)
    step = axis_index(x.shape, axis)
    first = equal(step, x.shape[axis] - 1 if reverse else 0)
    # an infinity times the 0 before it would be NaN; -0.0 is what adds nothing to any number
    nothing = -0.0 if is_float(x.dtype) else 0
    return RECURRENCE(where(first, 0, x), where(first, x, nothing), axis=axis, reverse=reverse)
