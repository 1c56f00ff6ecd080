"""A loop within a loop is written out, step by step: plans have loops of one level."""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..graph.op import Kind
from ..graph.origins import built_from, origins
from ..graph.rebuild import rebuild, with_bodies
from ..graph.rewrite import Event, substitute
from ..ops.indexing import getitem, stack
from ..ops.loop import LoopRoles, replaced


def unroll_loops(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with straight-line code for loops in the bodies of loops."""
    return rebuild(graph, lambda n: with_bodies(n, lambda body: straight(body, log)), bodies=False)


def straight(graph: Graph, log: list[Event] | None) -> Graph:
    """The graph without loops."""
    while (n := next((n for n in graph.nodes if n.op.kind is Kind.LOOP), None)) is not None:
        with built_from(origins(n)):
            results = unrolled(n)
        if log is not None:
            log.append(Event("unroll_loops", n, results[0]))
        found = {user: results[user.attr("index")] for user in graph.users[n]}
        graph = substitute(graph, found)
    return graph


def unrolled(n: Node) -> list[Node]:
    """A loop's results, computed by as many copies of its body as it has steps."""
    loop, state = LoopRoles.of(n), LoopRoles.of(n).initial
    histories, outs = [state], []
    for t in reversed(range(loop.length)) if loop.reverse else range(loop.length):
        values = dict(zip(loop.carries, state, strict=True))
        values |= {x: getitem(s, t) for x, s in zip(loop.slices, loop.sequences, strict=True)}
        values |= dict(zip(loop.captured, loop.given, strict=True))
        results = replaced((*loop.after, *loop.outs), values)
        state = results[: len(loop.carries)]
        histories.append(state)
        outs.append(results[len(loop.carries) :])
    if loop.reverse:
        histories.reverse()
        outs.reverse()
    whole = [stack(each) for each in zip(*histories, strict=True)]
    carries = [h if keep else s for h, s, keep in zip(whole, state, loop.kept, strict=True)]
    return [*carries, *(stack(each) for each in zip(*outs, strict=True))]
