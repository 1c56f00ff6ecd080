"""Removes results, carries and histories of loops that are never read."""

from __future__ import annotations

from dataclasses import replace

from ..graph.ir import Graph, Node, among
from ..graph.op import Kind
from ..graph.rebuild import carry
from ..graph.rewrite import Event, substitute
from ..ops.loop import ITEM, LoopRoles, reached
from ..ops.view import SLICE, reshape


def prune_loops(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with loops that compute what is read of them."""
    # from the last loop to the first: what one no longer reads, those before it need not give
    for old in reversed([n for n in graph.nodes if n.op.kind is Kind.LOOP]):
        n = next((m for m in graph.nodes if m is old), None)
        if n is None:
            continue
        new, replacements = _pruned(graph, n)
        if new is not n:
            graph = substitute(graph, replacements)
            if log is not None:
                log.append(Event("prune_loops", n, new))
    return graph


def _pruned(graph: Graph, n: Node) -> tuple[Node, dict[Node, Node]]:
    """The loop without what is never read, and its results in place of the old ones."""
    loop, count = LoopRoles.of(n), len(n.attr("kept"))
    items = {user.attr("index"): user for user in graph.users[n]}
    outs = [k for k in range(len(loop.outs)) if count + k in items]
    live = {k for k in range(count) if k in items}
    while True:
        used = reached((*(loop.outs[k] for k in outs), *(loop.after[k] for k in live)))
        if (more := {k for k, c in enumerate(loop.carries) if c in used}) <= live:
            break
        live |= more
    carries = sorted(live)
    kept = [k for k in carries if loop.kept[k] and not _only_last(graph, loop, items.get(k))]
    less = replace(
        loop,
        initial=tuple(loop.initial[k] for k in carries),
        carries=tuple(loop.carries[k] for k in carries),
        after=tuple(loop.after[k] for k in carries),
        kept=tuple(k in kept for k in carries),
        outs=tuple(loop.outs[k] for k in outs),
    )
    new = carry(less.node(), n)
    replacements: dict[Node, Node] = {}
    for place, k in enumerate(carries):
        if k in items and loop.kept[k] and k not in kept:
            for user in graph.users[items[k]]:
                replacements[user] = reshape(ITEM(new, index=place), user.shape)
        elif k in items:
            replacements[items[k]] = ITEM(new, index=place)
    for place, k in enumerate(outs, len(carries)):
        replacements[items[count + k]] = ITEM(new, index=place)
    return new, replacements


def _only_last(graph: Graph, loop: LoopRoles, history: Node | None) -> bool:
    """True if only the last entry of a history is read."""
    if history is None:
        return True
    last = 0 if loop.reverse else loop.length
    return not among(history, graph.outputs) and all(
        user.op is SLICE and user.attr("size")[0] == 1 and user.attr("start")[0] == last
        and user.shape[1:] == history.shape[1:]
        for user in graph.users[history]
    )  # fmt: skip
