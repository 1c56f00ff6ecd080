"""Operators on floats of 16 bits compute in float32, and each rounds its result once."""

from __future__ import annotations

from functools import partial

from ..graph.dtype import DTYPES, computed
from ..graph.ir import Graph, Node
from ..graph.op import Kind
from ..graph.origins import built_from, described, origins
from ..graph.rebuild import with_bodies
from ..graph.rewrite import Event, substitute
from ..ops.logic import CAST, cast

# these move values, or have others inside
KEPT = (Kind.VIEW, Kind.JOIN, Kind.LOOP, Kind.RESULT)


def widen(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with conversions around each operator on floats of 16 bits.

    These are formats of memory only. What a node means, its float32 value rounded once, is then
    written down, whatever kernel it is in: the interpreter, and every way to fuse, give the same
    bits. Whoever wants no rounding between two operators casts to float32 before the first one.
    """
    log = [] if log is None else log
    replacements: dict[Node, Node] = {}
    for n in graph.nodes:
        if n.bodies:
            replacements[n] = with_bodies(n, partial(widen, log=log))
        if not computes_narrow(n):
            continue
        with built_from(origins(n)):
            inputs = [cast(i, computed(i.dtype)) for i in n.inputs]
            attrs = {k: computed(v) if k == "dtype" else v for k, v in n.attrs}
            replacements[n] = cast(n.op(*inputs, **attrs), n.dtype)
        log.append(Event("widen", n, replacements[n]))
    return substitute(graph, replacements)


def require_wide(graph: Graph) -> None:
    """Raises ValueError where an operator is left that computes with floats of 16 bits."""
    for n in filter(computes_narrow, graph.nodes):
        raise ValueError(
            f"{described(n)} needs the pass widen, which was left out, for floats of 16 bits"
        )


def computes_narrow(n: Node) -> bool:
    stored = n.op.kind is Kind.SOURCE and "dtype" not in dict(n.attrs)
    moves = stored or n.op.kind in KEPT or n.op is CAST
    sums = n.attr("accumulate", None) is not None  # which says in what it computes
    return not moves and not sums and any(map(is_narrow, (n, *n.inputs)))


def is_narrow(n: Node) -> bool:
    return n.dtype in DTYPES and computed(n.dtype) != n.dtype
