"""Random graphs over the operator table's element-wise, reduction and view operators, in float64.

In float64 the error of a legal reordering is far below every tolerance, so each difference is an
error. Comparisons read inputs only: elsewhere a last bit could flip them.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tinygraph import ops
from tinygraph.graph.ir import Graph, Node, Parameter
from tinygraph.graph.op import CONSTANT, INPUT, PARAMETER, constant, input
from tinygraph.graph.state import ParameterState
from tinygraph.graph.types import Type
from tinygraph.ops.logic import CAST
from tinygraph.ops.math import POW
from tinygraph.ops.reduce import MAX, SUM
from tinygraph.ops.view import BROADCAST_TO, PAD, RESHAPE, SLICE, TRANSPOSE

SHAPES = [(3, 5), (5,), (1, 5), (3, 1), (2, 3, 5), (), (1,)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -2.5]
UNARY = [
    "neg",
    "abs",
    "relu",
    "exp",
    "tanh",
    "sigmoid",
    "softplus",
    "sqrt",
    "log",
    "log1p",
    "expm1",
    "rsqrt",
]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum"]


def inputs_of(*outputs: Node) -> tuple[Node, ...]:
    return tuple(n for n in Graph("", (), outputs).nodes if n.op is INPUT)


def graph_of(*outputs: Node, name: str = "g") -> Graph:
    return Graph(name, inputs_of(*outputs), outputs)


def parameter(name: str | None, *shape: int, value: float = 1.0) -> Parameter:
    """A parameter that rises from ``value`` by a half."""
    ramp = np.linspace(value, value + 0.5, math.prod(shape)).reshape(shape)
    return Parameter(PARAMETER, ParameterState(Type(shape), name, lambda: ramp.astype("float32")))


@st.composite
def graphs(draw: st.DrawFn, size: int = 14) -> Graph:
    """A graph of up to ``size`` operators with one to three outputs."""
    pick = lambda values: draw(st.sampled_from(values))  # noqa: E731
    pool = [
        input(name, *pick(SHAPES), dtype="float64") for name in "abc"[: draw(st.integers(1, 3))]
    ]
    sources = list(pool)
    pool += [constant(pick(NUMBERS), "float64") for _ in range(2)]
    for _ in range(draw(st.integers(1, size))):
        pool.append(_step(pick, pool, sources))
    made = [n for n in pool if n.op not in (INPUT, CONSTANT)]
    return graph_of(*[pick(made) for _ in range(draw(st.integers(1, 3)))])


def _step(pick, pool: list[Node], sources: list[Node]) -> Node:
    x = pick(pool[-4:] + pool[:2])
    kind = pick(["unary", "binary", "number", "reduce", "view", "view", "where", "pow", "cast"])
    if kind == "unary":
        return getattr(ops, pick(UNARY))(x)
    if kind == "binary":
        others = [y for y in pool if _broadcast(x, y)]
        return getattr(ops, pick(BINARY))(x, pick(others))
    if kind == "number":
        return getattr(ops, pick(BINARY))(*pick([(x, pick(NUMBERS)), (pick(NUMBERS), x)]))
    if kind == "where":
        condition = ops.less(pick(sources), 0.0)
        others = [y for y in pool if _broadcast(x, y) and _broadcast(condition, y)]
        return (
            ops.where(condition, x, pick(others))
            if others and _broadcast(condition, x)
            else ops.neg(x)
        )
    if kind == "pow":
        return POW(x, pick([-1.0, 0.0, 1.0, 2.0, 3.0]))
    if kind == "cast":
        return CAST(x, dtype="float64")
    if kind == "reduce":
        axes = [(), (0,), (x.ndim - 1,), tuple(range(x.ndim))]
        return pick([SUM, MAX])(
            x, axis=pick(axes if x.ndim else [()]), keepdims=pick([True, False])
        )
    return _view(pick, x)


def _view(pick, x: Node) -> Node:
    kind = pick(["reshape", "transpose", "broadcast", "slice", "pad", "flip", "same"])
    if kind == "reshape":
        return RESHAPE(x, shape=pick([x.shape, x.shape[::-1], (x.type.size,), (1, *x.shape)]))
    if kind == "transpose":
        return TRANSPOSE(x, axes=pick([tuple(range(x.ndim)), tuple(reversed(range(x.ndim)))]))
    if kind == "broadcast" and x.ndim < 3:
        return BROADCAST_TO(x, shape=(2, *x.shape))
    if kind == "slice" and all(x.shape):
        start = tuple(n // 3 for n in x.shape)
        size = tuple((n - s + 1) // 2 for n, s in zip(x.shape, start, strict=True))
        return SLICE(x, start=start, size=size, step=tuple(2 if n > 1 else 1 for n in x.shape))
    if kind == "pad" and x.type.size < 100:
        return PAD(x, widths=tuple((1, 0, pick([0, 1])) for _ in x.shape), value=pick([0.0, 1.0]))
    if kind == "flip" and x.ndim:
        return ops.flip(x, 0)
    return SLICE(x, start=(0,) * x.ndim, size=x.shape, step=(1,) * x.ndim)


def _broadcast(x: Node, y: Node) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(x.shape, y.shape))) <= 1000
    except ValueError:
        return False
