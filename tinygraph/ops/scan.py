"""Loops: a body graph, repeated along the first axis of sequences."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

import numpy as np

from ..graph.convert import whole
from ..graph.interpret import run
from ..graph.ir import Graph, Node, Parameter, among, position
from ..graph.op import Kind, Op, ShapeError, define, promote
from ..graph.size import Size
from ..graph.types import Several, Type
from .identity import EFFECT
from .loop import LoopRoles, dependent, fresh, is_number, reached
from .loop_gradient import loop_gradient
from .source import full
from .view import broadcast_to

__all__ = ("scan",)


def _infer(
    *types: Type,
    body: Graph,
    carries: int,
    sequences: int,
    length: int,
    reverse: bool,
    kept: tuple[bool, ...],
) -> Several:
    """Inputs are the carries' first values, sequences, and what every step reads as it is."""
    if length < 1:
        raise ShapeError(f"scan requires at least one step, got {length}")
    inner, first = [i.type for i in body.inputs], list(types)
    for k in range(carries, carries + sequences):
        if types[k].shape[:1] != (length,):
            raise ShapeError(f"scan requires sequences of length {length}, got {types[k]}")
        first[k] = Type(types[k].shape[1:], types[k].dtype)
    if inner != first:
        raise ShapeError(f"scan requires {_listed(inner)} for its body, got {_listed(first)}")
    outer = [o.type for o in body.outputs]
    _unchanged(body.inputs[:carries], body.outputs[:carries])
    if any(isinstance(n, Parameter) or n.op is EFFECT for n in body.nodes):
        raise ShapeError("scan requires a step without effects: its carries are its state")
    last = zip(outer[:carries], kept, strict=True)
    histories = (Type((length + 1, *t.shape), t.dtype) if keep else t for t, keep in last)
    return Several.of((*histories, *(Type((length, *t.shape), t.dtype) for t in outer[carries:])))


def _listed(types: Iterable[Type]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def _ref(
    *arrays: np.ndarray,
    body: Graph,
    carries: int,
    sequences: int,
    length: int,
    reverse: bool,
    kept: tuple[bool, ...],
) -> list[np.ndarray]:
    state, given = list(arrays[:carries]), arrays[carries + sequences :]
    histories = [np.empty((length + 1, *a.shape), a.dtype) for a in state]
    stacked = [np.empty((length, *o.shape), o.dtype) for o in body.outputs[carries:]]
    for history, first in zip(histories, state, strict=True):
        history[length if reverse else 0] = first
    for t in reversed(range(length)) if reverse else range(length):
        slices = [a[t] for a in arrays[carries : carries + sequences]]
        results = run(body, *state, *slices, *given)
        state = results[:carries]
        for history, value in zip(histories, state, strict=True):
            history[t if reverse else t + 1] = value
        for out, value in zip(stacked, results[carries:], strict=True):
            out[t] = value
    last = (h if keep else s for h, s, keep in zip(histories, state, kept, strict=True))
    return [*last, *stacked]


SCAN: Op = define("scan", Kind.LOOP, infer=_infer, ref=_ref, vjp=loop_gradient)


def scan(
    step: Callable[..., Any],
    initial: Any,
    sequences: Any = (),
    *,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Calls ``step(*carries, *slices) -> (*carries, *outs)`` for every slice along axis 0.

        (h,), (ys,) = tg.scan(lambda h, x: (new := tg.tanh(h @ w + x), new), h0, xs)

    Args:
        step: builds the graph of one step; called once. It may read nodes from outside, which then
            are the same in all steps. It returns the carries' next values, of the same types, and
            then anything else.
        initial: the carries of the first step: a node, or several.
        sequences: a node or several, all of one length along axis 0.
        length: number of steps; needed where there are no sequences.
        reverse: begins with the last slice; outs are in the order of their slices.

    Returns the carries after the last step, and the outs of all steps, stacked along axis 0.

    Raises:
        ShapeError: lengths differ, or a carry changes its type.

    Example:
        >>> zero = tg.constant(0.0)
        >>> (total,), (running,) = tg.scan(lambda t, x: (t + x, t + x), zero, tg.ones((4,)))
        >>> tg.run(running)
        array([1., 2., 3., 4.], dtype=float32)
    """
    first = promote("scan", _several(initial))
    rows = promote("scan", _several(sequences))
    steps = length if length is not None else next((s.shape[0] for s in rows if s.ndim), None)
    if steps is None:
        raise ShapeError("scan requires sequences, or a length")
    steps = whole("scan length", steps)
    if isinstance(steps, Size):
        raise ShapeError(f"scan requires a length that is a number, got {steps}: it cannot be open")
    if any(s.shape[:1] != (steps,) for s in rows):
        types = _listed(s.type for s in rows)
        raise ShapeError(f"scan requires sequences of length {steps}, got {types}")
    carries = tuple(fresh(i.type) for i in first)
    slices = tuple(fresh(Type(s.shape[1:], s.dtype)) for s in rows)
    results = promote("scan", _several(step(*carries, *slices)))
    if len(results) < len(first):
        raise ShapeError(
            f"scan requires a step that returns {len(first)} carries, got {len(results)} values"
        )
    after, others = results[: len(first)], results[len(first) :]
    if steps == 0:
        _unchanged(first, after)
        return first, tuple(full((0, *out.shape), 0, out.dtype) for out in others)
    order = reached(results)
    inside = dependent(order, (*carries, *slices))
    given = _captured(order, inside, after)
    carried = {*after, *carries}
    outs = tuple(r for r in dict.fromkeys(others) if r in inside and r not in carried)
    name = getattr(step, "__name__", "step").strip("<>")
    kept = (True,) * len(first)
    loop = LoopRoles(
        first, rows, given, carries, slices, given, after, outs, steps, reverse, kept, name
    )  # fmt: skip
    n = loop.node()

    def stacked(out: Node) -> Node:
        if among(out, after):
            return loop.left(n, position(out, after))
        if among(out, carries):
            return loop.before(n, position(out, carries))
        if out not in inside:
            return broadcast_to(out, (steps, *out.shape))
        return loop.stacked(n, position(out, outs))

    return tuple(loop.last(n, k) for k in range(len(first))), tuple(map(stacked, others))


def _unchanged(before: Iterable[Node], after: Iterable[Node]) -> None:
    """Checks that a step leaves carries of the types that it takes."""
    takes, leaves = ([n.type for n in nodes] for nodes in (before, after))
    if takes != leaves:
        raise ShapeError(
            f"scan requires a step that returns carries of the types that it takes, "
            f"{_listed(takes)}, got {_listed(leaves)}"
        )


def _several(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _captured(
    order: Iterable[Node], inside: Container[Node], after: Iterable[Node]
) -> tuple[Node, ...]:
    """The nodes that steps read from outside, except numbers, which the body contains."""
    read = [i for n in order if n in inside for i in n.inputs]
    return tuple(n for n in dict.fromkeys((*read, *after)) if n not in inside and not is_number(n))
