"""What notebooks show of graphs, nodes and programs: a picture folded by layer, and text."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from ..graph.batch import batch_axis, bound_nodes
from ..graph.dump import dump
from ..graph.html import preformatted
from ..graph.ir import Graph, Node
from ..graph.op import INPUT
from ..inspect.inspection import Inspection
from ..inspect.profile import Profile
from ..inspect.record import Snapshot
from ..plan.records.cost import node_cost
from . import svg
from .items import Items
from .record import record

SOME = 8  # examples in a batch of any size


def program_html(text: str, inspection: Inspection, title: str, profile: Profile | None) -> str:
    """A program: its summary and its kernels."""
    return preformatted(text) + svg.graph(record(inspection, title, profile))


def graph_html(value: Graph | Node) -> str:
    """A graph, or all that a node is computed from: its layers, and the dump to unfold."""
    if isinstance(value, Node):
        nodes = Graph("", (), (value,)).nodes
        inputs = tuple(n for n in nodes if n.op is INPUT)
        value = Graph(value.name or value.op.name, inputs, (value,))
    count = len(value.nodes)
    text = f"<summary>{escape(value.name)}: {count} node{'s' * (count != 1)}</summary>"
    picture = svg.graph({"kernels": list(lines(value))}, "nodes")
    return f"{picture}<details>{text}{preformatted(dump(value))}</details>"


def _of_some(graph: Graph) -> dict[Node, Node]:
    """What nodes are in a batch of ``SOME``, where the batch size is open: shares need numbers."""
    if batch_axis(graph) is None:
        return {}
    new = bound_nodes(graph, SOME)
    for old, bound in list(new.items()):
        for body, its in zip(old.bodies, bound.bodies, strict=False):
            new |= zip(body.nodes, its.nodes, strict=False)
    return new


def lines(graph: Graph) -> Iterator[dict[str, Any]]:
    """The lines of a graph, as pictures take kernels."""
    items = Items([Snapshot("graph", graph)])
    some = _of_some(graph)
    for number, line in items.stages[0].items():
        item, written = items.table[number], (line.node, *line.call.inner)
        yield {
            "part": item["part"],
            "layer": item["scope"] or item.get("call", ""),
            "what": item["op"],
            "reads": items.operands[number],
            "writes": [number],
            "flops": line.steps * sum(node_cost(some.get(n, n)) for n in written),
            "bytes": some.get(line.node, line.node).type.bytes,
            "value": str(line.node.type).removeprefix("f32"),
        }
