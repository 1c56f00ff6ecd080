"""Removes operators that matter only while the graph is built: each is replaced by its input.

Dead nodes need no pass: a graph holds only what its outputs reach.
"""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..graph.rebuild import rebuild
from ..graph.rewrite import Event


def drop_identities(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph without operators that only concern gradients and names."""

    def build(n: Node) -> Node | None:
        if not n.op.transparent:
            return None
        if log is not None:
            log.append(Event("drop_identities", n, n.inputs[0]))
        return n.inputs[0]

    return rebuild(graph, build)
