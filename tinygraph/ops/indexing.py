"""Shapes as users write them: slicing, joining and splitting, padding, new and dropped axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, Stacked, define, input, promote, same_dtype
from ..graph.size import Size
from ..graph.types import Type
from .gather import take
from .view import FLIP, PAD, SLICE, broadcast_to, free, normalize_axis, reshape

__all__ = ("concat", "expand_dims", "flatten", "getitem", "pad", "split", "squeeze", "stack")


def getitem(x: Node, key: Any) -> Node:
    """x[key] with integers, slices, None and ...; or x[indices], a take along axis 0."""
    if isinstance(key, (Node, np.ndarray, list)):
        return take(x, key, 0)
    keys = _full_key(x, key if isinstance(key, tuple) else (key,))
    start, size, step, mirrored, shape = [], [], [], [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        if isinstance(n, Size):
            first, count, stride = _all_of(k, n, axis)
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


def _full_key(x: Node, keys: tuple[Any, ...]) -> list[Any]:
    """One key for each axis, and None for new ones."""
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim or sum(k is Ellipsis for k in keys) > 1:
        raise ShapeError(
            f"indexing requires at most {x.ndim} indices and one ..., got {used} for {x.type}"
        )
    if Ellipsis not in [k for k in keys if k is Ellipsis]:
        keys = (*keys, Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    return [*keys[:at], *[slice(None)] * (x.ndim - used), *keys[at + 1 :]]


def _all_of(k: Any, n: Size, axis: int) -> tuple[int, Size, int]:
    if k != slice(None):
        raise ShapeError(f"indexing requires : for axis {axis}, whose size {n} is open, got {k!r}")
    return 0, n, 1


def _integer_as_slice(k: Any, n: int, axis: int) -> slice:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise ShapeError(
            f"indexing requires integers, slices, None or ..., got {k!r} for axis {axis}"
        )
    if not -n <= k < n:
        raise ShapeError(f"indexing requires an index in [{-n}, {n}) for axis {axis}, got {k}")
    first = int(k) % n
    return slice(first, first + 1)


def expand_dims(x: Node, axis: int) -> Node:
    """x with a new axis of size 1 at ``axis`` of the result."""
    at = normalize_axis("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: Node, axis: int | Sequence[int] | None = None) -> Node:
    """x without ``axis`` (one or several of size 1; by default all of size 1)."""
    axes = (
        [a for a, n in enumerate(x.shape) if n == 1]
        if axis is None
        else [axis]
        if isinstance(axis, int)
        else axis
    )
    dropped = {normalize_axis("squeeze", a, x.ndim) for a in axes}
    if any(x.shape[a] != 1 for a in dropped):
        raise ShapeError(f"squeeze requires axes of size 1, got {sorted(dropped)} of {x.type}")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in dropped))


def flatten(x: Node, start_axis: int = 1) -> Node:
    """x with all axes from ``start_axis`` on joined into one."""
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
    """The parts one after the other along ``axis``; all other axes must be of one size."""
    nodes = promote("concat", tuple(parts))
    if not nodes or not nodes[0].ndim:
        raise ShapeError(f"concat requires nodes with axes, got {len(nodes)} of rank 0")
    at = normalize_axis("concat", axis, nodes[0].ndim)
    return nodes[0] if len(nodes) == 1 else CONCAT(*nodes, axis=at)


def stack(parts: Sequence[Any], axis: int = 0) -> Node:
    """Parts of one shape side by side along a new axis: n of [3, 4] give [n, 3, 4] at axis 0."""
    return concat([expand_dims(p, axis) for p in promote("stack", tuple(parts))], axis)


def split(x: Node, parts: int | Sequence[int], axis: int = 0) -> tuple[Node, ...]:
    """x cut along ``axis`` into equal parts, or into parts of the given sizes."""
    at = normalize_axis("split", axis, x.ndim)
    n = x.shape[at]
    if isinstance(parts, int):
        if parts < 1 or n % parts:
            raise ShapeError(f"split requires a number of parts that divides {n}, got {parts}")
        parts = [n // parts] * parts
    if sum(parts) != n:
        raise ShapeError(f"split requires sizes that sum to {n}, got {list(parts)}")
    ends = np.cumsum(parts)
    before = (slice(None),) * at
    return tuple(
        getitem(x, (*before, slice(int(e) - k, int(e)))) for k, e in zip(parts, ends, strict=True)
    )


# -- padding ---------------------------------------------------------------------------------------


def pad(x: Node, widths: Any, mode: str = "constant", value: float = 0) -> Node:
    """x with elements around: ``widths`` is a number, a (before, after) pair, or one for each axis.

    ``mode``: 'constant' puts ``value`` there, 'edge' repeats the outermost elements, 'reflect'
    mirrors about them.
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
        table = np.broadcast_to(np.asarray(widths, np.int64), (x.ndim, 2))
    except ValueError:
        raise ShapeError(
            f"pad requires a (before, after) pair for each axis of {x.type}, got {widths}"
        ) from None
    return [(int(low), int(high)) for low, high in table]
