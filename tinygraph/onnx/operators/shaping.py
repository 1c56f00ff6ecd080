"""Shapes: views, joining, splitting, padding, and values made of a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import ops
from ...graph.dtype import name_of, widened
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from .rules import Applied, number, rule

FAR = 10**9  # what exporters write for "to the end" is at least this


@rule("Reshape")
def reshape(c: Applied) -> Node:
    x = c.x(0)
    shape = c.attr("shape") if c.given("shape") else c.sizes(1, "a shape")
    if any(number(n) and n < -1 for n in shape):
        raise c.fault(f"requires a shape of sizes, 0 or -1, got {list(shape)}")
    if not c.attr("allowzero", 0):
        if any(number(n) and n == 0 for n in shape[x.ndim :]):
            raise c.fault(f"keeps axes that {x.type} does not have: {list(shape)}")
        shape = [x.shape[i] if number(n) and n == 0 else n for i, n in enumerate(shape)]
    return ops.reshape(x, tuple(shape))


@rule("Flatten")
def flatten(c: Applied) -> Node:
    x = c.x(0)
    axis = c.attr("axis")
    axis = axis if axis == x.ndim else c.normal_axis(axis, x.ndim)
    return ops.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@rule("Squeeze")
def squeeze(c: Applied) -> Node:
    x, axes = c.x(0), c.listed("axes", 1)
    return ops.squeeze(x, None if axes is None else c.normal_axes(axes, x.ndim))


@rule("Unsqueeze")
def unsqueeze(c: Applied) -> Node:
    x, axes = c.x(0), c.listed("axes", 1) or ()
    places = c.normal_axes(axes, x.ndim + len(axes))
    sizes = iter(x.shape)
    shape = tuple(1 if a in places else next(sizes) for a in range(x.ndim + len(places)))
    return ops.reshape(x, shape)


@rule("Transpose")
def transpose(c: Applied) -> Node:
    return ops.transpose(c.x(0), c.attr("perm"))


@rule("Concat")
def concat(c: Applied) -> Node:
    parts = c.all()
    return ops.concat(parts, c.axis(parts[0].ndim))


@rule("Split")
def split(c: Applied) -> tuple[Node, ...]:
    x = c.x(0)
    axis = c.axis(x.ndim)
    sizes = c.option("split", 1)
    if sizes is None:
        count = c.attr("num_outputs", c.outputs)
        if count != c.outputs:
            raise c.fault(f"has {c.outputs} outputs, and num_outputs says {count}")
        n = x.shape[axis]
        if not number(n):
            sizes = (n // count,) * count
        else:
            each = -(-n // count)
            sizes = [min(each, max(0, n - i * each)) for i in range(count)]
    return ops.split(x, tuple(sizes), axis)


@rule("Slice")
def a_slice(c: Applied) -> Node:
    x = c.x(0)
    starts, ends = c.option("starts", 1), c.option("ends", 2)
    axes, steps = c.option("axes", 3), c.option("steps", 4)
    axes = tuple(range(len(starts))) if axes is None else c.normal_axes(axes, x.ndim)
    steps = (1,) * len(axes) if steps is None else steps
    if not len(axes) == len(starts) == len(ends) == len(steps) or 0 in steps:
        raise c.fault(
            f"requires starts, ends and steps for each axis, got {starts}, {ends}, {steps}"
        )
    keys = [slice(None)] * x.ndim
    for a, first, last, step in zip(axes, starts, ends, steps, strict=True):
        if step == 1 and not all(map(number, (first, last))):
            x = _part(x, a, first, last)
        else:
            keys[a] = _key(c, x, a, first, last, step)
    return x[tuple(keys)]


def _key(c: Applied, x: Node, axis: int, first: Any, last: Any, step: int) -> slice:
    n = x.shape[axis]
    if number(n) and number(first) and number(last):
        low = max(-n - 1, last) if step < 0 else last
        return slice(first, None if low == -n - 1 else low, step)
    if number(first) and number(last) and step == 1:
        return slice(first, None if last >= FAR else last)
    raise c.fault(
        f"cuts axis {axis} of {x.type}, whose size is open, at {first} to {last} by steps of {step}"
    )


def _part(x: Node, axis: int, first: Any, last: Any) -> Node:
    """x between places of which at least one depends on n."""
    n = x.shape[axis]
    first = first + n if first < 0 else first
    last = last + n if last < 0 else n if number(last) and last >= FAR else min(last, n)
    return x if first == 0 and last == n else ops.split(x, (first, last - first, n - last), axis)[1]


@rule("Pad")
def pad(c: Applied) -> Node:
    x = c.x(0)
    widths = c.attr("pads") or c.option("pads", 1) or c.attr("paddings")
    value = c.attr("value") if "value" in c.node.attributes else c.option("constant_value", 2)
    value = value[0] if isinstance(value, tuple) else value
    axes = c.option("axes", 3)
    axes = tuple(range(x.ndim)) if axes is None else c.normal_axes(axes, x.ndim)
    if len(widths) != 2 * len(axes):
        raise c.fault(f"requires two widths for each of {len(axes)} axes, got {len(widths)}")
    pairs = [(0, 0)] * x.ndim
    for i, a in enumerate(axes):
        pairs[a] = (widths[i], widths[i + len(axes)])
    return padded(c, x, pairs, c.attr("mode"), 0 if value is None else value)


def padded(c: Applied, x: Node, pairs: Sequence[tuple[int, int]], mode: str, value: float) -> Node:
    """x with elements around; negative widths cut some off."""
    cut = [(min(0, low), min(0, high)) for low, high in pairs]
    more = [(max(0, low), max(0, high)) for low, high in pairs]
    if any(w != (0, 0) for w in cut):
        x = ops.pad(x, cut)
    if mode in ("constant", "edge"):
        boolean = x.dtype == "bool"
        return ops.pad(x, more, mode, bool(value) if boolean else value)
    c.require_fit(*(n + low + high for n, (low, high) in zip(x.shape, more, strict=True)))
    for axis, (low, high) in enumerate(more):
        if low or high:
            x = ops.take(x, _continued(x.shape[axis], low, high, mode), axis)
    return x


def _continued(n: int, low: int, high: int, mode: str) -> np.ndarray:
    """The elements that continue an axis of n: mirrored about its ends, or over and over."""
    places = np.arange(-low, n + high)
    if mode == "wrap":
        return places % n
    period = max(1, 2 * (n - 1))
    return np.minimum(places % period, -places % period)


@rule("Expand")
def expand(c: Applied) -> Node:
    x, shape = c.x(0), c.sizes(1, "a shape")
    rank = max(x.ndim, len(shape))
    mine = (*(1,) * (rank - x.ndim), *x.shape)
    theirs = (*(1,) * (rank - len(shape)), *shape)
    out = tuple(b if number(a) and a == 1 else a for a, b in zip(mine, theirs, strict=True))
    if any(not (number(b) and b == 1) and a != b for a, b in zip(out, theirs, strict=True)):
        raise c.fault(f"requires a shape that {x.type} broadcasts with, got {list(shape)}")
    return ops.broadcast_to(x, out)


@rule("Tile")
def tile(c: Applied) -> Node:
    x, repeats = c.x(0), c.sizes(1, "repeats")
    return x if all(number(r) and r == 1 for r in repeats) else ops.tile(x, repeats)


# -- values made of a shape ------------------------------------------------------------------------


@rule("ConstantOfShape")
def filled(c: Applied) -> Node:
    value = c.attr("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise c.fault(f"requires one value, got {value.size}")
    return ops.full(c.sizes(0, "a shape"), widened(value).item(), name_of(value.dtype))


@rule("Range")
def a_range(c: Applied) -> Node:
    first, last, step = (c.known(i, f"a {n}") for i, n in enumerate(("start", "limit", "delta")))
    if any(v.size != 1 for v in (first, last, step)):
        raise c.fault("requires numbers")
    a, b, s = first.item(), last.item(), step.item()
    if s == 0 or (isinstance(b - a, float) and not math.isfinite((b - a) / s)):
        raise c.fault(f"requires a number of steps, got {a} to {b} by {s}")
    if isinstance(b - a, Size):  # a batch size is open: it must be a whole number of steps
        return ops.arange((b - a) // s, dtype="int64") * s + constant(a, "int64")
    count = max(0, math.ceil((b - a) / s))
    c.walk.check_size(c.node, (count,))
    dtype = first.dtype.name if first.dtype != object else "int64"
    if dtype.startswith("float"):
        return constant(np.asarray(a + np.arange(count) * s, dtype), dtype)
    return ops.arange(count, dtype=dtype) * constant(s, dtype) + constant(a, dtype)


@rule("EyeLike")
def eye_like(c: Applied) -> Node:
    if c.x(0).ndim != 2:
        raise c.fault(f"requires a matrix, got {c.x(0).type}")
    rows, columns = c.x(0).shape
    dtype = c.dtype("dtype", c.x(0).dtype)
    return ops.cast(ops.equal(_diagonals(rows, columns), c.attr("k")), dtype)


def _diagonals(rows: Any, columns: Any) -> Node:
    """The number of the diagonal that each element is on, 0 being the main one."""
    shape = (rows, columns)
    return ops.axis_index(shape, 1) - ops.axis_index(shape, 0)


@rule("Trilu")
def trilu(c: Applied) -> Node:
    x = c.x(0)
    k = int(c.known(1, "a k").item()) if c.has(1) else 0
    k = max(-(1 << 30), min(1 << 30, k))
    place = _diagonals(*x.shape[-2:])
    kept = ops.greater_equal(place, k) if c.attr("upper") else ops.less_equal(place, k)
    return ops.where(kept, x, False if x.dtype == "bool" else 0)


@rule("OneHot")
def one_hot(c: Applied) -> Node:
    indices, depth = c.x(0), int(np.asarray(c.known(1, "a depth")).reshape(-1)[0])
    values = c.x(2)
    axis = c.axis(indices.ndim + 1)
    if not 0 <= depth < 1 << 31:
        raise c.fault(f"requires a depth from 0 up, got {depth}")
    at = ops.cast(indices, "int64")
    at = ops.where(ops.less(at, 0), at + depth, at)
    shape = list(indices.shape)
    shape.insert(axis, 1)
    places = (1,) * axis + (depth,) + (1,) * (indices.ndim - axis)
    hit = ops.equal(
        ops.reshape(at, tuple(shape)), ops.reshape(ops.arange(depth, dtype="int64"), places)
    )
    return ops.where(hit, values[1], values[0])


def _image_and_block(c: Applied) -> tuple[Node, int]:
    x, b = c.x(0), c.attr("blocksize")
    if x.ndim != 4 or b < 1:
        raise c.fault(f"requires images and a blocksize from 1 up, got {x.type} and {b}")
    return x, b


@rule("DepthToSpace")
def depth_to_space(c: Applied) -> Node:
    x, b = _image_and_block(c)
    n, channels, h, w = x.shape
    inner = channels // (b * b)
    if c.attr("mode") == "CRD":
        y = ops.transpose(ops.reshape(x, (n, inner, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        y = ops.transpose(ops.reshape(x, (n, b, b, inner, h, w)), (0, 3, 4, 1, 5, 2))
    return ops.reshape(y, (n, inner, h * b, w * b))


@rule("SpaceToDepth")
def space_to_depth(c: Applied) -> Node:
    x, b = _image_and_block(c)
    n, channels, h, w = x.shape
    y = ops.reshape(x, (n, channels, h // b, b, w // b, b))
    order = (0, 1, 3, 5, 2, 4) if c.attr("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return ops.reshape(ops.transpose(y, order), (n, channels * b * b, h // b, w // b))


@rule("Compress")
def compress(c: Applied) -> Node:
    x = c.x(0)
    mask = np.asarray(c.known(1, "a condition"), bool)
    axis = c.attr("axis")
    x = ops.reshape(x, (-1,)) if axis is None else x
    return ops.take(x, np.flatnonzero(mask), 0 if axis is None else c.normal_axis(axis, x.ndim))


@rule("NonZero")
def nonzero(c: Applied) -> np.ndarray:
    return np.stack(np.nonzero(c.known(0, "an input"))).astype(np.int64)
