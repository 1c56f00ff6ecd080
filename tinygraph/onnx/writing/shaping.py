"""Rules that write views, reductions, lookups and scatters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...graph.ir import Node
from .writer import OnnxWriter, Value, writes


@writes("reshape")
def reshape(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.reshape(x, n.inputs[0].shape, n.shape)


@writes("place")
def place(w: OnnxWriter, n: Node, x: Value) -> Value:
    """Where a value is stored is the other runtime's affair."""
    return x


@writes("transpose")
def transpose(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.transpose(x, n.attr("axes"))


@writes("broadcast_to")
def broadcast_to(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.expand(x, n.shape)


@writes("concat")
def concat(w: OnnxWriter, n: Node, *xs: Value) -> Value:
    return w.add("Concat", *xs, axis=n.attr("axis"))


@writes("slice")
def slice_(w: OnnxWriter, n: Node, x: Value) -> Value:
    start, size, step = (n.attr(k) for k in ("start", "size", "step"))
    stop = [a + (s - 1) * d + 1 for a, s, d in zip(start, size, step, strict=True)]
    stop = [t if s != 0 else a for t, s, a in zip(stop, size, start, strict=True)]
    return w.crop(x, start, stop, step, range(n.ndim))


@writes("flip")
def flip(w: OnnxWriter, n: Node, x: Value) -> Value:
    axes = n.attr("axis")
    ones = [1] * len(axes)
    return w.crop(x, [-k for k in ones], [-(2**31)] * len(axes), [-k for k in ones], axes)


@writes("pad")
def pad(w: OnnxWriter, n: Node, x: Value) -> Value:
    """Gaps between elements first, then the edges; negative edges crop."""
    before, after, gaps = zip(*n.attr("widths"), strict=True) if n.ndim else ((), (), ())
    value = w.like(n, n.attr("value"))
    inner = {axis: gap for axis, gap in enumerate(gaps) if gap}
    return w.edges(w.spread(x, n.inputs[0].shape, inner, value), before, after, value)


def computed(dtype: str) -> str:
    """The dtype in which all runtimes reduce and sort: signed, of at least 32 bits."""
    found = np.dtype(dtype)
    return dtype if found.kind in "fi" and found.itemsize >= 4 else "int64"


REDUCE = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}


@writes(*REDUCE)
def reduction(w: OnnxWriter, n: Node, x: Value) -> Value:
    axes, keep = n.attr("axis"), n.attr("keepdims")
    if not axes:
        return w.add("Identity", w.cast(x, n.inputs[0].dtype, n.dtype))
    wide = computed(n.dtype)
    x = w.cast(x, n.inputs[0].dtype, wide)
    y = w.add(REDUCE[n.op.name], x, w.sizes(axes), keepdims=int(keep))
    return w.cast(y, wide, n.dtype)


@writes("cumsum")
def cumsum(w: OnnxWriter, n: Node, x: Value) -> Value:
    wide = computed(n.dtype)
    x = w.cast(x, n.inputs[0].dtype, wide)
    axis = w.constant(n.attr("axis"), "int64")
    return w.cast(w.add("CumSum", x, axis, reverse=int(n.attr("reverse"))), wide, n.dtype)


@writes("iota")
def iota(w: OnnxWriter, n: Node) -> Value:
    """The sum over the axes of index times stride."""
    total = w.constant(0, "int64")
    for axis, (size, stride) in enumerate(zip(n.shape, n.attr("strides"), strict=True)):
        if stride:
            zero, one = w.constant(0, "int64"), w.constant(1, "int64")
            ramp = w.add("Mul", w.add("Range", zero, w.size(size), one), w.size(stride))
            shape = [1] * n.ndim
            shape[axis] = size
            total = w.add("Add", total, w.reshape(ramp, [size], shape))
    return w.cast(w.expand(total, n.shape), "int64", n.dtype)


# -- lookups: indices beyond the ends are those of the ends ----------------------------------------


def clamped(w: OnnxWriter, indices: Value, dtype: str, size: Any) -> Value:
    """Indices as int64, from 0 to the last."""
    wide = w.cast(indices, dtype, "int64")
    last = w.size(size - 1)
    return w.add("Min", w.add("Max", wide, w.constant(0, "int64")), last)


@writes("take")
def take(w: OnnxWriter, n: Node, x: Value, indices: Value) -> Value:
    axis = n.attr("axis")
    at = clamped(w, indices, n.inputs[1].dtype, n.inputs[0].shape[axis])
    return w.add("Gather", x, at, axis=axis)


@writes("take_along_axis")
def take_along_axis(w: OnnxWriter, n: Node, x: Value, indices: Value) -> Value:
    axis = n.attr("axis")
    at = clamped(w, indices, n.inputs[1].dtype, n.inputs[0].shape[axis])
    return w.add("GatherElements", x, at, axis=axis)


@writes("scatter")
def scatter(w: OnnxWriter, n: Node, x: Value, indices: Value, updates: Value) -> Value:
    axis, reduce = n.attr("axis"), n.attr("reduce")
    at = clamped(w, indices, n.inputs[1].dtype, n.shape[axis])
    how = "none" if reduce == "set" else reduce
    return w.add("ScatterElements", x, at, updates, axis=axis, reduction=how)


@writes("scatter_add")
def scatter_add(w: OnnxWriter, n: Node, indices: Value, updates: Value) -> Value:
    """Indices of any shape become one axis, repeated along the others."""
    axis, (i, u) = n.attr("axis"), n.inputs
    flat = math.prod(i.shape)
    before, after = u.shape[:axis], u.shape[axis + i.ndim :]
    shape = (*before, flat, *after)
    at = clamped(w, indices, i.dtype, n.attr("size"))
    at = w.reshape(at, i.shape, (*[1] * len(before), flat, *[1] * len(after)))
    zeros = w.expand(w.like(n, 0), n.shape)
    rows = w.reshape(updates, u.shape, shape)
    return w.add("ScatterElements", zeros, w.expand(at, shape), rows, axis=axis, reduction="add")


@writes("argsort")
def argsort(w: OnnxWriter, n: Node, x: Value) -> Value:
    """Equal elements keep their order in TopK too."""
    axis, dtype = n.attr("axis"), n.inputs[0].dtype
    wide = computed(dtype)
    _, order = w.add(
        "TopK", w.cast(x, dtype, wide), w.sizes([n.attr("count")]), outputs=2,
        axis=axis, largest=int(n.attr("descending")), sorted=1,
    )  # fmt: skip
    return w.cast(order, "int64", n.dtype)
