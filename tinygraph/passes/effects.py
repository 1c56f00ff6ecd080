"""State leaves the graph before the first pass: effects become updates of parameters."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph.ir import Graph, Node, Parameter
from ..graph.op import PLACE
from ..graph.origins import described
from ..graph.rebuild import rebuild
from ..ops.identity import EFFECT

Update = tuple[Parameter, Node]


class UpdateError(ValueError):
    """One parameter that would become two different values."""


def strip_effects(graph: Graph, updates: Iterable[Update] = ()) -> tuple[Graph, tuple[Update, ...]]:
    """The graph without effects, and all updates: the given ones, then those of the effects.

    An effect within an update's value counts as well. All values are computed from the parameters'
    old values.
    """
    given = tuple(updates)
    whole = Graph(graph.name, graph.inputs, (*graph.outputs, *(new for _, new in given)))
    effects: list[tuple[Node, Parameter, Node]] = []

    def build(n: Node) -> Node | None:
        if n.op is not EFFECT:
            return None
        value, parameter, new = n.inputs
        assert isinstance(parameter, Parameter)
        effects.append((n, parameter, new))
        return value

    stripped = rebuild(whole, build).outputs
    count = len(graph.outputs)
    pairs = [(p, new, new) for (p, _), new in zip(given, stripped[count:], strict=True)]
    found: dict[Parameter, tuple[Node, Node]] = {}
    for parameter, new, source in [*pairs, *((p, unplaced(n), e) for e, p, n in effects)]:
        first, first_source = found.setdefault(parameter, (new, source))
        if first is not new:
            places = " and ".join(described(n) for n in (first_source, source))
            raise UpdateError(
                f"parameter {parameter.name} would become two different values: {places}"
            )
    return (
        Graph(graph.name, graph.inputs, stripped[:count]),
        tuple((p, new) for p, (new, _) in found.items()),
    )


def unplaced(n: Node) -> Node:
    """A new value where it was computed: an effect has brought it to the device of its own value,
    where no other of the same update need be.
    """
    while n.op is PLACE:
        n = n.inputs[0]
    return n
