"""Graphs for networkx, which is imported here only, when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph.ir import Graph

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Integer keys in the graph's order, with ``op``, ``type``, ``label`` and the node itself.

    An edge's key is the number of the input that it is; outputs have a true attribute ``output``.
    """
    import networkx

    from ..graph.dump import labels

    result = networkx.MultiDiGraph(name=graph.name)
    number = {n: k for k, n in enumerate(graph.nodes)}
    label, outputs = labels(graph), set(graph.outputs)
    for n, k in number.items():
        result.add_node(
            k, op=n.op.name, type=str(n.type), label=label[n], node=n, output=n in outputs
        )
        for position, i in enumerate(n.inputs):
            result.add_edge(number[i], k, key=position)
    return result
