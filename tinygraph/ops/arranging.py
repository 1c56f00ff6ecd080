"""Arrays rearranged and made: axes moved, elements repeated or rolled, triangles, ramps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import dtype_name, whole, wholes
from ..graph.dtype import is_float
from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from ..graph.size import Size
from .gather import take
from .indexing import concat, getitem
from .logic import cast, equal, less_equal, where
from .source import axis_index, full, ramp
from .view import SLICE, broadcast_to, normalize_axis, reshape, transpose

__all__ = (
    "arange", "diagonal", "eye", "full_like", "linspace", "meshgrid", "moveaxis", "pixel_shuffle",
    "repeat", "roll",
    "swapaxes", "tile", "tril", "triu",
)  # fmt: skip


def swapaxes(x: Any, axis1: int, axis2: int) -> Node:
    """x with two axes in each other's place.

    Args:
        axis1, axis2: those that change places.

    Example:
        >>> import tinygraph as tg
        >>> tg.swapaxes(tg.zeros((2, 3, 4)), 0, 2).shape
        (4, 3, 2)
    """
    (x,) = promote("swapaxes", (x,))
    order = list(range(x.ndim))
    a, b = (normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order[a], order[b] = b, a
    return transpose(x, order)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Node:
    """x with axes at new positions; the others keep their order.

    Args:
        x: any array.
        source: the axis, or several, as they are numbered in x.
        destination: where each is in the result.

    Raises:
        ShapeError: there are more sources than destinations, or fewer.

    Example:
        >>> import tinygraph as tg
        >>> tg.moveaxis(tg.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    (x,) = promote("moveaxis", (x,))
    froms, tos = (
        [normalize_axis("moveaxis", a, x.ndim) for a in wholes("moveaxis", axes)]
        for axes in (source, destination)
    )
    if len(froms) != len(tos) or len(set(froms)) != len(froms) or len(set(tos)) != len(tos):
        raise ShapeError(
            f"moveaxis requires as many different destinations as sources, "
            f"got {source} and {destination}"
        )
    order = [a for a in range(x.ndim) if a not in froms]
    for to, axis in sorted(zip(tos, froms, strict=True)):
        order.insert(to, axis)
    return transpose(x, order)


def tile(x: Any, reps: int | Sequence[int]) -> Node:
    """x as a whole, so many times along each axis.

    Args:
        x: any array.
        reps: a number for each axis, or for the last ones; further ones make new axes in front.

    Raises:
        ShapeError: a count is negative.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.tile(tg.constant([1, 2]), (2, 2)))
        array([[1, 2, 1, 2],
               [1, 2, 1, 2]])
    """
    (x,) = promote("tile", (x,))
    times = wholes("tile reps", reps)
    rank = max(len(times), x.ndim)
    times, shape = (1,) * (rank - len(times)) + times, (1,) * (rank - x.ndim) + x.shape
    if any(k < 0 for k in times):
        raise ShapeError(f"tile requires reps from 0 up, got {reps}")
    apart = reshape(x, tuple(k for n in shape for k in (1, n)))
    spread = broadcast_to(
        apart, tuple(k for t, n in zip(times, shape, strict=True) for k in (t, n))
    )
    return reshape(spread, tuple(t * n for t, n in zip(times, shape, strict=True)))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Node:
    """Each element of x so many times in a row.

    Args:
        x: any array.
        repeats: a number, or one for each place along ``axis``.
        axis: the axis that becomes longer; None: x is made flat first.

    Raises:
        ShapeError: a count is negative, or counts do not fit the axis.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.repeat(tg.constant([1, 2]), 2))
        array([1, 1, 2, 2])
    """
    (x,) = promote("repeat", (x,))
    if axis is None:
        return repeat(reshape(x, (x.type.size,)), repeats, 0)
    at = normalize_axis("repeat", axis, x.ndim)
    n, times = x.shape[at], wholes("repeat repeats", repeats)
    if any(k < 0 for k in times):
        raise ShapeError(f"repeat requires repeats from 0 up, got {repeats}")
    if np.ndim(repeats) and len(times) > 1:
        if isinstance(n, Size) or len(times) != n:
            raise ShapeError(f"repeat requires a number for each of {n} places, got {len(times)}")
        return take(x, np.repeat(np.arange(n), times), at)
    shape = (*x.shape[: at + 1], times[0], *x.shape[at + 1 :])
    spread = broadcast_to(reshape(x, (*x.shape[: at + 1], 1, *x.shape[at + 1 :])), shape)
    return reshape(spread, (*x.shape[:at], n * times[0], *x.shape[at + 1 :]))


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Node:
    """x with elements moved on by ``shift``; those that leave at the end come in at the beginning.

    Args:
        x: any array.
        shift: a number of places, or one for each axis; negative ones move back.
        axis: the axis, or several; None: x is rolled as if it were flat.

    Raises:
        ShapeError: shifts and axes are not equally many.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.roll(tg.constant([1, 2, 3]), 1))
        array([3, 1, 2])
    """
    (x,) = promote("roll", (x,))
    if axis is None:
        return reshape(roll(reshape(x, (x.type.size,)), shift, 0), x.shape)
    axes, by = wholes("roll axis", axis), wholes("roll shift", shift)
    if len(by) not in (1, len(axes)):
        raise ShapeError(f"roll requires a shift for each axis, got {shift} for {axis}")
    for a, k in zip(axes, by * (len(axes) if len(by) == 1 else 1), strict=True):
        at = normalize_axis("roll", a, x.ndim)
        n = x.shape[at]
        if isinstance(n, Size):
            raise ShapeError(f"roll requires an axis whose size is known, got {x.type}, axis {a}")
        if n and k % n:
            before = (slice(None),) * at
            cut = n - k % n
            parts = [getitem(x, (*before, s)) for s in (slice(cut, None), slice(None, cut))]
            x = concat(parts, at)
    return x


def _offset(name: str, x: Node) -> Node:
    """How far right of the diagonal each place of the last two axes is, [n, m]."""
    if x.ndim < 2:
        raise ShapeError(f"{name} requires a matrix, or an array of them, got {x.type}")
    shape = x.shape[-2:]
    return axis_index(shape, 1) - axis_index(shape, 0)


def pixel_shuffle(x: Any, factor: int) -> Node:
    """[N, C r^2, H, W] -> [N, C, H r, W r]: channels become pixels (Shi et al., CVPR 2016).

    Args:
        x: images; r is ``factor``.

    Raises:
        ShapeError: the channels are not a multiple of r^2.

    Example:
        >>> tg.pixel_shuffle(tg.zeros((1, 12, 4, 4)), 2).shape
        (1, 3, 8, 8)
    """
    (x,) = promote("pixel_shuffle", (x,))
    r = whole("pixel_shuffle factor", factor)
    if x.ndim != 4 or r < 1 or x.shape[1] % (r * r):
        raise ShapeError(f"pixel_shuffle requires x[N, C * {r} * {r}, H, W], got {x.type}")
    n, c, h, w = x.shape
    apart = transpose(reshape(x, (n, c // (r * r), r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(apart, (n, c // (r * r), h * r, w * r))


def tril(x: Any, k: int = 0) -> Node:
    """x[..., n, m] with zeros above the diagonal, or above the one ``k`` to its right.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.tril(tg.ones((2, 2))))
        array([[1., 0.],
               [1., 1.]], dtype=float32)
    """
    (x,) = promote("tril", (x,))
    return where(less_equal(_offset("tril", x), whole("tril k", k)), x, 0)


def triu(x: Any, k: int = 0) -> Node:
    """x[..., n, m] with zeros below the diagonal, or below the one ``k`` to its right.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.triu(tg.ones((2, 2)), 1))
        array([[0., 1.],
               [0., 0.]], dtype=float32)
    """
    (x,) = promote("triu", (x,))
    return where(less_equal(whole("triu k", k), _offset("triu", x)), x, 0)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """The elements x[i, i + offset] of two axes, along a new last axis that replaces them.

    Args:
        x: at least two axes; ``axis1`` and ``axis2`` are those of the matrices.

    Raises:
        ShapeError: there are less than two axes.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.diagonal(tg.constant([[1, 2], [3, 4]])))
        array([1, 4])
    """
    (x,) = promote("diagonal", (x,))
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = x.shape[-2:]
    if isinstance(n, Size) or isinstance(m, Size):
        raise ShapeError(f"diagonal requires axes whose sizes are known, got {x.type}")
    first = offset if offset >= 0 else -offset * m
    count = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
    flat = reshape(x, (*x.shape[:-2], n * m))
    if not count:
        return getitem(flat, (..., slice(0, 0)))
    start = (0,) * (x.ndim - 2) + (first,)
    step = (1,) * (x.ndim - 2) + (m + 1 if count > 1 else 1,)
    return SLICE(flat, start=start, size=(*x.shape[:-2], count), step=step)


# -- made ------------------------------------------------------------------------------------------


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Node:
    """start, start + step, ... below stop; of one number, 0, 1, ... below it. As numpy.arange.

    Args:
        start, stop, step: numbers; a single whole number may be the open size of an axis.
        dtype: by default int32, or float32 if one of the numbers is a float; it may also stand in
            the place of ``stop``.

    Raises:
        ShapeError: the step is 0, something is no number, or the dtype cannot hold it.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.arange(1, 8, 3))
        array([1, 4, 7], dtype=int32)
    """
    if isinstance(stop, (str, type, np.dtype)) and dtype is None:  # arange(8, "float32")
        stop, dtype = None, stop
    if stop is None:
        start, stop = 0, start
    if isinstance(stop, Size):
        return ramp(stop, dtype or "int32")
    given = [
        v.item() if isinstance(v, (np.generic, np.ndarray)) else v for v in (start, stop, step)
    ]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in given) or not given[2]:
        raise ShapeError(f"arange requires numbers, and a step that is not 0, got {given}")
    floats = any(isinstance(v, float) for v in given)
    dtype = dtype_name("arange", dtype or ("float32" if floats else "int32"))
    count = max(0, math.ceil((given[1] - given[0]) / given[2]))
    if given[0] == 0 and given[2] == 1:
        return ramp(count, dtype)
    if floats and not is_float(dtype):
        raise ShapeError(f"arange requires whole numbers for {dtype}, got {given}")
    return ramp(count, dtype) * given[2] + given[0]


def linspace(start: float, stop: float, num: int = 50, *, dtype: str = "float32") -> Node:
    """``num`` numbers at equal distances from start to stop, both included.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.linspace(0, 1, 5))
        array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num = whole("linspace num", num)
    places = ramp(num, dtype)
    if num < 2:
        return places * 0 + start
    return where(equal(places, num - 1), stop, places * ((stop - start) / (num - 1)) + start)


def eye(n: int, m: int | None = None, k: int = 0, *, dtype: str = "float32") -> Node:
    """1 on the diagonal of [n, m], or on the one ``k`` to its right, 0 elsewhere; m is n if None.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.eye(2))
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    shape = (n, n if m is None else m)
    return cast(equal(axis_index(shape, 1), axis_index(shape, 0) + k), dtype)


def meshgrid(*axes: Any, indexing: str = "xy") -> tuple[Node, ...]:
    """Coordinates of a grid: for each of k vectors its value at every point.

    Args:
        axes: vectors [n], [m], ...
        indexing: 'xy': results are [m, n, ...], as images; 'ij': [n, m, ...].

    Raises:
        ShapeError: one is no vector, or the indexing is unknown.

    Example:
        >>> import tinygraph as tg
        >>> x, y = tg.meshgrid(tg.arange(3), tg.arange(2))
        >>> x.shape
        (2, 3)
    """
    nodes = [promote("meshgrid", (a,))[0] for a in axes]
    if any(n.ndim != 1 for n in nodes) or indexing not in ("xy", "ij"):
        types = ", ".join(str(n.type) for n in nodes)
        raise ShapeError(f"meshgrid requires vectors and indexing 'xy' or 'ij', got {types}")
    shape = tuple(n.shape[0] for n in nodes)
    grids = [
        broadcast_to(reshape(n, tuple(s if a == k else 1 for a, s in enumerate(shape))), shape)
        for k, n in enumerate(nodes)
    ]
    return tuple(swapaxes(g, 0, 1) if indexing == "xy" and len(nodes) > 1 else g for g in grids)


def full_like(x: Any, value: Any) -> Node:
    """``value`` in every element, of x's shape and dtype.

    Example:
        >>> tg.run(tg.full_like(tg.zeros((2,)), 5.0))
        array([5., 5.], dtype=float32)
    """
    (x,) = promote("full_like", (x,))
    return full(x.shape, value, x.dtype)
