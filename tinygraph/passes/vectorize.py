"""One operator for all steps of a loop at once: its inputs stacked along a new first axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph.ir import Node
from ..graph.op import Kind, Op
from ..ops.indexing import CONCAT
from ..ops.linalg import MATMUL
from ..ops.reduce import MAX, MIN, SUM
from ..ops.view import BROADCAST_TO, FLIP, PAD, RESHAPE, SLICE, TRANSPOSE, broadcast_to, reshape

Stacked = tuple[Node, bool]  # a value; whether it has an axis of steps in front


def vectorizes(n: Node) -> bool:
    """Whether ``vectorized`` knows the operator."""
    return n.op.kind is Kind.ELEMENTWISE or n.op in _RULES


def vectorized(n: Node, inputs: Sequence[Stacked], steps: int) -> Stacked:
    """The values of node ``n`` in all steps, from those of its inputs."""
    if not any(stacked for _, stacked in inputs):
        return n.op(*(x for x, _ in inputs), **dict(n.attrs)), False
    if n.op in _RULES:
        return _RULES[n.op](n, inputs, steps), True
    return n.op(*(_aligned(x, s, n.ndim) for x, s in inputs), **dict(n.attrs)), True


def _aligned(x: Node, stacked: bool, rank: int) -> Node:
    """With axes of size 1 behind that of the steps: it broadcasts to a result of ``rank``."""
    if not stacked:
        return x
    return reshape(x, (x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:]))


def _broadcast_to(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    ((x, stacked),) = inputs
    return broadcast_to(_aligned(x, stacked, n.ndim), (steps, *n.shape))


def _concat(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    parts = (x if stacked else broadcast_to(x, (steps, *x.shape)) for x, stacked in inputs)
    return CONCAT(*parts, axis=n.attr("axis") + 1)


def _matmul(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    return MATMUL(*(_aligned(x, stacked, n.ndim) for x, stacked in inputs))


def _slice(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    start, size, step = ((first, *n.attr(k)) for k, first in
                         (("start", 0), ("size", steps), ("step", 1)))  # fmt: skip
    return SLICE(inputs[0][0], start=start, size=size, step=step)


def _fold(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    axis = tuple(a + 1 for a in n.attr("axis"))
    return n.op(inputs[0][0], axis=axis, keepdims=n.attr("keepdims"))


_RULES: dict[Op, Callable[[Node, Sequence[Stacked], int], Node]] = {
    BROADCAST_TO: _broadcast_to,
    CONCAT: _concat,
    FLIP: lambda n, i, steps: FLIP(i[0][0], axis=tuple(a + 1 for a in n.attr("axis"))),
    MATMUL: _matmul,
    MAX: _fold,
    MIN: _fold,
    PAD: lambda n, i, steps: PAD(
        i[0][0], widths=((0, 0, 0), *n.attr("widths")), value=n.attr("value")
    ),
    RESHAPE: lambda n, i, steps: reshape(i[0][0], (steps, *n.shape)),
    SLICE: _slice,
    SUM: _fold,
    TRANSPOSE: lambda n, i, steps: TRANSPOSE(
        i[0][0], axes=(0, *(a + 1 for a in n.attr("axes")))
    ),
}
