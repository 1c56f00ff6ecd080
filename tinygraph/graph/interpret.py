"""The reference: every operator's NumPy meaning, one node at a time. The definition of truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .convert import as_array, holds, numbers
from .dtype import astype, computed, is_integer, name_of, widened
from .ir import Graph, Node, Parameter
from .op import INPUT, Kind
from .origins import described


class WrongReference(TypeError):
    """An operator's NumPy meaning gave another shape or dtype than its type rule says."""


def run(
    graph: Graph | Node, *arrays: Any, parameters: Mapping[Node, np.ndarray] | None = None
) -> Any:
    """The graph's outputs for these inputs, in order; ``parameters`` replaces current values.

    Of a node it is the array that the node stands for, given its inputs in the order in which the
    graph reads them.

    Raises TypeError for inputs of another shape or dtype: nothing is converted but numbers,
    lists, and integers that the input's dtype holds.

    Args:
        graph: a graph, or a node.
        arrays: values of the inputs.

    Example:
        >>> x = tg.input("x", 2)
        >>> tg.run(x * 2, [1.0, 2.0])
        array([2., 4.], dtype=float32)
    """
    if isinstance(graph, Node):
        reached = Graph("run", (), (graph,)).nodes
        inputs = tuple(n for n in reached if n.op is INPUT)
        return run(Graph("run", inputs, (graph,)), *arrays, parameters=parameters)[0]
    values = inputs_by_node(graph, arrays)
    last = {i: n for n in graph.nodes for i in n.inputs}
    kept = set(graph.outputs)
    with np.errstate(all="ignore"):
        for n in graph.nodes:
            if n not in values:
                values[n] = evaluate(n, [values[i] for i in n.inputs], parameters)
            for i in n.inputs:
                if last[i] is n and i not in kept:
                    values.pop(i, None)
    return [np.array(values[o]) for o in graph.outputs]


def evaluate(
    n: Node, arrays: list[np.ndarray], parameters: Mapping[Node, np.ndarray] | None = None
) -> np.ndarray:
    """The value of one node from the values of its inputs, checked against its type."""
    if isinstance(n, Parameter):
        return parameters[n] if parameters is not None and n in parameters else n.state.copied()
    if n.op.ref is None:
        raise WrongReference(f"{n.op.name} has no reference")
    attrs = {k: computed(v) if k == "dtype" else v for k, v in n.attrs}
    if n.op.kind not in (Kind.LOOP, Kind.RESULT):  # floats of 16 bits are formats of memory only
        arrays = [widened(a) for a in arrays]
    with np.errstate(all="ignore"):
        value = n.op.ref(*arrays, **attrs)
    if n.op.kind is Kind.LOOP:  # its results, which ``item`` takes apart
        return value
    value = np.asarray(value)
    if n.dtype != computed(n.dtype) == name_of(value.dtype):
        value = astype(value, n.dtype)
    if value.shape != n.shape or name_of(value.dtype) != n.dtype:
        got = f"{name_of(value.dtype)}{list(value.shape)}"
        raise WrongReference(f"the reference of {described(n)} gave {got}")
    return value


def inputs_by_node(graph: Graph, arrays: Sequence[Any]) -> dict[Node, np.ndarray]:
    """The arrays by the input that they are for, checked."""
    if len(arrays) != len(graph.inputs):
        names = ", ".join(f"{i.name}: {i.type}" for i in graph.inputs)
        raise TypeError(
            f"{graph.name} takes {len(graph.inputs)} inputs ({names}), got {len(arrays)}"
        )
    values: dict[Node, np.ndarray] = {}
    for n, a in zip(graph.inputs, arrays, strict=True):
        given = isinstance(a, np.ndarray)
        array = as_array(a) if given else numbers(f"input {n.name}", a, n.dtype)
        if array.dtype.kind in "iu" and is_integer(n.dtype) and holds(n.dtype, array):
            array = array.astype(n.dtype)
        if array.shape != n.shape or name_of(array.dtype) != n.dtype:
            raise TypeError(
                f"input {n.name} is {n.type}, got {name_of(array.dtype)}{list(array.shape)}"
            )
        values[n] = np.asarray(array)
    for n in graph.nodes:
        if n.op is INPUT and n not in values:
            raise TypeError(f"{n.name} is read but is not an input of {graph.name}")
    return values
