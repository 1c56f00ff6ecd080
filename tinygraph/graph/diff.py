"""What differs between two graphs, node by node, as text.

      %31 = max(%30, axis=(1,), keepdims=True) : f32[8,1]
      %32 = sub(%30, %31) : f32[8,10]
    - %39' = neg(%38) : f32[]
    - %40' = div(%39', 8.0) : f32[]
    + %39 = mul(%38, -0.125) : f32[]
      ... 75 as before

Nodes are called what they are in the dump of the second graph; those that only the first one has,
what they are in its dump, followed by a '. A node whose operands are not those of its twin is
shown twice; what only reads it is as before; ``twins`` tells which are. The heading counts nodes,
those in the bodies of loops too, which are shown, indented, above the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from .dump import WIDTH, call_text, labels, wrap
from .ir import Graph, Node
from .twins import Changes, NodeLine, changes, lines

CONTEXT = 2  # nodes that are shown around a difference


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A node, or what a graph returns, and which graph has it: the first (-), the second (+), both.

    Attributes:
        twin: whether the other graph has a node that takes its place.
        counts: whether it is a node.
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
    found = list(differences(before, after))
    heading = [
        f"{sign} {name}: {nodes_text(len(dict(lines(graph))))}"
        for sign, name, graph in (("---", old, before), ("+++", new, after))
    ]
    kinds = Counter((line.sign, line.twin) for line in found if line.counts)
    counts = {"gone": kinds["-", False], "added": kinds["+", False]}
    counts["with other operands"] = kinds["+", True]
    words = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    heading[1] += f": {words}" if words else ""
    return "\n".join([*heading, *with_context(found)])


def nodes_text(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def differences(before: Graph, after: Graph) -> Iterator[DiffLine]:
    """The lines of both graphs in the order of the second; those that are gone, where they were."""
    found = changes(before, after)
    called = {n: f"{line.names[n]}'" for n, line in found.before.items()}
    called |= {m: found.after[n].names[n] for n, m in found.twins.items()}
    changed = set(found.changed)
    for n, gone in in_order(found):
        line = (found.before if gone else found.after)[n]
        twin = None if gone else found.twins.get(n)
        bodies = zip(twin.bodies, n.bodies, strict=True) if twin is not None else ()
        for old, new in bodies:
            if old.digest != new.digest:
                yield from results(old, new, called, "    " * (line.depth + 1))
        if gone:
            yield DiffLine("-", text(line, called), twin=False)
        elif twin is None:
            yield DiffLine("+", text(line), twin=False)
        else:
            if n in changed:
                yield DiffLine("-", text(found.before[twin], called))
            yield DiffLine("+" if n in changed else " ", text(line))
    yield from results(before, after, called)


def in_order(found: Changes) -> Iterator[tuple[Node, bool]]:
    """The lines of the second graph, and between them those that are gone (True)."""
    later = {m: n for n, m in found.twins.items()}
    order = list(found.after)
    at = {n: k for k, n in enumerate(order)}
    done = 0
    for m in found.before:
        if m not in later:
            yield m, True
            continue
        upto = max(done, at[later[m]] + 1)
        yield from ((n, False) for n in order[done:upto])
        done = upto
    yield from ((n, False) for n in order[done:])


def results(
    before: Graph, after: Graph, called: dict[Node, str], indent: str = ""
) -> Iterator[DiffLine]:
    """What two graphs, or bodies of loops, return."""
    old, new = labels(before) | called, labels(after)
    a, b = (
        f"{indent}return {', '.join(names[o] for o in graph.outputs)}"
        for graph, names in ((before, old), (after, new))
    )
    signs = ((" ", b),) if a == b else (("-", a), ("+", b))
    yield from (DiffLine(sign, words, counts=False) for sign, words in signs)


def text(line: NodeLine, called: Mapping[Node, str] | None = None) -> str:
    """A line of a dump; ``called`` are other names for some nodes."""
    shown = dict(zip(line.call.operands, line.operands, strict=True))

    def name(n: Node) -> str:
        n = shown.get(n, n)
        return (called or {}).get(n) or line.names[n]

    call = call_text(line.call, name)
    return f"{'    ' * line.depth}{name(line.node)} = {call} : {line.node.type}"


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
