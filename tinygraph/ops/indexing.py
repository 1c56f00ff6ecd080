"""Shapes as users write them: slicing, joining and splitting, padding, new and dropped axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import numbers, whole, wholes
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, Stacked, constant, define, input, promote, same_dtype
from ..graph.size import Size
from ..graph.types import Type
from .arithmetic import clip
from .gather import places, take
from .logic import cast
from .view import (
    FLIP,
    PAD,
    SLICE,
    broadcast_to,
    free,
    normalize_axes,
    normalize_axis,
    reshape,
    transpose,
)

__all__ = ("concat", "expand_dims", "flatten", "getitem", "pad", "split", "squeeze", "stack")


def getitem(x: Node, key: Any) -> Node:
    """x[key] as in NumPy: integers, slices, None, ..., lists and arrays of indices, and masks.

    A mask is an array of bool: how many it chooses must be known. Nodes are indices as well, which
    mean what they mean to ``take``. An axis whose size is open takes ranges with steps of 1; a
    call with fewer elements than they need is refused.

    Example:
        >>> x = tg.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        >>> tg.run(x[:, ::-1])
        array([[3., 2., 1.],
               [6., 5., 4.]], dtype=float32)
    """
    keys = _full_key(x, _without_masks(x, key if isinstance(key, tuple) else (key,)))
    arrays = [k for k in keys if _is_array(k)]
    y = _basic(x, [slice(None) if _is_array(k) else k for k in keys])
    if not arrays:
        return y
    kept = [k for k in keys if _is_array(k) or isinstance(k, slice) or k is None]
    axes = [axis for axis, k in enumerate(kept) if _is_array(k)]
    numbered = [i for i, k in enumerate(keys) if not isinstance(k, slice) and k is not None]
    if numbered != list(range(numbered[0], numbered[-1] + 1)):  # NumPy puts theirs first
        y = transpose(y, (*axes, *(a for a in range(y.ndim) if a not in axes)))
        axes = list(range(len(axes)))
    return _taken(y, axes[0], arrays)


def _is_array(key: Any) -> bool:
    return isinstance(key, (Node, np.ndarray, list, range))


def _without_masks(x: Node, keys: tuple[Any, ...]) -> list[Any]:
    """Masks as the indices of what they choose, one array for each of their axes."""
    found: list[Any] = []
    axis = 0
    for k in keys:
        if isinstance(k, Node) and k.dtype == "bool":
            raise ShapeError(
                f"indexing requires a mask whose values are known, got a node {k.type}: "
                "how many it chooses would only be known at the run; tg.where chooses by it"
            )
        mask = numbers("indexing", k) if _is_array(k) and not isinstance(k, Node) else None
        if mask is None or mask.dtype != bool:
            found.append(k)
            axis += k is not None and k is not Ellipsis
            continue
        if Ellipsis in [e for e in found if e is Ellipsis]:
            axis = x.ndim - mask.ndim - sum(e is not None for e in keys[len(found) + 1 :])
        if mask.shape != x.shape[axis : axis + mask.ndim] or not mask.ndim:
            raise ShapeError(
                f"indexing requires a mask of the axes that it stands for, "
                f"got {list(mask.shape)} for {x.type}"
            )
        found += np.nonzero(mask)
        axis += mask.ndim
    return found


def _taken(y: Node, axis: int, arrays: list[Any]) -> Node:
    """The elements at indices of one axis or of several from ``axis`` on, which go in step."""
    if len(arrays) == 1:
        return take(y, arrays[0], axis)
    shape = y.shape[axis : axis + len(arrays)]
    if any(isinstance(n, Size) for n in shape):
        raise ShapeError(f"indexing requires : for axes whose size is open, got {y.type}")
    nodes = [places("indexing", a, n) for a, n in zip(arrays, shape, strict=True)]
    dtype = "int64" if any(i.dtype == "int64" for i in nodes) else "int32"
    at = constant(0, dtype)
    for i, n in zip(nodes, shape, strict=True):
        at = at * n + (i if i.op.name == "constant" else cast(clip(i, 0, n - 1), dtype))
    rest = y.shape[axis + len(arrays) :]
    return take(reshape(y, (*y.shape[:axis], math.prod(shape), *rest)), at, axis)


def _basic(x: Node, keys: list[Any]) -> Node:
    """x at integers and slices, with new axes for None."""
    start, size, step, mirrored, shape = [], [], [], [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        if isinstance(n, Size):
            first, count, stride = *_of_open(k, n, axis), 1
        else:
            places = range(n)[k if isinstance(k, slice) else _integer_as_slice(k, n, axis)]
            if places.step < 0:
                mirrored.append(axis)
                places = places[::-1]
            first, count = places.start if places else 0, len(places)
            stride = places.step if count > 1 else 1
        start.append(first)
        size.append(count)
        step.append(stride)
        if isinstance(k, slice):
            shape.append(count)
        axis += 1
    whole = tuple(size) == x.shape
    y = x if whole else SLICE(x, start=tuple(start), size=tuple(size), step=tuple(step))
    return reshape(FLIP(y, axis=tuple(mirrored)) if mirrored else y, tuple(shape))


def _full_key(x: Node, keys: list[Any]) -> list[Any]:
    """One key for each axis, and None for new ones."""
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim or sum(k is Ellipsis for k in keys) > 1:
        raise ShapeError(
            f"indexing requires at most {x.ndim} indices and one ..., got {used} for {x.type}"
        )
    if Ellipsis not in [k for k in keys if k is Ellipsis]:
        keys = [*keys, Ellipsis]
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    return [*keys[:at], *[slice(None)] * (x.ndim - used), *keys[at + 1 :]]


def _of_open(k: Any, n: Size, axis: int) -> tuple[Any, Any]:
    """The first position and the count of what an index chooses of an axis of open size n, which
    is taken to be large enough; one that is not is refused when it is known.
    """

    def position(i: Any) -> Any:
        i = whole(f"indexing axis {axis}", i)
        return n + i if not isinstance(i, Size) and i < 0 else i

    if not isinstance(k, slice):
        return position(k), 1
    first = 0 if k.start is None else position(k.start)
    last = n if k.stop is None else position(k.stop)
    if k.step not in (None, 1) or not first <= last:
        raise ShapeError(
            f"indexing requires an ascending range with steps of 1 for axis {axis}, whose size {n} "
            f"is open, got {k!r}"
        )
    return first, last - first


def _integer_as_slice(k: Any, n: int, axis: int) -> slice:
    if isinstance(k, Size):
        raise ShapeError(f"indexing requires an index that is a number for axis {axis}, got {k}")
    k = whole(f"indexing axis {axis}", k)
    if not -n <= k < n:
        raise ShapeError(f"indexing requires an index in [{-n}, {n}) for axis {axis}, got {k}")
    first = int(k) % n
    return slice(first, first + 1)


def expand_dims(x: Node, axis: int) -> Node:
    """x with a new axis of size 1 at ``axis`` of the result.

    Example:
        >>> tg.expand_dims(tg.zeros((3, 4)), 1).shape
        (3, 1, 4)
    """
    at = normalize_axis("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: Node, axis: int | Sequence[int] | None = None) -> Node:
    """x without ``axis`` (one or several of size 1; by default all of size 1).

    Raises:
        ShapeError: an axis is not of size 1.

    Example:
        >>> tg.squeeze(tg.zeros((1, 3, 1))).shape
        (3,)
    """
    ones = tuple(a for a, n in enumerate(x.shape) if n == 1)
    dropped = set(ones if axis is None else normalize_axes("squeeze", axis, x.ndim))
    if any(x.shape[a] != 1 for a in dropped):
        raise ShapeError(f"squeeze requires axes of size 1, got {sorted(dropped)} of {x.type}")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in dropped))


def flatten(x: Node, start_axis: int = 1) -> Node:
    """x with all axes from ``start_axis`` on joined into one.

    Example:
        >>> tg.flatten(tg.zeros((8, 3, 4, 4))).shape
        (8, 48)
    """
    start_axis = whole("flatten start_axis", start_axis)
    return reshape(x, (*x.shape[:start_axis], math.prod(x.shape[start_axis:])))


# -- joining and splitting -------------------------------------------------------------------------


def _infer_concat(*types: Type, axis: int) -> Type:
    if not types:
        raise ShapeError("concat requires at least one node, got none")
    dtype, first = same_dtype("concat", *types), types[0].shape
    rest = {(len(t.shape), t.shape[:axis], t.shape[axis + 1 :]) for t in types}
    if not 0 <= axis < len(first) or len(rest) > 1:
        raise ShapeError(
            f"concat requires shapes that differ in axis {axis} only, "
            f"got {', '.join(map(str, types))}"
        )
    return Type((*first[:axis], sum(t.shape[axis] for t in types), *first[axis + 1 :]), dtype)


def _vjp_concat(g: Node, out: Node, *parts: Node) -> tuple[Node, ...]:
    return split(g, [p.shape[out.attr("axis")] for p in parts], out.attr("axis"))


def _stacked_concat(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    parts = (x if stacked else broadcast_to(x, (steps, *x.shape)) for x, stacked in inputs)
    return CONCAT(*parts, axis=n.attr("axis") + 1)


CONCAT: Op = define(
    "concat",
    Kind.JOIN,
    infer=_infer_concat,
    ref=lambda *arrays, axis: np.concatenate(arrays, axis),
    stacked=_stacked_concat,
    vjp=_vjp_concat,
    cost=free,
    example=lambda: concat([input("a", 2, 3), input("b", 2, 4)], 1),
)


def concat(parts: Sequence[Any], axis: int = 0) -> Node:
    """The parts one after the other along ``axis``; all other axes must be of one size.

    Raises:
        ShapeError: there are no parts, or they do not fit.

    Example:
        >>> tg.run(tg.concat([tg.zeros((2,)), tg.ones((3,))]))
        array([0., 0., 1., 1., 1.], dtype=float32)
    """
    nodes = promote("concat", tuple(parts))
    if not nodes or not nodes[0].ndim:
        raise ShapeError(f"concat requires nodes with axes, got {len(nodes)} of rank 0")
    at = normalize_axis("concat", axis, nodes[0].ndim)
    return nodes[0] if len(nodes) == 1 else CONCAT(*nodes, axis=at)


def stack(parts: Sequence[Any], axis: int = 0) -> Node:
    """Parts of one shape side by side along a new axis: n of [3, 4] give [n, 3, 4] at axis 0.

    Args:
        parts: nodes, arrays or numbers.

    Example:
        >>> tg.run(tg.stack([tg.zeros((2,)), tg.ones((2,))]))
        array([[0., 0.],
               [1., 1.]], dtype=float32)
    """
    return concat([expand_dims(p, axis) for p in promote("stack", tuple(parts))], axis)


def split(x: Node, parts: int | Sequence[int], axis: int = 0) -> tuple[Node, ...]:
    """x cut along ``axis`` into equal parts, or into parts of the given sizes.

    Raises:
        ShapeError: the parts do not fill the axis.

    Example:
        >>> [part.shape for part in tg.split(tg.zeros((10, 4)), [3, 7])]
        [(3, 4), (7, 4)]
    """
    at = normalize_axis("split", axis, x.ndim)
    n = x.shape[at]
    each = wholes("split", parts)
    if not np.ndim(parts):
        if each[0] < 1 or n % each[0]:
            raise ShapeError(f"split requires a number of parts that divides {n}, got {parts}")
        each = (n // each[0],) * each[0]
    if sum(each) != n or any(k < 0 for k in each):
        raise ShapeError(f"split requires sizes that sum to {n}, got {list(each)}")
    ends = itertools.accumulate(each)
    before = (slice(None),) * at
    return tuple(getitem(x, (*before, slice(e - k, e))) for k, e in zip(each, ends, strict=True))


# -- padding ---------------------------------------------------------------------------------------


def pad(x: Node, widths: Any, mode: str = "constant", value: float = 0) -> Node:
    """x with elements around: ``widths`` is a number, a (before, after) pair, or one for each axis.

    ``mode``: 'constant' puts ``value`` there, 'edge' repeats the outermost elements, 'reflect'
    mirrors about them.

    Raises:
        ShapeError: an unknown mode, or widths that do not fit.

    Example:
        >>> tg.run(tg.pad(tg.constant([1.0, 2.0, 3.0]), (1, 2), mode="edge"))
        array([1., 1., 2., 3., 3., 3.], dtype=float32)
    """
    pairs = _pairs(x, widths)
    if mode == "constant":
        gaps = tuple((low, high, 0) for low, high in pairs)
        return PAD(x, widths=gaps, value=value) if any(w != (0, 0, 0) for w in gaps) else x
    if mode not in ("edge", "reflect"):
        raise ShapeError(f"pad requires mode 'constant', 'edge' or 'reflect', got {mode!r}")
    for axis, (low, high) in enumerate(pairs):
        x = _pad_axis(x, axis, low, high, mode)
    return x


def _pad_axis(x: Node, axis: int, low: int, high: int, mode: str) -> Node:
    """Reads x at the places that continue it."""
    n = x.shape[axis]
    if low == high == 0:
        return x
    if min(low, high) < 0 or n == 0 or (mode == "reflect" and max(low, high) >= n):
        raise ShapeError(
            f"pad with mode {mode!r} requires widths in [0, {n}) for axis {axis}, got {(low, high)}"
        )
    places = np.arange(-low, n + high)
    inside = np.clip(places, 0, n - 1) if mode == "edge" else n - 1 - np.abs(n - 1 - np.abs(places))
    return take(x, inside, axis)


def _pairs(x: Node, widths: Any) -> list[tuple[int, int]]:
    try:
        table = np.broadcast_to(numbers("pad", widths, "int64"), (x.ndim, 2))
    except ValueError:
        raise ShapeError(
            f"pad requires a (before, after) pair for each axis of {x.type}, got {widths}"
        ) from None
    return [(int(low), int(high)) for low, high in table]
