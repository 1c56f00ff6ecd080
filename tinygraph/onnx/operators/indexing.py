"""Reading and writing at places that are data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from .known import shape_array
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


def along(c: Applied, x: Node, i: int, axis: int) -> Node:
    """Input i as indices of x's rank along ``axis``."""
    at = node_of(places(c, c.value(i), x.shape[axis]), x.shape[axis])
    if at.ndim != x.ndim:
        raise c.fault(f"requires as many axes in {x.type} and {at.type}")
    return at


@rule("GatherElements")
def gather_elements(c: Applied) -> Node:
    x = c.x(0)
    axis = c.axis(x.ndim)
    at = along(c, x, 1, axis)
    shorter = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(at.shape))
    known = not any(isinstance(n, Size) for n in (*x.shape, *at.shape))
    return ops.take_along_axis(x[shorter] if known else x, at, axis)


REDUCTIONS = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _reduction(c: Applied) -> str:
    found = REDUCTIONS.get(c.attr("reduction", "none"))
    if found is None:
        raise c.fault(f"has the reduction {c.attr('reduction')!r}, which ONNX does not have")
    return found


@rule("ScatterElements", "Scatter")
def scatter_elements(c: Applied) -> Node:
    x = c.x(0)
    axis = c.axis(x.ndim)
    return ops.scatter(x, along(c, x, 1, axis), c.x(2, x.dtype), axis, _reduction(c))


@rule("ScatterND")
def scatter_nd(c: Applied) -> Node:
    """Rows of updates at rows of x, which are what follows the axes that are indexed."""
    x, count = c.x(0), c.value(1).shape[-1]
    at = row_places(c, x, 1, 0)
    at = ops.reshape(at, (math.prod(at.shape), 1))
    size = math.prod(x.shape[count:])
    rows = ops.reshape(x, (math.prod(x.shape[:count]), size))
    updates = ops.reshape(c.x(2, x.dtype), (at.shape[0], size))
    there = ops.broadcast_to(at, updates.shape)
    return ops.reshape(ops.scatter(rows, there, updates, 0, _reduction(c)), x.shape)


@rule("TensorScatter")
def tensor_scatter(c: Applied) -> Node:
    """A cache, into which the update of each example is written from its own place on."""
    x, update = c.x(0), c.x(1)
    axis = c.axis(x.ndim)
    batch, steps, size = x.shape[0], update.shape[axis], x.shape[axis]
    shape = tuple(n if a in (0, axis) else 1 for a, n in enumerate(update.shape))
    place = ops.axis_index(shape, axis, "int64")
    if c.has(2):
        first = (batch, *(1,) * (x.ndim - 1))
        place = place + ops.reshape(ops.cast(c.x(2), "int64"), first)
    place = ops.mod(place, size) if c.attr("mode") == "circular" else place
    if steps > size:
        raise c.fault(f"requires an update that fits {x.type}, got {update.type}")
    return ops.scatter(x, ops.broadcast_to(place, update.shape), update, axis)


@rule("TopK")
def topk(c: Applied) -> tuple[Node, Node]:
    x = c.x(0)
    axis = c.axis(x.ndim)
    k = c.attr("k") if c.given("k") else int(np.asarray(c.known(1, "a k")).reshape(-1)[0])
    values, at = ops.topk(x, k, axis, bool(c.attr("largest", 1)))
    return values, ops.cast(at, "int64")


def row_places(c: Applied, x: Node, i: int, batch: int) -> Node:
    """For tuples of indices along the last axis of input i: the number of the row of x, whose rows
    are what follows the axes that are indexed.
    """
    value = c.value(i)
    count = value.shape[-1] if value.ndim else 0
    if not 1 <= count <= x.ndim - batch:
        raise c.fault(f"requires 1 to {x.ndim - batch} indices in each tuple, got {count}")
    sizes = shape_array(x.shape[batch : batch + count])
    known = c.known_value(value)
    if known is not None and object not in (known.dtype, sizes.dtype):
        if ((known < -sizes) | (known >= sizes)).any():
            raise c.fault(f"requires indices within {x.type}")
        at = constant(np.where(known < 0, known + sizes, known).astype(np.int64))
    else:
        node = ops.cast(c.as_node(value), "int64")
        at = ops.where(ops.less(node, 0), node + c.as_node(sizes), node)
    total = ops.sum(at * c.as_node(shape_array(strides_of(tuple(sizes.tolist())))), -1)
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


@rule("Unique")
def unique(c: Applied) -> tuple[np.ndarray, ...]:
    """Of values that are known: how many there are would be data else."""
    x, axis = c.known(0, "an input"), c.attr("axis")
    values, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not c.attr("sorted", 1):
        order = np.argsort(first)
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return values, *(a.astype(np.int64) for a in (first, inverse, counts))


@rule("ReverseSequence")
def reverse_sequence(c: Applied) -> Node:
    """Each sequence's first elements in reverse order, as many as its length says."""
    x, lengths = c.x(0), ops.cast(c.x(1), "int64")
    time, batch = c.axis(x.ndim, "time_axis"), c.axis(x.ndim, "batch_axis")
    shape = tuple(n if a in (time, batch) else 1 for a, n in enumerate(x.shape))
    place = ops.axis_index(shape, time, "int64")
    each = ops.reshape(lengths, tuple(n if a == batch else 1 for a, n in enumerate(x.shape)))
    at = ops.where(ops.less(place, each), each - 1 - place, place)
    return ops.take_along_axis(x, ops.broadcast_to(at, x.shape), time)
