"""Is this graph well formed? Runs between passes; the error points at the node."""

from __future__ import annotations

from collections.abc import Set

from .dump import dump
from .ir import Graph, Node, Parameter
from .op import INPUT, OPS, PARAMETER
from .origins import built_from, described, origins


class VerifyError(Exception):
    """A graph that breaks a rule of graphs; the message names the step that made it."""


def verify(graph: Graph, after: str = "construction", known: Set[Node] = frozenset()) -> Graph:
    """Returns the graph if its nodes have the types that are inferred and inputs are declared.

    ``known`` are nodes of a graph with the same inputs that was verified: nodes do not change.
    """
    declared = set(graph.inputs)
    names: dict[str | None, Node] = {}
    for n in graph.inputs:
        if n.op is not INPUT:
            raise VerifyError(f"after {after}: {n.op.name} is listed as an input of {graph.name}")
        if names.setdefault(n.name, n) is not n:
            both = f"{described(names[n.name])} and {described(n)}"
            raise VerifyError(f"after {after}: two inputs of {graph.name} have one name: {both}")
    seen: set[Node] = set()
    for n in graph.nodes:
        if n not in known and (why := _wrong(n, declared, seen)):
            raise VerifyError(f"after {after}: {why}\n{dump(graph, mark=n, note=why)}")
        seen.add(n)
    return graph


def verify_pass(before: Graph, after: Graph, name: str) -> Graph:
    """``verify``, and that the pass kept what callers see: inputs and the outputs' types."""
    for what, old, new in (
        ("inputs", before.inputs, after.inputs),
        ("outputs", tuple(n.type for n in before.outputs), tuple(n.type for n in after.outputs)),
    ):
        if old != new:
            listed = [", ".join(str(getattr(x, "name", x)) for x in side) for side in (old, new)]
            raise VerifyError(f"after {name}: the graph's {what} were {listed[0]}, now {listed[1]}")
    return verify(after, name, frozenset(before.nodes))


def _wrong(n: Node, declared: set[Node], seen: set[Node]) -> str:
    """The fault of this node; "" if there is none."""
    if OPS.get(n.op.name) is not n.op:
        return f"{n.op.name} is not in the operator table"
    if n.op is INPUT and n not in declared:
        return f"{n.name} is read but is not an input"
    if (n.op is PARAMETER) != isinstance(n, Parameter):
        return "parameters are made by tg.parameter"
    if isinstance(n, Parameter) and n.state.type != n.type:
        return f"{n.name} is {n.type}, its value {n.state.type}"
    if not all(i in seen for i in n.inputs):
        return f"{n.op.name} reads itself"
    try:
        with built_from(origins(n)):  # errors name the line that built the node
            want = n.op.infer(*[i.type for i in n.inputs], **dict(n.attrs))
    except Exception as e:
        return f"{n.op.name} refuses its inputs: {e}"
    return "" if want == n.type else f"{n.op.name} says {n.type}, its inputs give {want}"
