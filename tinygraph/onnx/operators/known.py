"""Arithmetic of what is known: shapes, and numbers made of them, without building nodes.

Exporters write it as chains of Shape, Gather, Concat and the like. Arrays are NumPy's; integers
that depend on the batch size n are elements of object arrays, as numbers or ``Size``, for which
operators of NumPy call those of the elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...graph.ir import Node
from ...graph.size import Size
from .rules import Applied, Value

MOST = 1 << 16  # elements of an array that is computed here: more are nodes
FEW = 64  # elements of nodes that are computed at once: a shape has no more


def settled(array: np.ndarray) -> np.ndarray:
    """As int64, if no element depends on n."""
    if array.dtype != object or any(isinstance(v, Size) for v in array.reshape(-1)):
        return array
    return array.astype(np.int64)


def shape_array(shape: Sequence[Any]) -> np.ndarray:
    """Sizes as a known array."""
    found = np.empty(len(shape), object)
    found[:] = list(shape)
    return settled(found)


def of_shape(c: Applied) -> np.ndarray:
    """Shape and Size, whose results are known although their input is not."""
    value = c.value(0)
    if not isinstance(value, (Node, np.ndarray)):
        raise c.fault("requires a tensor")
    shape = value.shape
    if c.node.op == "Size":
        size: Any = 1
        for n in shape:
            size = size * n
        return shape_array([size]).reshape(())
    return shape_array(shape[slice(c.attr("start", 0), c.attr("end"))])


def compute(c: Applied) -> np.ndarray | None:
    """The result, if all inputs are known and small and the operator is of the table."""
    function = TABLE.get(c.node.op) if not c.node.domain else None
    if function is None or not all(_small(v) for v in c.inputs) or c.inputs[0] is None:
        return None
    try:
        with np.errstate(all="ignore"):
            found = function(c)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        if any(v is not None and v.dtype == object for v in c.inputs):
            return None
        raise c.fault(str(error)) from None
    return None if found is None else settled(np.asarray(found))


def _small(value: Value) -> bool:
    return value is None or (
        isinstance(value, np.ndarray) and value.size <= MOST and value.dtype.kind in "biufO"
    )


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Applied], Any]:
    def compute(c: Applied) -> Any:
        a, b = c.inputs
        return function(a, b)

    return compute


def _divided(a: np.ndarray, b: np.ndarray) -> Any:
    """Integers are cut towards zero, and wrong where the divisor is 0: left to the node then."""
    if "f" in (a.dtype.kind, b.dtype.kind):
        return a / b
    if object in (a.dtype, b.dtype):
        return a // b
    if not b.all():
        return None
    quotient = np.floor_divide(a, b)
    return quotient + ((quotient < 0) & (quotient * b != a))


def _fold(function: Callable[[Any, Any], Any]) -> Callable[[Applied], Any]:
    def compute(c: Applied) -> Any:
        result = c.inputs[0]
        for other in c.inputs[1:]:
            result = function(result, other)
        return result

    return compute


def _compared(function: Callable[[Any, Any], Any]) -> Callable[[Applied], Any]:
    return lambda c: np.asarray(function(*c.inputs), bool)


def _cast(c: Applied) -> Any:
    dtype = c.dtype("to")
    x = c.inputs[0]
    if x.dtype == object:  # integers of any width
        return x if dtype in ("int32", "int64") else None
    return x.astype(dtype) if x.dtype.kind != "f" or dtype.startswith("float") else None


def _gather(c: Applied) -> Any:
    data, indices = c.inputs
    if indices.dtype == object or data.ndim == 0:
        return None
    axis = c.axis(data.ndim)
    n = data.shape[axis]
    if ((indices < -n) | (indices >= n)).any():
        raise c.fault(f"requires indices in [{-n}, {n}), got {indices.tolist()}")
    return np.take(data, indices % n if n else indices, axis)


def _slice(c: Applied) -> Any:
    x = c.inputs[0]
    starts, ends = c.option("starts", 1), c.option("ends", 2)
    axes, steps = c.option("axes", 3), c.option("steps", 4)
    axes = tuple(range(len(starts))) if axes is None else c.normal_axes(axes, x.ndim)
    steps = (1,) * len(axes) if steps is None else steps
    if any(isinstance(v, Size) for v in (*starts, *ends)):
        return None
    keys = [slice(None)] * x.ndim
    for a, first, last, step in zip(axes, starts, ends, steps, strict=True):
        keys[a] = slice(first, None if step < 0 and last < -x.shape[a] else last, step)
    return x[tuple(keys)]


def _unsqueeze(c: Applied) -> Any:
    axes = c.listed("axes", 1) or ()
    x = c.inputs[0]
    return np.expand_dims(x, c.normal_axes(axes, x.ndim + len(axes)))


def _squeeze(c: Applied) -> Any:
    return np.squeeze(c.inputs[0], c.listed("axes", 1))


def _reshape(c: Applied) -> Any:
    x, shape = c.inputs[0], c.option("shape", 1)
    if any(isinstance(n, Size) for n in shape):
        return None
    zeros = not c.attr("allowzero", 0)
    return x.reshape([x.shape[i] if n == 0 and zeros else n for i, n in enumerate(shape)])


def _prod(c: Applied) -> Any:
    return c.inputs[0].prod(c.listed("axes", 1) or None, keepdims=bool(c.attr("keepdims")))


def _expand(c: Applied) -> Any:
    shape = c.option("shape", 1)
    if any(isinstance(n, Size) for n in shape) or np.prod(shape, dtype=float) > MOST:
        return None
    x = c.inputs[0]
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


def _filled(c: Applied) -> Any:
    shape = c.inputs[0].tolist()
    if any(isinstance(n, Size) for n in shape) or np.prod(shape, dtype=float) > MOST:
        return None
    value = c.attr("value", np.zeros(1, np.float32))
    return np.full(shape, value.reshape(())) if value.size == 1 else None


def _range(c: Applied) -> Any:
    if any(v.dtype.kind not in "iu" or v.size != 1 for v in c.inputs):
        return None
    first, last, step = (v.item() for v in c.inputs)
    if step == 0 or (last - first) / step > MOST:
        return None
    return np.arange(first, last, step).astype(c.inputs[0].dtype)


def _where(c: Applied) -> Any:
    condition, a, b = c.inputs
    return np.where(condition, a, b)


def _integral(function: Callable[[Any], Any]) -> Callable[[Applied], Any]:
    """For integers, and floats of few elements, which are scales."""
    return lambda c: None if c.inputs[0].dtype == object else function(c.inputs[0])


def _ordered(c: Applied) -> Any:
    return np.transpose(c.inputs[0], c.attr("perm"))


TABLE: dict[str, Callable[[Applied], Any]] = {
    "Add": _binary(np.add),
    "And": _compared(np.logical_and),
    "Cast": _cast,
    "Ceil": _integral(np.ceil),
    "Concat": lambda c: np.concatenate(c.inputs, c.attr("axis")),
    "ConstantOfShape": _filled,
    "Div": _binary(_divided),
    "Equal": _compared(np.equal),
    "Expand": _expand,
    "Floor": _integral(np.floor),
    "Gather": _gather,
    "Greater": _compared(np.greater),
    "GreaterOrEqual": _compared(np.greater_equal),
    "Identity": lambda c: c.inputs[0],
    "Less": _compared(np.less),
    "LessOrEqual": _compared(np.less_equal),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": lambda c: -c.inputs[0],
    "Not": lambda c: np.logical_not(c.inputs[0]),
    "Or": _compared(np.logical_or),
    "Range": _range,
    "ReduceProd": _prod,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": _ordered,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
