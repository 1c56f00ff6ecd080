"""Operators that are made of others, written out where the backend has no kernel for them, or where
its kernel is not the better way.
"""

from __future__ import annotations

from functools import partial

from ..graph.ir import Graph, Node
from ..graph.op import Kind
from ..graph.origins import built_from, origins
from ..graph.rebuild import with_bodies
from ..graph.rewrite import Event, substitute
from ..plan.records.target import Target
from ..plan.winograd.choice import place


def expand_composites(
    graph: Graph,
    *,
    target: Target | None = None,
    log: list[Event] | None = None,
    remarks: list[str] | None = None,
) -> Graph:
    """The graph without operators of kind COMPOSITE but those that the target has kernels for."""
    log, remarks = [] if log is None else log, [] if remarks is None else remarks
    within = partial(expand_composites, target=target, log=log, remarks=remarks)
    replacements: dict[Node, Node] = {}
    for n in graph.nodes:
        if n.bodies:
            replacements[n] = with_bodies(n, within)
        if n.op.kind is not Kind.COMPOSITE or not (why := refusal(n, target)):
            continue
        assert n.op.written_out is not None
        with built_from(origins(n)):
            replacements[n] = n.op.written_out(n)
        log.append(Event("expand_composites", n, replacements[n]))
        remarks.append(f"{place(n)}: written out in other operators, because {why}")
    return substitute(graph, replacements)


def refusal(n: Node, target: Target | None) -> str:
    """Why a target does not compute a composite node by a kernel of its own; "" if it does."""
    kernel = None if target is None else target.kernels.get(n.op.name)
    return "this backend has no kernel for it" if kernel is None else kernel.refusal(n)
