"""What differs between two graphs, node by node, as text.

      %31 = max(%30, axis=(1,), keepdims=True) : f32[8,1]
      %32 = sub(%30, %31) : f32[8,10]
    - %39' = neg(%38) : f32[]
    - %40' = div(%39', 8.0) : f32[]
    + %39 = mul(%38, -0.125) : f32[]
      ... 75 as before

Nodes are called what they are in the dump of the second graph; those that only the first one has,
what they are in its dump, followed by a '. A node whose operands are not those of its twin is
shown twice; what only reads it is as before. A node that both graphs have is its own twin, wherever
it stands. The heading counts nodes; what a loop repeats is shown with it, and not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby

from .dump import SOURCES, WIDTH, call_text, labels, literal, wrap
from .ir import Graph, Node
from .short import ShortCall, Written

CONTEXT = 2  # nodes that are shown around a difference


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A node, or what a graph returns, and which graph has it: the first (-), the second (+), both.

    Attributes:
        twin: whether the other graph has a node that takes its place.
        counts: whether it is a node of the graph itself.
    """

    sign: str
    text: str
    twin: bool = True
    counts: bool = True


def diff(before: Graph, after: Graph, names: tuple[str, str] | None = None) -> str:
    """The differences between two graphs; ``names`` are theirs in the heading.

    Args:
        before, after: the graphs.

    Example:
        >>> x = tg.input("x", 2)
        >>> print(tg.diff(tg.Graph("f", (x,), (x + 1,)), tg.Graph("f", (x,), (x + 2,))))
        --- f: 1 node
        +++ f: 1 node: 1 gone, 1 added
        - %0' = add(x, 1.0) : f32[2]
        + %0 = add(x, 2.0) : f32[2]
        - return %0'
        + return %0
    """
    old, new = names or (before.name, after.name)
    lines = list(differences(before, after))
    heading = [
        f"{sign} {name}: {nodes_text(len(Written(graph).calls))}"
        for sign, name, graph in (("---", old, before), ("+++", new, after))
    ]
    kinds = Counter((line.sign, line.twin) for line in lines if line.counts)
    counts = {"gone": kinds["-", False], "added": kinds["+", False]}
    counts["with other operands"] = kinds["+", True]
    found = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    heading[1] += f": {found}" if found else ""
    return "\n".join([*heading, *with_context(lines)])


def nodes_text(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def differences(before: Graph, after: Graph) -> Iterator[DiffLine]:
    """The nodes of both in one order; twins agree in all but the operands that are computed."""
    old, new = labels(before), labels(after)
    calls = Written(before).calls, Written(after).calls
    first, second = map(list, calls)
    both = calls[0].keys() & calls[1].keys()
    matcher = SequenceMatcher(
        None,
        [id(n) if n in both else key(n, call, old) for n, call in calls[0].items()],
        [id(n) if n in both else key(n, call, new) for n, call in calls[1].items()],
        autojunk=False,
    )
    old |= {n: new[n] for n in both}
    for i, k, size in matcher.get_matching_blocks():
        old |= {a: new[b] for a, b in zip(first[i : i + size], second[k : k + size], strict=True)}
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            for a, b in zip(first[i:j], second[k:m], strict=True):
                yield from pair(text(a, calls[0][a], old), text(b, calls[1][b], new))
                yield from of_bodies(a, b)
        else:
            gone = [n for n in first[i:j] if n not in both]
            old |= {n: f"{old[n]}'" for n in gone}
            yield from (DiffLine("-", text(n, calls[0][n], old), False) for n in gone)
            for n in second[k:m]:
                yield DiffLine(" " if n in both else "+", text(n, calls[1][n], new), n in both)
    results = (
        "return " + ", ".join(names[o] for o in graph.outputs)
        for graph, names in ((before, old), (after, new))
    )
    yield from (replace(line, counts=False) for line in pair(*results))


def key(n: Node, call: ShortCall, names: dict[Node, str]) -> tuple:
    """Equal for nodes that may be twins."""
    reads = tuple(names[i] if i.op in SOURCES else "%" for i in call.operands)
    attrs = tuple((k, literal(v)) for k, v in call.attrs if not isinstance(v, Graph))
    return (call.name, n.type, n.name, reads, attrs)


def text(n: Node, call: ShortCall, names: dict[Node, str]) -> str:
    return f"{names[n]} = {call_text(call, names.__getitem__)} : {n.type}"


def pair(old: str, new: str) -> Iterator[DiffLine]:
    yield from (DiffLine(" ", new),) if old == new else (DiffLine("-", old), DiffLine("+", new))


def of_bodies(a: Node, b: Node) -> Iterator[DiffLine]:
    """The differences within the graphs that two loops repeat."""
    for x, y in zip(a.bodies, b.bodies, strict=True):
        if x.digest != y.digest:
            for line in differences(x, y):
                yield replace(line, text=f"    {line.text}", counts=False)


def with_context(lines: list[DiffLine]) -> Iterator[str]:
    """The lines that differ, with some context; a count in place of the others."""
    near = {
        k
        for number, line in enumerate(lines)
        if line.sign != " "
        for k in range(number - CONTEXT, number + CONTEXT + 1)
    }
    for alike, run in groupby(enumerate(lines), lambda item: item[0] not in near):
        if alike:
            yield f"  ... {sum(line.counts for _, line in run)} as before"
        else:
            for _, line in run:
                yield from wrap(f"{line.sign} {line.text}", f"{line.sign}     ", WIDTH)
