"""Order along an axis: sort, argsort, topk."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.convert import flag, whole
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, define, input, promote
from ..graph.types import Type
from .along import TAKE_ALONG
from .indexing import getitem
from .logic import cast
from .sorting_template import sorted_indices
from .templates import row_parts
from .view import normalize_axis

__all__ = ("argsort", "sort", "topk")


def _infer_argsort(x: Type, *, axis: int, count: int, descending: bool) -> Type:
    if x.dtype == "bool" or not 0 <= axis < len(x.shape) or not 0 <= count <= x.shape[axis]:
        raise ShapeError(
            f"argsort requires numbers, and at most as many of an axis as there are, "
            f"got {x}, axis {axis} and {count}"
        )
    return Type((*x.shape[:axis], count, *x.shape[axis + 1 :]), "int32")


def _ref_argsort(x: Any, *, axis: int, count: int, descending: bool) -> np.ndarray:
    if descending:  # equal elements keep their order in this direction, too
        found = x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable")
        found = np.flip(found, axis)
    else:
        found = np.argsort(x, axis, kind="stable")
    return np.take(found, np.arange(count), axis).astype(np.int32)


# The places of the first ``count`` elements along ``axis`` in order; of equal ones the first comes
# first, and NaN is the greatest.
ARGSORT: Op = define(
    "argsort",
    Kind.OPAQUE,
    infer=_infer_argsort,
    ref=_ref_argsort,
    template=sorted_indices,
    parts=row_parts,
    no_gradient="places do not change with the values; what is at them does",
    cost=lambda out, x, **_: x.size * max(1, int(out.shape[0]).bit_length()),
    example=lambda: argsort(input("x", 4, 7), 1),
)


def _ordered(name: str, x: Any, axis: int) -> tuple[Node, int]:
    (x,) = promote(name, (x,))
    return x, normalize_axis(name, axis, x.ndim)


def _places(x: Node, axis: int, count: Any, descending: bool) -> Node:
    keys = cast(x, "uint8") if x.dtype == "bool" else x
    down = flag("the direction of an order", descending)
    return ARGSORT(keys, axis=axis, count=count, descending=down)


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """The int32 places of x's elements along ``axis`` in ascending order.

    The order is stable, in both directions: of equal elements the first comes first. NaN is
    greater than everything, as in NumPy.

    Args:
        x: numbers or bools with at least one axis.
        axis: the axis that is sorted, by default the last.
        descending: the greatest comes first.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.argsort(tg.constant([0.5, -1.0, 2.0])))
        array([1, 0, 2], dtype=int32)
    """
    x, axis = _ordered("argsort", x, axis)
    return _places(x, axis, x.shape[axis], descending)


def sort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """x in ascending order along ``axis``; see ``argsort``. Gradients go to where elements were.

    Args:
        x: numbers or bools.
        axis: along which they are sorted.
        descending: the greatest first.

    Example:
        >>> tg.run(tg.sort(tg.constant([3.0, 1.0, 2.0]), descending=True))
        array([3., 2., 1.], dtype=float32)
    """
    x, axis = _ordered("sort", x, axis)
    return TAKE_ALONG(x, _places(x, axis, x.shape[axis], descending), axis=axis)


FEW = 8  # a selection of less than an 8th is made without sorting the rest
MOST = 128


def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """The k greatest elements along ``axis``, the greatest first, and their int32 places.

    Args:
        x: numbers or bools with at least one axis.
        k: how many, from 0 to the size of the axis.
        axis: the axis that they are chosen along, by default the last.
        largest: False for the k least, the least first.

    Returns (values, places), both with size k along ``axis``.

    Raises:
        ShapeError: there are fewer than k.

    Example:
        >>> import tinygraph as tg
        >>> values, places = tg.topk(tg.constant([0.5, -1.0, 2.0]), 2)
        >>> tg.run(values)
        array([2. , 0.5], dtype=float32)
    """
    x, axis = _ordered("topk", x, axis)
    k, n = whole("topk k", k), x.shape[axis]
    if not 0 <= k <= n:
        raise ShapeError(f"topk requires k in 0 to {n}, the size of axis {axis}, got {k}")
    chosen = k if k * FEW <= n and k <= MOST else n
    found = _places(x, axis, chosen, largest)
    if chosen != k:
        found = getitem(found, (slice(None),) * axis + (slice(k),))
    return TAKE_ALONG(x, found, axis=axis), found
