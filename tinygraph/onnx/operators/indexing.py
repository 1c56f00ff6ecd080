"""Reading and writing at places that are data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from .rules import Applied, Value, rule


def places(c: Applied, value: Value, size: Any) -> Node | np.ndarray:
    """Indices from the front: nodes may be negative at the run, arrays are checked."""
    known = c.known_value(value)
    if known is not None and known.dtype != object:
        return known
    x = c.as_node(value)
    return x if x.dtype.startswith("uint") else ops.where(ops.less(x, 0), x + size, x)


def node_of(found: Node | np.ndarray, size: int) -> Node:
    """Indices as an int64 node, counted from the front."""
    if isinstance(found, Node):
        return ops.cast(found, "int64")
    outside = (found < -size) | (found >= size)
    if outside.any():
        raise ValueError(f"requires indices in [{-size}, {size}), got {int(found[outside][0])}")
    return constant(np.where(found < 0, found + size, found).astype(np.int64))


@rule("Gather")
def gather(c: Applied) -> Node:
    x = c.x(0)
    axis = c.axis(x.ndim)
    return ops.take(x, places(c, c.value(1), x.shape[axis]), axis)


def strides_of(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """How far apart neighbours are along each axis, in row-major order."""
    return tuple(math.prod(shape[a + 1 :]) for a in range(len(shape)))


def flat_places(c: Applied, x: Node, i: int, axis: int) -> Node:
    """For indices along ``axis`` of an array of x's rank: the places in x's row-major order."""
    if any(isinstance(n, Size) for n in x.shape):
        raise c.fault(f"requires known sizes, got {x.type}")
    at = node_of(places(c, c.value(i), x.shape[axis]), x.shape[axis])
    if at.ndim != x.ndim:
        raise c.fault(f"requires as many axes in {x.type} and {at.type}")
    total = at * strides_of(x.shape)[axis]
    for a, stride in enumerate(strides_of(x.shape)):
        if a != axis and at.shape[a] > 1:
            total = total + ops.axis_index(at.shape, a, "int64") * stride
    return total


@rule("GatherElements")
def gather_elements(c: Applied) -> Node:
    x = c.x(0)
    at = flat_places(c, x, 1, c.axis(x.ndim))
    return ops.take(ops.reshape(x, (-1,)), at)


def row_places(c: Applied, x: Node, i: int, batch: int) -> Node:
    """For tuples of indices along the last axis of input i: the number of the row of x, whose rows
    are what follows the axes that are indexed.
    """
    if any(isinstance(n, Size) for n in x.shape):
        raise c.fault(f"requires known sizes, got {x.type}")
    value = c.value(i)
    count = value.shape[-1] if value.ndim else 0
    if not 1 <= count <= x.ndim - batch:
        raise c.fault(f"requires 1 to {x.ndim - batch} indices in each tuple, got {count}")
    sizes = np.asarray(x.shape[batch : batch + count], np.int64)
    known = c.known_value(value)
    if known is not None and known.dtype != object:
        if ((known < -sizes) | (known >= sizes)).any():
            raise c.fault(f"requires indices within {x.type}")
        at = constant(np.where(known < 0, known + sizes, known).astype(np.int64))
    else:
        node = ops.cast(c.as_node(value), "int64")
        at = ops.where(ops.less(node, 0), node + constant(sizes), node)
    strides = np.asarray(strides_of(tuple(sizes.tolist())), np.int64)
    total = ops.sum(at * constant(strides), -1)
    for a in range(batch):
        stride = math.prod(x.shape[a + 1 : batch + count])
        total = total + ops.axis_index(total.shape, a, "int64") * stride
    return total


@rule("GatherND")
def gather_nd(c: Applied) -> Node:
    x, batch = c.x(0), c.attr("batch_dims", 0)
    count = c.value(1).shape[-1]
    at = row_places(c, x, 1, batch)
    rest = x.shape[batch + count :]
    rows = ops.reshape(x, (math.prod(x.shape[: batch + count]), *rest))
    return ops.take(rows, at)


@rule("ReverseSequence")
def reverse_sequence(c: Applied) -> Node:
    """Each sequence's first elements in reverse order, as many as its length says."""
    x, lengths = c.x(0), ops.cast(c.x(1), "int64")
    time, batch = c.axis(x.ndim, "time_axis"), c.axis(x.ndim, "batch_axis")
    shape = tuple(n if a in (time, batch) else 1 for a, n in enumerate(x.shape))
    place = ops.axis_index(shape, time, "int64")
    each = ops.reshape(lengths, tuple(n if a == batch else 1 for a, n in enumerate(x.shape)))
    at = ops.where(ops.less(place, each), each - 1 - place, place)
    flat: Any = at * strides_of(x.shape)[time]
    for a, stride in enumerate(strides_of(x.shape)):
        if a != time:
            one = tuple(n if b == a else 1 for b, n in enumerate(x.shape))
            flat = flat + ops.axis_index(one, a, "int64") * stride
    return ops.take(ops.reshape(x, (-1,)), flat)
