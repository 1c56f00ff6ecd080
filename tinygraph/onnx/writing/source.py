"""What is written: the graph of a program, a graph or a module, and which parameters it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...compiler.program import Program
from ...graph.ir import Graph, Node, Parameter
from ...nn.module import Module
from ...passes.effects import Update, strip_effects


def graph_of(
    what: Any, inputs: Sequence[Node], updates: Sequence[Update], training: bool
) -> tuple[Graph, list[Parameter]]:
    """The graph, whose last outputs are new values, and the parameters that get them.

    Raises:
        TypeError: inputs for a program or a graph, none for a module, updates for something else
            than a graph, or something that is none of these.
    """
    if updates and not isinstance(what, Graph):
        raise TypeError("tg.onnx.save takes updates with graphs only")
    if isinstance(what, Module):
        if not inputs:
            raise TypeError("tg.onnx.save requires the input nodes that the module is called on")
        made = what(*inputs, training=training)
        results = (made,) if isinstance(made, Node) else tuple(_flat(made))
        what = Graph(type(what).__name__, tuple(inputs), results)
    elif inputs:
        raise TypeError("tg.onnx.save takes input nodes for modules only")
    if isinstance(what, Program):
        return what.graph, list(what.updates)
    if not isinstance(what, Graph):
        raise TypeError(f"tg.onnx.save takes a program, a graph or a module, got {what!r}")
    graph, pairs = strip_effects(what, updates)
    values = tuple(new for _, new in pairs)
    whole = Graph(graph.name, graph.inputs, (*graph.outputs, *values))
    return whole, [p for p, _ in pairs]


def _flat(made: Any) -> list[Node]:
    """The nodes in nested tuples and lists."""
    return [made] if isinstance(made, Node) else [n for part in made for n in _flat(part)]
