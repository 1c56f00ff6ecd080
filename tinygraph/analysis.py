"""networkx as a solver: imported here only, when it is called; results are plain Python."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .ir import Graph, Node

if TYPE_CHECKING:
    import networkx

Key = TypeVar("Key", bound=Hashable)
EXIT = "exit"  # the virtual node behind all outputs


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Integer keys in the graph's order, with ``op``, ``type``, ``label`` and the node itself.

    An edge's key is the number of the input that it is; outputs have a true attribute ``output``.
    """
    import networkx

    from .dump import labels

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


def _digraph(successors: Mapping[Any, Sequence[Any]]) -> Any:
    import networkx

    result = networkx.DiGraph()
    result.add_nodes_from(successors)
    result.add_edges_from((a, b) for a, behind in successors.items() for b in behind)
    return result


def generations(successors: Mapping[Key, Sequence[Key]]) -> list[list[Key]]:
    """Levels in which nothing depends on its own level; within one, in the order of ``successors``.

    Raises ValueError where there is a cycle.
    """
    import networkx

    place = {k: i for i, k in enumerate(successors)}
    levels = networkx.topological_generations(_digraph(successors))
    try:
        return [sorted(level, key=place.__getitem__) for level in levels]
    except networkx.NetworkXUnfeasible:
        raise ValueError("there is a cycle") from None


def reachable(successors: Mapping[Key, Sequence[Key]], start: Key) -> set[Key]:
    """Everything behind ``start``, without it."""
    import networkx

    return set(networkx.descendants(_digraph(successors), start))


def post_dominators(graph: Graph) -> dict[Node, Node | None]:
    """The nearest node that every path from a node to an output passes, or None."""
    import networkx

    number = {n: k for k, n in enumerate(graph.nodes)}
    backward = networkx.DiGraph()
    backward.add_edges_from((EXIT, number[o]) for o in graph.outputs)
    backward.add_edges_from((number[n], number[i]) for n in graph.nodes for i in n.inputs)
    nearest = networkx.immediate_dominators(backward, EXIT)
    found = {n: nearest.get(k, EXIT) for n, k in number.items()}
    return {n: None if k == EXIT else graph.nodes[k] for n, k in found.items()}
