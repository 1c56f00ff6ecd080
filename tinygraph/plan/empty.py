"""Arrays without elements leave the graph before it is planned: loops have at least one step.

A kernel treats an axis of size 1 as no axis, and would do so with one of size 0.
"""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..graph.op import OPS, Kind, ShapeError
from ..graph.rebuild import rebuild, with_bodies
from ..ops.identity import loops_first
from ..ops.source import full


def without_empty(graph: Graph) -> Graph:
    """The graph in which nothing but sources and loops is, or reads, an array of size 0."""
    if all(n.type.size or n.op.kind is Kind.LOOP for n in graph.everywhere):
        return graph
    return rebuild(graph, _filled)


def _filled(n: Node) -> Node | None:
    if n.op.kind is Kind.LOOP:
        return with_bodies(n, without_empty)
    if n.op.kind is Kind.SOURCE or (n.type.size and all(i.type.size for i in n.inputs)):
        return None
    if n.type.size == 0 or n.op.fold == "sum" or n.op is OPS["scatter_add"]:
        return full(n.shape, 0, n.dtype)
    if n.op is OPS["scatter"]:
        return n.inputs[0]
    if n.op is OPS["concat"]:
        return n.op(*(i for i in n.inputs if i.type.size), axis=n.attr("axis"))
    if n.op is OPS["pad"]:
        return full(n.shape, n.attr("value"), n.dtype)
    if n.op.loops is loops_first:
        return n.inputs[0]
    if n.op.written_out is not None:
        return without_empty(Graph("", (), (n.op.written_out(n),))).outputs[0]
    raise ShapeError(f"{n.op.name} requires inputs with elements, got {_types(n)}")


def _types(n: Node) -> str:
    return " and ".join(str(i.type) for i in n.inputs)
