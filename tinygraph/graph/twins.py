"""Which lines of two graphs are the same: what a pass added, removed and changed.

A line is a node with a line in the dump, in the graph itself or in the body of a loop. A node that
both graphs have is its own twin, wherever it is placed. Other lines are twins if they have the same
operator, attributes, type and name, and read the same inputs, parameters and constants; among
several, those that also read each other's twins, then those that come from the same lines of the
user's code, and then the first. A twin whose other operands are not twins is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .dump import SOURCES, labels, literal
from .ir import Graph, Node
from .origins import Origin, origins
from .short import ShortCall, Written


@dataclass(frozen=True, slots=True, eq=False)
class NodeLine:
    """A node as its graph's dump shows it.

    Attributes:
        names: what the nodes of its graph are called.
        operands: the nodes at whose lines, or declarations, its operands are found.
        depth: the number of loops around it.
    """

    node: Node
    call: ShortCall
    names: Mapping[Node, str]
    operands: tuple[Node, ...]
    depth: int


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What differs between two graphs.

    Attributes:
        before, after: the lines of both, by node.
        twins: for each line of the second graph that has one, its twin in the first.
        gone: lines of the first graph without a twin.
        added: lines of the second graph without a twin.
        changed: lines of the second graph whose twin has other operands, or repeats another body.
    """

    before: dict[Node, NodeLine]
    after: dict[Node, NodeLine]
    twins: dict[Node, Node]
    gone: list[Node]
    added: list[Node]
    changed: list[Node]


def changes(before: Graph, after: Graph) -> Changes:
    """Compares two graphs line by line, bodies of loops included."""
    first, second = (dict(lines(graph)) for graph in (before, after))
    twins = paired(first, second)
    taken = set(twins.values())
    return Changes(
        first,
        second,
        twins,
        gone=[n for n in first if n not in taken],
        added=[n for n in second if n not in twins],
        changed=[n for n, m in twins.items() if n is not m and differs(first[m], second[n], twins)],
    )


def lines(graph: Graph, depth: int = 0) -> Iterator[tuple[Node, NodeLine]]:
    """The lines of a graph in order, those of a loop's body above the loop."""
    written, names = Written(graph), labels(graph)
    for n, call in written.calls.items():
        for body in n.bodies:
            yield from lines(body, depth + 1)
        operands = tuple(written.shown.get(x, x) for x in call.operands)
        yield n, NodeLine(n, call, names, operands, depth)


def paired(first: Mapping[Node, NodeLine], second: Mapping[Node, NodeLine]) -> dict[Node, Node]:
    """The twins of lines of the second graph, in its order."""
    found = {n: n for n in second if n in first}
    free: dict[Any, list[NodeLine]] = {}
    for n, line in first.items():
        if n not in found:
            free.setdefault(key(line), []).append(line)
    for sure in (True, False):  # no line takes a twin that another is certain of
        for n, line in second.items():
            alike = free.get(key(line), []) if n not in found else []
            if sure:
                alike = [m for m in alike if not differs(m, line, found) and same_place(m, line)]
            if alike:
                twin = max(alike, key=lambda m: closeness(m, line, found))
                free[key(line)].remove(twin)
                found[n] = twin.node
    return {n: found[n] for n in second if n in found}


def key(line: NodeLine) -> tuple[Any, ...]:
    """Equal for lines that may be twins."""
    n = line.node
    reads = tuple(line.names[x] if x.op in SOURCES else "%" for x in line.operands)
    attrs = tuple((k, literal(v)) for k, v in line.call.attrs if not isinstance(v, Graph))
    return (line.call.name, n.type, n.name, reads, attrs)


def closeness(a: NodeLine, b: NodeLine, twins: Mapping[Node, Node]) -> tuple[bool, ...]:
    """How alike two lines of one key are."""
    near = [[(o.scope, o.how) for o in places(line)] for line in (a, b)]
    return not differs(a, b, twins), same_place(a, b), near[0] == near[1]


def same_place(a: NodeLine, b: NodeLine) -> bool:
    return places(a) == places(b)


def places(line: NodeLine) -> tuple[Origin, ...]:
    return origins(line.node)


def differs(a: NodeLine, b: NodeLine, twins: Mapping[Node, Node]) -> bool:
    """Whether twins read what are no twins, or repeat bodies that are not the same."""
    reads = zip(a.operands, b.operands, strict=True)
    bodies = zip(a.node.bodies, b.node.bodies, strict=True)
    return any(x.digest != y.digest for x, y in bodies) or any(
        twins.get(y) is not x for x, y in reads if y.op not in SOURCES
    )
