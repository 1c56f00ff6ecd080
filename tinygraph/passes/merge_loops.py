"""Loops that carry the same values become one: a loop and what its gradient needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ..graph.ir import Graph, Node, position, same
from ..graph.op import Kind
from ..graph.origins import origins
from ..graph.rebuild import carry
from ..graph.rewrite import Event, substitute
from ..ops.loop import ITEM, LoopRoles, fresh, reached, replaced


def merge_loops(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with one loop for those whose carries start and change alike."""
    while (found := _first(graph)) is not None:
        merged, replacements = found
        graph = substitute(graph, replacements)
        if log is not None:
            log += [Event("merge_loops", n, merged) for n in {i.inputs[0]: 0 for i in replacements}]
    return graph


def _first(graph: Graph) -> tuple[Node, dict[Node, Node]] | None:
    loops = [n for n in graph.nodes if n.op.kind is Kind.LOOP]
    for a, b in combinations(loops, 2):
        if (both := _merged(LoopRoles.of(a), LoopRoles.of(b))) is None or a in reached((b,)):
            continue
        n = carry(both.loop.node(), a, (*origins(a), *origins(b)))
        replacements = {}
        for old, outs in ((a, both.first), (b, both.second)):
            count = len(both.loop.carries)
            for user in graph.users[old]:
                index = user.attr("index")
                if index >= count:
                    index = count + position(outs[index - count], both.loop.outs)
                replacements[user] = ITEM(n, index=index)
        return n, replacements
    return None


@dataclass(frozen=True)
class Both:
    """Two loops as one, and their outs in its body."""

    loop: LoopRoles
    first: Sequence[Node]
    second: Sequence[Node]


def _merged(a: LoopRoles, b: LoopRoles) -> Both | None:
    """None unless both carry the same values."""
    if (a.length, a.reverse, a.kept) != (b.length, b.reverse, b.kept):
        return None
    if not same(a.initial, b.initial):
        return None
    carries = tuple(fresh(c.type) for c in a.carries)
    places: dict[tuple[str, Node], Node] = {}

    def rebased(x: LoopRoles) -> tuple[Node, ...]:
        """Its outputs over inputs that both loops share where they read the same."""
        values = dict(zip(x.carries, carries, strict=True))
        for role, outer, inner in (
            ("slice", x.sequences, x.slices), ("given", x.given, x.captured)
        ):  # fmt: skip
            for o, i in zip(outer, inner, strict=True):
                values[i] = places.setdefault((role, o), fresh(i.type))
        return replaced((*x.after, *x.outs), values)

    count = len(carries)
    first, second = rebased(a), rebased(b)
    if not same(first[:count], second[:count]):
        return None
    slices = {o: i for (role, o), i in places.items() if role == "slice"}
    captured = {o: i for (role, o), i in places.items() if role == "given"}
    loop = replace(
        a, sequences=tuple(slices), given=tuple(captured), carries=carries,
        slices=tuple(slices.values()), captured=tuple(captured.values()),
        after=first[:count], outs=tuple(dict.fromkeys((*first[count:], *second[count:]))),
    )  # fmt: skip
    return Both(loop, first[count:], second[count:])
