"""The rule that writes interpolation."""

from __future__ import annotations

from ...graph.ir import Node
from .writer import OnnxWriter, Value, writes


@writes("resample")
def resample(w: OnnxWriter, n: Node, x: Value, *tables: Value) -> Value:
    """Along each axis, elements by a table of places, and the sum of them by one of weights."""
    dtype, rank = n.dtype, n.ndim
    nodes = n.inputs[1:]
    for k, axis in enumerate(n.attr("axes")):
        at, weights = tables[2 * k : 2 * k + 2]
        size, taps = nodes[2 * k].shape
        at = w.cast(at, nodes[2 * k].dtype, "int64")
        weights = w.cast(weights, nodes[2 * k + 1].dtype, dtype)
        along = (*[1] * axis, size, taps, *[1] * (rank - axis - 1))
        weights = w.reshape(weights, (size, taps), along)
        parts = w.add("Mul", w.add("Gather", x, at, axis=axis), weights)
        x = w.add("ReduceSum", parts, w.sizes([axis + 1]), keepdims=0)
    return x
