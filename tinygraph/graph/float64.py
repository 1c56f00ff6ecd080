"""The same computation in float64: what float32 results are measured against."""

from __future__ import annotations

from typing import Any

from .ir import Graph, Node
from .op import CONSTANT, OPS, PARAMETER, constant, input
from .rebuild import rebuild
from .types import Array, Type


def in_float64(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """The graph in float64, and the parameters that became inputs of it, after the others."""
    parameters: dict[Node, Node] = {}

    def wide(n: Node) -> Node:
        if n.op is PARAMETER:
            name = f"parameter {len(parameters)} {n.name or ''}".strip()
            parameters[n] = input(name, *n.shape, dtype=_wider(n.dtype))
            return parameters[n]
        if n.op is CONSTANT:
            return constant(n.attr("value").data, _wider(n.dtype))
        attrs, operands = dict(n.attrs), n.inputs
        if (sums := attrs.get("accumulate")) is not None:  # rounded operands stay what they are
            operands = tuple(OPS["cast"](x, dtype=_wider(sums)) for x in operands)
            del attrs["accumulate"]
        made = n.op(*operands, **{k: _wider(v) for k, v in attrs.items()})
        drawn = made.dtype == "float32" == n.dtype  # random bits are the same in any precision
        return OPS["cast"](made, dtype="float64") if drawn else made

    made = rebuild(graph, wide, bodies=False)
    inputs = tuple(wide(i) for i in graph.inputs)
    return Graph(graph.name, (*inputs, *parameters.values()), made.outputs), tuple(parameters)


def _wider(value: Any) -> Any:
    """float64 where an attribute speaks of float32."""
    if isinstance(value, Graph):
        return in_float64(value)[0]
    if isinstance(value, Type):
        return Type(value.shape, _wider(value.dtype))
    if isinstance(value, Array):
        return Array.of(value.data.astype(_wider(value.data.dtype.name)))
    return "float64" if value == "float32" else value
