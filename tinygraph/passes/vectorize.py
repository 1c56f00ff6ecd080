"""One operator for all steps of a loop at once: its inputs stacked along a new first axis."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.ir import Node
from ..graph.op import Kind, Stacked
from ..ops.view import aligned


def vectorizes(n: Node) -> bool:
    """True if ``vectorized`` knows the operator."""
    return n.op.kind is Kind.ELEMENTWISE or n.op.stacked is not None


def vectorized(n: Node, inputs: Sequence[Stacked], steps: int) -> Stacked:
    """The values of node ``n`` in all steps, from those of its inputs."""
    if not any(stacked for _, stacked in inputs):
        return n.op(*(x for x, _ in inputs), **dict(n.attrs)), False
    if n.op.stacked is not None:
        return n.op.stacked(n, inputs, steps), True
    return n.op(*(aligned(x, s, n.ndim) for x, s in inputs), **dict(n.attrs)), True
