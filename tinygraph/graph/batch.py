"""Binding the batch size: from a graph for any n to the graph for one."""

from __future__ import annotations

import math
from typing import Any

from .ir import Graph, Node, same
from .op import INPUT, OF_BATCH, ShapeError, constant
from .origins import built_from, origins, set_origins
from .rebuild import carry
from .size import Size, evaluate
from .types import Type


def batch_axis(graph: Graph) -> tuple[int, int] | None:
    """(input, axis) where n can be read off an argument's shape; None if nothing depends on n."""
    for number, n in enumerate(graph.inputs):
        for axis, size in enumerate(n.shape):
            if isinstance(size, Size):
                return number, axis
    return None


def bind(graph: Graph, n: int) -> Graph:
    """The graph for batches of n; shapes are checked again.

    Raises:
        ValueError: n is less than 0.
        ShapeError: an operator does not take the shapes that n gives.
    """
    new = bound_nodes(graph, n)
    inputs, outputs = (tuple(new[x] for x in each) for each in (graph.inputs, graph.outputs))
    return Graph(graph.name, inputs, outputs)


def bound_nodes(graph: Graph, n: int) -> dict[Node, Node]:
    """What each node of the graph becomes in ``bind(graph, n)``."""
    if n < 0:
        raise ValueError(f"a batch has 0 examples or more, got n = {n}")
    new: dict[Node, Node] = {}
    for old in graph.nodes:
        with built_from(origins(old)):
            new[old] = carry(_bound(old, tuple(new[i] for i in old.inputs), n), old)
        if old.op is INPUT:
            set_origins(new[old], origins(old))
    return new


def _bound(old: Node, inputs: tuple[Node, ...], n: int) -> Node:
    if old.op is OF_BATCH:
        over, under = (evaluate(old.attr(k), n) for k in ("over", "under"))
        if under == 0 and n:
            raise ShapeError(f"a batch of {n} is too small here: its mean divides by 0")
        if under == 0:  # the mean of nothing is NaN
            return constant(math.nan, old.dtype)
        return constant(old.attr("factor") * over / under, old.dtype)
    attrs = tuple((k, _number(v, n)) for k, v in old.attrs)
    if same(inputs, old.inputs) and all(
        a is b for (_, a), (_, b) in zip(attrs, old.attrs, strict=True)
    ):
        return old
    return old.op(*inputs, **dict(attrs))


def _number(value: Any, n: int) -> Any:
    """An attribute with numbers for sizes; itself if it has no sizes."""
    if isinstance(value, Size):
        return evaluate(value.polynomial, n)
    if isinstance(value, Type):
        shape = _number(value.shape, n)
        return value if shape is value.shape else Type(shape, value.dtype)
    if isinstance(value, Graph):
        body = bind(value, n)
        return value if body.digest == value.digest else body
    if isinstance(value, tuple):
        found = tuple(_number(v, n) for v in value)
        return value if all(a is b for a, b in zip(found, value, strict=True)) else found
    return value
