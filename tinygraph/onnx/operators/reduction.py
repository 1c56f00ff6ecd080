"""Folds over axes, extremes' places, soft maxima."""

from __future__ import annotations

import math
from collections.abc import Callable

from ... import ops
from ...graph.dtype import DTYPES, is_float
from ...graph.ir import Node
from ...graph.op import constant
from .rules import Applied, rule

Axes = tuple[int, ...]


def _extreme(fold: Callable[..., Node], nothing: str) -> Callable[[Node, Axes, bool], Node]:
    """A maximum or minimum; of no elements it is the least or greatest number."""

    def extreme(x: Node, axes: Axes, keepdims: bool) -> Node:
        if any(x.shape[a] == 0 for a in axes):
            value = getattr(DTYPES[x.dtype], nothing)
            empty = constant(bool(value) if x.dtype == "bool" else value, x.dtype)
            kept = ops.sum(ops.zeros(x.shape, "int32"), axes, keepdims)
            return ops.broadcast_to(empty, kept.shape)
        return fold(x, axes, keepdims)

    return extreme


def _mean(x: Node, axes: Axes, keepdims: bool) -> Node:
    if is_float(x.dtype):
        return ops.mean(x, axes, keepdims)
    return ops.cast(ops.mean(ops.cast(x, "float64"), axes, keepdims), x.dtype)


REDUCTIONS: dict[str, Callable[[Node, Axes, bool], Node]] = {
    "ReduceL1": lambda x, a, k: ops.sum(ops.abs(x), a, k),
    "ReduceL2": lambda x, a, k: _rooted(ops.sum(x * x, a, k), x.dtype),
    "ReduceLogSum": lambda x, a, k: ops.log(ops.sum(x, a, k)),
    "ReduceLogSumExp": lambda x, a, k: (
        ops.logsumexp(x, a, k) if math.prod(x.shape[i] for i in a) else ops.log(ops.sum(x, a, k))
    ),
    "ReduceMax": _extreme(ops.max, "least"),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(ops.min, "greatest"),
    "ReduceProd": ops.prod,
    "ReduceSum": ops.sum,
    "ReduceSumSquare": lambda x, a, k: ops.sum(x * x, a, k),
}


def _rooted(x: Node, dtype: str) -> Node:
    return ops.sqrt(x) if is_float(dtype) else ops.cast(ops.sqrt(ops.cast(x, "float64")), dtype)


@rule(*REDUCTIONS)
def reduction(c: Applied) -> Node:
    x = c.x(0)
    given = c.listed("axes", 1)
    if not given and c.attr("noop_with_empty_axes", 0):
        axes: Axes = ()
    else:
        axes = tuple(range(x.ndim)) if not given else c.normal_axes(given, x.ndim)
    y = REDUCTIONS[c.node.op](x, axes, bool(c.attr("keepdims")))
    return ops.cast(y, x.dtype)


@rule("ArgMax", "ArgMin")
def arg_extreme(c: Applied) -> Node:
    x = c.x(0)
    axis = c.axis(x.ndim)
    find = ops.argmax if c.node.op == "ArgMax" else ops.argmin
    keepdims = bool(c.attr("keepdims"))
    if c.attr("select_last_index", 0):
        last = x.shape[axis] - 1
        return ops.cast(last - find(ops.flip(x, axis), axis, keepdims), "int64")
    return ops.cast(find(x, axis, keepdims), "int64")


SOFT = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax}


@rule("Softmax", "LogSoftmax", "Hardmax")
def soft(c: Applied) -> Node:
    x = c.x(0)
    axis = c.axis(x.ndim)
    function = SOFT.get(c.node.op, hardmax)
    if c.node.since >= 13:
        return function(x, axis)
    rows = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))  # one axis of all that follow
    return ops.reshape(function(ops.reshape(x, rows), 1), x.shape)


def hardmax(x: Node, axis: int) -> Node:
    """1 at the first of the largest elements along ``axis``, 0 elsewhere."""
    first = ops.argmax(x, axis, keepdims=True)
    return ops.cast(ops.equal(ops.axis_index(x.shape, axis), first), x.dtype)


RUNNING = {"CumSum": (ops.cumsum, 0), "CumProd": (ops.cumprod, 1)}


@rule(*RUNNING)
def running(c: Applied) -> Node:
    """Running sums and products; exclusive ones are without the element itself."""
    x, (fold, nothing) = c.x(0), RUNNING[c.node.op]
    axis, reverse = c.normal_axis(int(c.known(1, "an axis").item()), x.ndim), c.attr("reverse")
    y = ops.cast(fold(x, axis, bool(reverse)), x.dtype)
    if not c.attr("exclusive"):
        return y
    moved = [(0, 0)] * x.ndim
    moved[axis] = (-1, 1) if reverse else (1, -1)
    return ops.pad(y, moved, value=nothing)
