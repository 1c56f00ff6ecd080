"""Which device each node of a placed graph belongs to."""

from __future__ import annotations

from ...graph.ir import Graph, Node
from ...graph.placement import device_of, numbered

DeviceOf = dict[Node, int]  # of each node, by number; empty where a graph is not placed


def assign(graph: Graph) -> DeviceOf:
    """A device for every node: its own, else that of its first reader, else number 0."""
    names = {n: device_of(n) for n in graph.nodes}
    if not any(names.values()):
        return {}
    numbers = numbered(name for name in names.values() if name)
    found: DeviceOf = {}
    for n in reversed(graph.nodes):
        readers = (found[u] for u in graph.users[n])
        name = names[n]
        found[n] = next(readers, 0) if name is None else numbers[name]
    return found
