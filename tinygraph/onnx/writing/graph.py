"""Writes the nodes that some outputs need, in order; what is raised comes as one of ONNX's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...graph.ir import Node
from ...graph.op import CONSTANT
from ...graph.origins import origins
from . import elementwise, loops, products, quantization, resampling, shaping, windows  # noqa: F401
from .patterns import Raised
from .writer import RULES, OnnxWriter, Value


def read(n: Node, raised: Mapping[Node, Raised]) -> tuple[Node, ...]:
    """What is needed to write a node."""
    if n in raised:
        return raised[n].inputs
    return n.inputs[:1] if n.op.transparent else n.inputs


def written(
    w: OnnxWriter,
    outputs: Sequence[Node],
    names: dict[Node, Any],
    raised: Mapping[Node, Raised] | None = None,
) -> list[Value]:
    """The names of the outputs; ``names`` has those of what is given, and gets all others."""
    raised = raised or {}
    stack = [(n, False) for n in reversed(outputs)]
    while stack:
        n, ready = stack.pop()
        if n in names:
            continue
        if not ready:
            stack.append((n, True))
            stack += [(i, False) for i in reversed(read(n, raised))]
            continue
        names[n] = _written(w, n, [names[i] for i in read(n, raised)], raised)
    return [names[n] for n in outputs]


def _written(w: OnnxWriter, n: Node, inputs: list[Any], raised: Mapping[Node, Raised]) -> Any:
    if n.op is CONSTANT:
        return w.constant(n.attr("value").data)
    place = next(iter(origins(n)), None)
    w.scope = place.scope.replace(".", "/") if place else ""
    if n in raised:
        return raised[n].write(w, *inputs)
    if n.op.transparent:
        return inputs[0]
    return RULES[n.op.name](w, n, *inputs)
