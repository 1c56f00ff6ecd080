"""Reading and adding at places that are data: take, scatter-add, dynamic slices, running sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import flag, numbers, whole, wholes
from ..graph.dtype import DTYPES, is_integer
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
from ..graph.size import Size
from ..graph.types import Type
from .arithmetic import clip
from .logic import cast, equal, less, less_equal, logical_and, where
from .source import axis_index, ramp
from .templates import running_parts, running_sum, scattered_parts, scattered_sum
from .view import free, normalize_axis, reshape

__all__ = ("cumsum", "dynamic_slice", "dynamic_update", "one_hot", "scatter_add", "take")

# -- take and its gradient -------------------------------------------------------------------------


def _integers(name: str, indices: Type) -> None:
    if not is_integer(indices.dtype):
        raise ShapeError(f"{name} requires integer indices, got {indices}")


def index_of(name: str, x: Node) -> Node:
    """Integers in a dtype that holds every index: x's own may be too narrow for a ramp next to it.

    It is int32, or int64 where x may be beyond that.
    """
    _integers(name, x.type)
    return cast(x, "int32" if DTYPES["int32"].holds(DTYPES[x.dtype].greatest) else "int64")


def _infer_take(x: Type, indices: Type, *, axis: int) -> Type:
    _integers("take", indices)
    if not 0 <= axis < len(x.shape) or (x.shape[axis] == 0 and indices.size):
        raise ShapeError(f"take requires an axis of {x} that is not empty, got {axis}")
    return Type((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)


def _loops_take(out: Type, x: Type, indices: Type, *, axis: int) -> Loops:
    """Along ``axis`` x is read where the index says, everywhere else unchanged."""
    k = len(indices.shape)
    before = tuple(Index(terms=((a, 1),)) for a in range(axis))
    behind = tuple(Index(terms=((a + k - 1, 1),)) for a in range(axis + 1, len(x.shape)))
    places = Read(tuple(Index(terms=((axis + i, 1),)) for i in range(k)))
    return Loops((), (Read((*before, Index(), *behind), gather=((axis, 1),)), places))


TAKE: Op = define(
    "take",
    Kind.VIEW,
    infer=_infer_take,
    ref=lambda x, indices, *, axis: np.take(x, np.clip(indices, 0, x.shape[axis] - 1), axis),
    loops=_loops_take,
    vjp=lambda g, out, x, indices: (
        SCATTER_ADD(indices, g, axis=out.attr("axis"), size=x.shape[out.attr("axis")]),
        None,
    ),
    cost=free,
    example=lambda: take(input("x", 4, 5, 3), input("i", 2, 3, dtype="int32"), 1),
)


def take(x: Node, indices: Any, axis: int = 0) -> Node:
    """The slices of x at ``indices`` along ``axis``, whose axes replace it.

    Numbers and arrays count from the end where they are negative, as in NumPy, and are refused
    where they are outside. A node's values are only known at the run: there what is below 0 means
    the first slice, and what is beyond the last one means that.

    Example:
        >>> tg.run(tg.take(tg.constant([10.0, 20.0, 30.0]), [-1, 0]))
        array([30., 10.], dtype=float32)
    """
    (x,) = promote("take", (x,))
    axis = normalize_axis("take", axis, x.ndim)
    return TAKE(x, places("take", indices, x.shape[axis]), axis=axis)


def places(name: str, indices: Any, size: Any) -> Node:
    """Indices along an axis of ``size`` elements: nodes as they are, others checked."""
    if isinstance(indices, Node):
        return indices
    found = numbers(name, indices)
    found = found.astype(np.int64) if found.size == 0 else found
    if found.dtype.kind not in "iu":
        raise ShapeError(f"{name} requires integer indices, got {indices!r}")
    outside = (found < 0) if isinstance(size, Size) else (found < -size) | (found >= size)
    if outside.any():
        first = int(found[outside].flat[0])
        raise ShapeError(f"{name} requires indices in [-{size}, {size}), got {first}")
    counted = np.where(found < 0, found + (0 if isinstance(size, Size) else size), found)
    return constant(counted, "int32" if counted.max(initial=0) < 2**31 else "int64")


def _infer_scatter_add(indices: Type, updates: Type, *, axis: int, size: int) -> Type:
    _integers("scatter_add", indices)
    k = len(indices.shape)
    fits = updates.shape[axis : axis + k] == indices.shape and size >= (indices.size > 0)
    if not fits or updates.dtype == "bool":
        raise ShapeError(
            f"scatter_add requires updates with axes {indices.shape} at axis {axis}, got {updates}"
        )
    return Type((*updates.shape[:axis], size, *updates.shape[axis + k :]), updates.dtype)


def _ref_scatter_add(indices: Any, updates: Any, *, axis: int, size: int) -> np.ndarray:
    """Adds in row-major order of the indices: the order is part of the meaning."""
    before, behind = updates.shape[:axis], updates.shape[axis + indices.ndim :]
    out = np.zeros((size, *before, *behind), updates.dtype)
    rows = np.moveaxis(updates.reshape(*before, indices.size, *behind), axis, 0)
    np.add.at(out, np.clip(indices.reshape(-1), 0, size - 1), rows)
    return np.moveaxis(out, 0, axis)


# Zeros of ``size`` along ``axis``, to which every slice of the updates is added where its index
# says, in order.
SCATTER_ADD: Op = define(
    "scatter_add",
    Kind.OPAQUE,
    infer=_infer_scatter_add,
    ref=_ref_scatter_add,
    template=scattered_sum,
    parts=scattered_parts,
    vjp=lambda g, out, indices, updates: (None, TAKE(g, indices, axis=out.attr("axis"))),
    cost=lambda out, indices, updates, **_: updates.size,
    example=lambda: scatter_add(input("i", 3, dtype="int32"), input("u", 2, 3, 4), 1, 5),
)


def scatter_add(indices: Any, updates: Node, axis: int, size: int) -> Node:
    """Zeros of ``size`` along ``axis`` plus ``updates`` at ``indices``: the gradient of take.

    Indices mean what they mean to ``take``.

    Example:
        >>> tg.run(tg.scatter_add([0, 2, 0], tg.constant([1.0, 2.0, 3.0]), 0, 4))
        array([4., 0., 2., 0.], dtype=float32)
    """
    (updates,) = promote("scatter_add", (updates,))
    size = whole("scatter_add size", size)
    axis = normalize_axis("scatter_add", axis, updates.ndim + 1)
    return SCATTER_ADD(places("scatter_add", indices, size), updates, axis=axis, size=size)


def one_hot(indices: Node, size: int, dtype: str = "float32") -> Node:
    """1 at each index along a new last axis, 0 elsewhere; an index outside gives zeros.

    Args:
        indices: integers of any shape.
        size: of the new axis.
        dtype: of the result.

    Example:
        >>> tg.run(tg.one_hot(tg.constant([2, 0], "int32"), 3))
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
    """
    places = index_of("one_hot", indices)
    return cast(equal(reshape(places, (*places.shape, 1)), ramp(size, places.dtype)), dtype)


# -- slices at places that are data ----------------------------------------------------------------


def _starts(name: str, x: Node, starts: Sequence[Any], size: Sequence[int]) -> list[Node]:
    """The starts as nodes, clamped so that the slice is inside, as in XLA."""
    if len(starts) != x.ndim or len(size) != x.ndim:
        got = f"{len(starts)} starts and size {tuple(size)}"
        raise ShapeError(f"{name} requires a start and a size for each axis of {x.type}, got {got}")
    if any(not 0 < k <= n for k, n in zip(size, x.shape, strict=True)):
        raise ShapeError(f"{name} requires sizes in 1 to those of {x.type}, got {tuple(size)}")
    nodes = [
        index_of(name, s) if isinstance(s, Node) else constant(whole(name, s), "int32")
        for s in starts
    ]
    if any(s.shape != () for s in nodes):
        raise ShapeError(f"{name} requires 0-d starts, got {', '.join(str(s.type) for s in nodes)}")
    return [clip(s, 0, n - k) for s, n, k in zip(nodes, x.shape, size, strict=True)]


def dynamic_slice(x: Node, starts: Sequence[Any], size: Sequence[int]) -> Node:
    """The part of x that begins at ``starts`` (integer nodes or numbers), clamped to be inside.

    Args:
        x: any array; ``size`` is that of the part, a number for each axis.

    Example:
        >>> at = tg.constant(2, "int32")  # usually computed
        >>> tg.run(tg.dynamic_slice(tg.arange(6), [at], [3]))
        array([2, 3, 4], dtype=int32)
    """
    size = wholes("dynamic_slice", size)
    for axis, start in enumerate(_starts("dynamic_slice", x, starts, size)):
        if size[axis] != x.shape[axis]:
            x = TAKE(x, start + ramp(size[axis], start.dtype), axis=axis)
    return x


def dynamic_update(x: Node, update: Node, starts: Sequence[Any]) -> Node:
    """x with ``update`` in place of the part that begins at ``starts``, clamped to be inside.

    Example:
        >>> tg.run(tg.dynamic_update(tg.zeros((4,)), tg.ones((2,)), [1]))
        array([0., 1., 1., 0.], dtype=float32)
    """
    same_dtype("dynamic_update", x.type, update.type)
    inside: Node | None = None
    for axis, start in enumerate(_starts("dynamic_update", x, starts, update.shape)):
        n, size = x.shape[axis], update.shape[axis]
        if size == n:
            continue
        update = TAKE(update, ramp(n, start.dtype) - start, axis=axis)
        place = axis_index((n,) + (1,) * (x.ndim - axis - 1), 0, start.dtype) - start
        hit = logical_and(less_equal(0, place), less(place, size))
        inside = hit if inside is None else logical_and(inside, hit)
    return update if inside is None else where(inside, update, x)


# -- running sums ----------------------------------------------------------------------------------


def _infer_cumsum(x: Type, *, axis: int, reverse: bool) -> Type:
    if not 0 <= axis < len(x.shape) or x.dtype == "bool":
        raise ShapeError(f"cumsum requires numbers and one of their axes, got {x} and axis {axis}")
    return x


def _ref_cumsum(x: Any, *, axis: int, reverse: bool) -> np.ndarray:
    x = np.flip(x, axis) if reverse else x
    sums = np.cumsum(x, axis, x.dtype)
    return np.flip(sums, axis) if reverse else sums


CUMSUM: Op = define(
    "cumsum",
    Kind.OPAQUE,
    infer=_infer_cumsum,
    ref=_ref_cumsum,
    template=running_sum,
    parts=running_parts,
    vjp=lambda g, out, x: (CUMSUM(g, axis=out.attr("axis"), reverse=not out.attr("reverse")),),
    example=lambda: cumsum(input("x", 4, 3), 0),
)


def cumsum(x: Node, axis: int = 0, reverse: bool = False) -> Node:
    """Running sums along ``axis``, in the dtype of ``sum``; with ``reverse`` from the end.

    Args:
        x: numbers, or bools, which are counted.

    Example:
        >>> tg.run(tg.cumsum(tg.constant([1.0, 2.0, 3.0]), reverse=True))
        array([6., 5., 3.], dtype=float32)
    """
    (x,) = promote("cumsum", (x,))
    x = cast(x, DTYPES[x.dtype].accumulator)
    reverse = flag("cumsum reverse", reverse)
    return CUMSUM(x, axis=normalize_axis("cumsum", axis, x.ndim), reverse=reverse)
