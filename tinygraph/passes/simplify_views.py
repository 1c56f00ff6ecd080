"""Index moves that cancel, join, or move nothing."""

from __future__ import annotations

import math
from typing import Any

from ..graph.dtype import is_float
from ..graph.ir import Graph, Node, node, same
from ..graph.op import PLACE, Kind, broadcast_shapes, input, place
from ..graph.rewrite import Event, rewrite, rule, rules_in, var
from ..ops.arithmetic import add
from ..ops.reduce import MAX, MIN, SUM, keep_shape, max, sum
from ..ops.view import (
    BROADCAST_TO,
    FLIP,
    PAD,
    RESHAPE,
    SLICE,
    TRANSPOSE,
    broadcast_to,
    flip,
    reshape,
    transpose,
)

x, p, q, r, s = var("x"), var("p"), var("q"), var("r"), var("s")
inner_start, inner_step = var("inner_start"), var("inner_step")
start, step, size = var("start"), var("step"), var("size")


@rule(
    RESHAPE(RESHAPE(x, shape=p), shape=q),
    example=lambda: reshape(reshape(input("x", 4, 6), 24), 2, 12),
)
def reshape_twice(out: Node, x: Node, p: Any, q: Any) -> Node:
    return reshape(x, q)


@rule(RESHAPE(x, shape=p), example=lambda: RESHAPE(input("x", 4, 6), shape=(4, 6)))
def reshape_to_same(out: Node, x: Node, p: Any) -> Node | None:
    return x if x.shape == p else None


@rule(
    TRANSPOSE(TRANSPOSE(x, axes=p), axes=q),
    example=lambda: transpose(transpose(input("x", 2, 3, 4), (1, 2, 0)), (2, 0, 1)),
)
def transpose_twice(out: Node, x: Node, p: Any, q: Any) -> Node:
    return transpose(x, tuple(p[a] for a in q))


@rule(TRANSPOSE(x, axes=p), example=lambda: TRANSPOSE(input("x", 2, 3), axes=(0, 1)))
def transpose_nothing(out: Node, x: Node, p: Any) -> Node | None:
    return x if p == tuple(range(x.ndim)) else None


@rule(
    BROADCAST_TO(BROADCAST_TO(x, shape=p), shape=q),
    example=lambda: broadcast_to(broadcast_to(input("x", 1, 3), (4, 3)), (2, 4, 3)),
)
def broadcast_twice(out: Node, x: Node, p: Any, q: Any) -> Node:
    return broadcast_to(x, q)


@rule(BROADCAST_TO(x, shape=p), example=lambda: BROADCAST_TO(input("x", 2, 3), shape=(2, 3)))
def broadcast_nothing(out: Node, x: Node, p: Any) -> Node | None:
    return x if x.shape == p else None


@rule(
    SLICE(SLICE(x, start=inner_start, step=inner_step), start=start, size=size, step=step),
    example=lambda: SLICE(
        SLICE(input("x", 20), start=(1,), size=(9,), step=(2,)), start=(2,), size=(3,), step=(2,)
    ),
)
def slice_twice(
    out: Node, x: Node, inner_start: Any, inner_step: Any, start: Any, size: Any, step: Any
) -> Node:
    first = tuple(a + b * t for a, b, t in zip(inner_start, start, inner_step, strict=True))
    return SLICE(
        x, start=first, size=size, step=tuple(a * b for a, b in zip(inner_step, step, strict=True))
    )


@rule(SLICE(x), example=lambda: SLICE(input("x", 2, 3), start=(0, 0), size=(2, 3), step=(1, 1)))
def slice_nothing(out: Node, x: Node) -> Node | None:
    return x if x.type == out.type else None


@rule(
    SLICE(PAD(x, widths=p), start=start, size=size, step=step),
    example=lambda: SLICE(
        PAD(input("x", 4, 3), widths=((1, 2, 1), (0, 1, 0)), value=0),
        start=(1, 0),
        size=(4, 3),
        step=(2, 1),
    ),
)
def slice_of_pad(out: Node, x: Node, p: Any, start: Any, size: Any, step: Any) -> Node | None:
    """The slice that takes exactly what was padded: its gradient, forward and back."""
    taken = all(
        n == count and low == first and high >= 0 and (gap + 1 == by or n <= 1)
        for n, (low, high, gap), first, count, by in zip(x.shape, p, start, size, step, strict=True)
    )
    return x if taken else None


@rule(
    PAD(x, widths=p), example=lambda: PAD(input("x", 2, 3), widths=((0, 0, 0), (0, 0, 0)), value=0)
)
def pad_nothing(out: Node, x: Node, p: Any) -> Node | None:
    return x if x.shape == out.shape and all(w == (0, 0, 0) for w in p) else None


@rule(
    PAD(PAD(x, widths=p, value=r), widths=q, value=s),
    example=lambda: PAD(
        PAD(input("x", 3), widths=((1, 0, 0),), value=0), widths=((2, 1, 0),), value=0
    ),
)
def pad_twice(out: Node, x: Node, p: Any, q: Any, r: Any, s: Any) -> Node | None:
    plain = all(low >= 0 and high >= 0 for low, high, _ in (*p, *q)) and not any(
        gap for *_, gap in q
    )
    if not plain or (r, math.copysign(1, r)) != (s, math.copysign(1, s)):
        return None
    joined = ((a + c, b + d, gap) for (a, b, gap), (c, d, _) in zip(p, q, strict=True))
    return PAD(x, widths=tuple(joined), value=r)


@rule(FLIP(FLIP(x, axis=p), axis=q), example=lambda: flip(flip(input("x", 4, 3), 1), (0, 1)))
def flip_twice(out: Node, x: Node, p: Any, q: Any) -> Node:
    axes = tuple(a for a in range(x.ndim) if (a in p) != (a in q))
    return flip(x, axes) if axes else x


@rule(FLIP(x, axis=p), example=lambda: flip(input("x", 1, 3), 0))
def flip_nothing(out: Node, x: Node, p: Any) -> Node | None:
    return x if all(x.shape[a] == 1 for a in p) else None


def _reads_broadcast(n: Node) -> bool:
    return n.op.kind is Kind.ELEMENTWISE and any(i.op is BROADCAST_TO for i in n.inputs)


@rule(
    var("n", where=_reads_broadcast),
    example=lambda: add(input("x", 4, 3), broadcast_to(input("b", 3), (4, 3))),
)
def absorb_broadcast(out: Node, n: Node) -> Node | None:
    """Element-wise operators broadcast by themselves, if another input has the whole shape."""
    inputs = list(n.inputs)
    for k, i in enumerate(inputs):
        if i.op is BROADCAST_TO:
            trial = [*inputs[:k], i.inputs[0], *inputs[k + 1 :]]
            if broadcast_shapes(n.op.name, *(t.type for t in trial)) == n.shape:
                inputs = trial
    return None if same(inputs, n.inputs) else node(n.op, tuple(inputs), n.attrs, n.type)


def _moves_nothing(n: Node) -> bool:
    return n.op in (SUM, MAX, MIN) and all(n.inputs[0].shape[a] == 1 for a in n.attr("axis"))


@rule(var("n", where=_moves_nothing), example=lambda: sum(input("x", 4, 1), 1))
def reduce_nothing(out: Node, n: Node) -> Node:
    """A sum starts at 0.0, so its -0.0 becomes 0.0."""
    x = reshape(n.inputs[0], n.shape)
    return add(x, 0.0) if n.op is SUM and is_float(x.dtype) else x


def _extreme_of_broadcast(n: Node) -> bool:
    return n.op in (MAX, MIN) and n.inputs[0].op is BROADCAST_TO


@rule(
    var("n", where=_extreme_of_broadcast),
    example=lambda: max(broadcast_to(input("x", 3, 1), (3, 4)), (0, 1)),
)
def extreme_of_broadcast(out: Node, n: Node) -> Node | None:
    """Copies do not change an extreme."""
    narrow = unrepeated(n)
    return (
        None if narrow is None else n.op(narrow, axis=n.attr("axis"), keepdims=n.attr("keepdims"))
    )


def unrepeated(n: Node) -> Node | None:
    """The broadcast input of a reduction, with size 1 along axes that are repeated and folded."""
    wide = n.inputs[0]
    x = wide.inputs[0]
    aligned = (1,) * (wide.ndim - x.ndim) + x.shape
    repeated = tuple(a for a in n.attr("axis") if aligned[a] == 1 and wide.shape[a] > 1)
    return broadcast_to(x, keep_shape(wide.shape, repeated)) if repeated else None


@rule(
    PLACE(x, device=p),
    example=lambda: PLACE(PLACE(input("x", 4), device="cpu:0"), device="cpu:1"),
)
def place_once(out: Node, x: Node, p: Any) -> Node:
    """A value that other rules left between two devices goes straight to the last."""
    return place(x, p)


RULES = rules_in(globals())


def simplify_views(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Joins and drops reshapes, transposes, slices and their like."""
    return rewrite(graph, RULES, log)
