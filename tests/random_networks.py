"""Random graphs over the operators that planning finds hard: contractions, windows, gathers,
concatenations, views, reductions and updates of parameters.

All values are small integers, so that float32 computes them exactly in any order: results are
compared bit for bit, and comparisons may stand anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygraph import ops
from tinygraph.graph.dump import dump
from tinygraph.graph.ir import Graph, Node, Parameter
from tinygraph.graph.op import INPUT, PARAMETER, constant, input
from tinygraph.graph.state import ParameterState
from tinygraph.graph.types import Type
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.ops.view import FLIP, PAD, SLICE
from tinygraph.ops.window import WINDOW_MAX, WINDOW_SUM, WINDOW_SUM_TRANSPOSE

EXACT = 2**23  # a float32 holds every integer up to twice this
LARGE = 400  # elements; plain Python takes 2 microseconds for each step of each
SMALL = 3  # values of sources lie in [-SMALL, SMALL]


class Network:
    """A graph whose last outputs are the new values of ``updates``, and arrays for its inputs."""

    def __init__(self, graph: Graph, updates: tuple[Parameter, ...], arrays: list[np.ndarray]):
        self.graph, self.updates, self.arrays = graph, updates, arrays

    def __repr__(self) -> str:
        return f"{dump(self.graph)}\nupdates {[p.name for p in self.updates]}"


@dataclass
class Builder:
    """Nodes drawn so far, with the greatest magnitude that each can have."""

    draw: Callable[[Any], Any]
    dtype: str
    bound: dict[Node, float] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    count: int = 0

    # ------------------------------------------------------------------ choices

    def pick(self, values: Any) -> Any:
        return self.draw(st.sampled_from(list(values)))

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def node(self) -> Node:
        """A value drawn so far, rather a late one."""
        pool = list(self.bound)
        return self.pick(pool[-5:] + pool[:2])

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # ------------------------------------------------------------------ sources

    def source(self, *shape: int) -> Node:
        """An input, parameter or constant."""
        kind = self.pick(["input", "input", "parameter", "constant"])
        if kind == "input" or (kind == "parameter" and self.dtype != "float32"):
            n: Node = input(self.name("x"), *shape, dtype=self.dtype)
        elif kind == "parameter":
            n = self.parameter(*shape)
        else:
            n = constant(integers(shape, self.dtype, self.number(0, 9)))
        self.bound[n] = SMALL
        return n

    def parameter(self, *shape: int) -> Parameter:
        value = integers(shape, "float32", self.number(0, 9))
        order = tuple(self.draw(st.permutations(range(len(shape)))))
        state = ParameterState(Type(shape), self.name("p"), lambda: value, order)
        self.parameters.append(Parameter(PARAMETER, state))
        return self.parameters[-1]

    def operand(self, *shape: int) -> Node:
        """A value of this shape: one that is there, or a new source."""
        same = [n for n in self.bound if n.shape == shape]
        return self.pick(same) if same and self.number(0, 1) else self.source(*shape)

    def keep(self, n: Node, bound: float) -> Node:
        """Adds a value, clipped where it could grow beyond what is exact."""
        if bound > EXACT or (self.dtype == "int32" and bound > 2**30):
            n, bound = ops.clip(n, -SMALL, SMALL), SMALL
        self.bound.setdefault(n, bound)
        return n

    # ------------------------------------------------------------------ steps

    def step(self) -> Node:
        x = self.node()
        kinds = [
            self.unary,
            self.binary,
            self.binary,
            self.choice,
            self.reduce,
            self.view,
            self.view,
            self.concat,
            self.gather,
            self.scatter,
            self.window,
            self.matmul,
            self.matmul,
            self.conv,
        ]
        return self.pick(kinds)(x, self.bound[x])

    def unary(self, x: Node, b: float) -> Node:
        f = self.pick([ops.neg, ops.abs, ops.relu, ops.sign, lambda v: ops.clip(v, -2, 3)])
        return self.keep(f(x), max(b, 3))

    def binary(self, x: Node, b: float) -> Node:
        fitting = [y for y in self.bound if broadcast_size(x, y) <= LARGE]
        y = self.pick(fitting or [x])
        c = self.bound[y]
        f, bound = self.pick(
            [
                (ops.add, b + c),
                (ops.sub, b + c),
                (ops.mul, b * c),
                (ops.maximum, max(b, c)),
                (ops.minimum, max(b, c)),
            ]
        )
        return self.keep(f(*self.pick([(x, y), (y, x)])), bound)

    def choice(self, x: Node, b: float) -> Node:
        y = self.pick([y for y in self.bound if broadcast_size(x, y) <= LARGE] or [x])
        condition = self.pick([ops.less, ops.equal, ops.greater_equal])(x, y)
        if self.number(0, 1):
            return self.keep(ops.where(condition, x, y), max(b, self.bound[y]))
        return self.keep(ops.cast(condition, self.dtype), 1)

    def reduce(self, x: Node, b: float) -> Node:
        axes = tuple(a for a in range(x.ndim) if self.number(0, 1))
        f = self.pick([ops.sum, ops.sum, ops.max, ops.min, ops.argmax])
        if f is ops.argmax:
            if not x.ndim:
                return self.unary(x, b)
            axis = self.number(0, x.ndim - 1)
            return self.keep(ops.cast(ops.argmax(x, axis), self.dtype), x.shape[axis])
        n = math.prod(x.shape[a] for a in axes)
        return self.keep(f(x, axes, keepdims=self.draw(st.booleans())), b * max(n, 1))

    def view(self, x: Node, b: float) -> Node:
        n = self.number(0, 6)
        if n == 0:
            return self.keep(
                ops.reshape(x, self.draw(st.permutations(factors(x.type.size, self)))), b
            )
        if n == 1:
            return self.keep(ops.transpose(x, self.draw(st.permutations(range(x.ndim)))), b)
        if n == 2:
            return self.keep(FLIP(x, axis=tuple(a for a in range(x.ndim) if self.number(0, 1))), b)
        if n == 3:
            start = tuple(self.number(0, s - 1) for s in x.shape)
            step = tuple(self.number(1, 3) for _ in x.shape)
            size = tuple(-(-(s - a) // t) for s, a, t in zip(x.shape, start, step, strict=True))
            return self.keep(SLICE(x, start=start, size=size, step=step), b)
        if n == 4 and x.type.size < 60:
            widths = tuple(
                (self.number(0, 2), self.number(0, 2), self.number(0, 1)) for _ in x.shape
            )
            return self.keep(PAD(x, widths=widths, value=self.pick([0, 0, 2])), max(b, 2))
        if n == 5 and x.type.size < 100:
            return self.keep(
                ops.broadcast_to(ops.expand_dims(x, 0), (self.number(1, 3), *x.shape)), b
            )
        axis = self.number(0, x.ndim)
        return self.keep(ops.expand_dims(x, axis), b)

    def concat(self, x: Node, b: float) -> Node:
        if not x.ndim or x.type.size > 150:
            return self.unary(x, b)
        axis = self.number(0, x.ndim - 1)

        def beside(y: Node) -> tuple[int, ...]:
            return (y.ndim, *y.shape[:axis], *y.shape[axis + 1 :])

        parts = [x]
        for _ in range(self.number(0, 2)):
            others = [y for y in self.bound if beside(y) == beside(x) and y.type.size <= 150]
            parts.append(self.pick(others or [x]))
        joined = ops.concat(self.draw(st.permutations(parts)), axis)
        return self.keep(joined, max(self.bound[p] for p in parts))

    def places(self, *shape: int, size: int) -> Node:
        """Positions, some of them beyond the edges."""
        rng = np.random.default_rng(self.number(0, 9))
        value = rng.integers(-1, size + 1, shape).astype(self.pick(["int32", "int64"]))
        if self.number(0, 1):
            return constant(value)
        return ops.cast(constant(value.astype("float32")), value.dtype.name)

    def gather(self, x: Node, b: float) -> Node:
        if not x.ndim or x.type.size > LARGE // 4:
            return self.unary(x, b)
        axis = self.number(0, x.ndim - 1)
        shape = self.pick([(), (1,), (2,), (3,), (2, 2)])
        return self.keep(ops.take(x, self.places(*shape, size=x.shape[axis]), axis), b)

    def scatter(self, x: Node, b: float) -> Node:
        if not x.ndim or self.number(0, 2) == 0:
            return self.unary(x, b)
        axis = self.number(0, x.ndim - 1)
        if self.number(0, 1):
            total = ops.cumsum(x, axis, reverse=self.draw(st.booleans()))
            return self.keep(total, b * x.shape[axis])
        size = self.number(1, 4)
        places = self.places(x.shape[axis], size=size)
        return self.keep(ops.scatter_add(places, x, axis, size), b * x.shape[axis])

    def window(self, x: Node, b: float) -> Node:
        """Windows along one or two axes."""
        if not x.ndim or self.dtype != "float32":
            return self.unary(x, b)
        kernel, stride, padding, size = [], [], [], []
        for n in x.shape:
            k = min(self.pick([1, 1, 2, 3]), n)
            s, p = self.number(1, 3), self.number(0, k - 1)
            kernel, stride, padding = [*kernel, k], [*stride, s], [*padding, p]
            size.append((n + p - 1) // s + 1 if self.number(0, 1) else max(1, (n + p - k) // s + 1))
        window: dict[str, Any] = {"kernel": tuple(kernel), "stride": tuple(stride)}
        window["padding"] = tuple(padding)
        f = self.pick([WINDOW_SUM, WINDOW_MAX, WINDOW_SUM_TRANSPOSE])
        taps = math.prod(kernel)
        if f is WINDOW_SUM_TRANSPOSE:
            large = [
                (n - 1) * s - p + self.number(1, k)
                for n, s, p, k in zip(x.shape, stride, padding, kernel, strict=True)
            ]
            if min(large) < 1 or math.prod(large) > LARGE:
                return self.unary(x, b)
            return self.keep(f(x, **window, size=tuple(large)), b * taps)
        return self.keep(f(x, **window, size=tuple(size)), b * taps)

    def matmul(self, x: Node, b: float) -> Node:
        if not x.ndim or x.type.size > LARGE // 2:
            return self.unary(x, b)
        k = x.shape[-1]
        n = self.pick([1, 2, 3, 5])
        batch = self.pick([(), x.shape[:-2], (1,) * len(x.shape[:-2])]) if x.ndim >= 2 else ()
        y = self.operand(*batch, k, n)
        if self.number(0, 1):
            y = ops.transpose(
                self.operand(*batch, n, k), (*range(len(batch)), len(batch) + 1, len(batch))
            )
            self.bound.setdefault(y, self.bound[y.inputs[0]])
        return self.keep(ops.matmul(x, y), b * self.bound[y] * k)

    def conv(self, x: Node, b: float) -> Node:
        """One of the three convolutions over what is made five axes [n, group, channel, y, x]."""
        if self.dtype != "float32" or x.type.size > 100:
            return self.unary(x, b)
        shape = ((1,) * 5 + x.shape)[-5:] if x.ndim <= 5 else (1, 1, 1, 1, x.type.size)
        x = ops.reshape(x, shape)
        kernel = self.number(1, 3), self.number(1, 3)
        stride = self.number(1, 3), self.number(1, 3)
        dilation = self.number(1, 2), self.number(1, 2)
        padding = tuple((self.number(0, 2), self.number(0, 2)) for _ in range(2))
        window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        n, groups, channels, *image = x.shape
        out = [
            (image[a] + sum(padding[a]) - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
            for a in range(2)
        ]
        o = self.pick([1, 2, 3])
        which = self.pick(["forward", "input", "weight"])
        if which == "input":
            size = tuple(
                (image[a] - 1) * stride[a]
                + dilation[a] * (kernel[a] - 1)
                + 1
                - sum(padding[a])
                + self.number(0, stride[a] - 1)
                for a in range(2)
            )
            if min(size) < 1 or n * groups * o * math.prod(size) > LARGE:
                return self.unary(x, b)
            w = self.operand(groups, channels, o, *kernel)
            y = CONV2D_INPUT_GRADIENT(x, w, size=size, **window)
            return self.keep(y, b * self.bound[w] * channels * math.prod(kernel))
        if min(out) < 1 or n * groups * o * math.prod(out) > LARGE:
            return self.unary(x, b)
        if which == "weight":
            g = self.operand(n, groups, o, *out)
            y = CONV2D_WEIGHT_GRADIENT(x, g, kernel=kernel, **window)
            return self.keep(y, b * self.bound[g] * n * math.prod(out))
        w = self.operand(groups, o, channels, *kernel)
        return self.keep(CONV2D(x, w, **window), b * self.bound[w] * channels * math.prod(kernel))


def integers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-SMALL, SMALL + 1, shape).astype(dtype)


def broadcast_size(x: Node, y: Node) -> float:
    try:
        return math.prod(np.broadcast_shapes(x.shape, y.shape))
    except ValueError:
        return math.inf


def factors(size: int, builder: Builder) -> list[int]:
    """Some sizes with this product."""
    found = [1] * builder.number(0, 1)
    divisor = 2
    while size > 1 and len(found) < 4:
        if size % divisor == 0 and builder.number(0, 2):
            found.append(divisor)
            size //= divisor
        elif divisor * divisor > size:
            break
        else:
            divisor += 1
    return [*found, size] if size > 1 else found


SHAPES = [(3, 5), (5,), (1, 5), (3, 1), (2, 3, 5), (2, 1, 2, 5, 4), (1, 3, 4, 4), (), (1,), (4, 4)]


@st.composite
def networks(draw: st.DrawFn, size: int = 10, dtypes: tuple[str, ...] = ("float32",)) -> Network:
    """A graph of up to ``size`` steps with one to four outputs, and updates of some parameters."""
    builder = Builder(draw, draw(st.sampled_from(dtypes)))
    for _ in range(draw(st.integers(1, 3))):
        builder.source(*builder.pick(SHAPES))
    for _ in range(draw(st.integers(1, size))):
        builder.step()
    pool = list(builder.bound)
    outputs = [builder.pick(pool[-6:] + pool[:1]) for _ in range(draw(st.integers(1, 4)))]
    updates, new = [], []
    for p in builder.parameters:
        values = [n for n in pool if n.type == p.type and n is not p]
        if values and draw(st.booleans()):
            updates.append(p)
            new.append(builder.pick(values))
    reached = Graph("", (), (*outputs, *new)).nodes
    inputs = tuple(n for n in reached if n.op is INPUT)
    graph = Graph("g", inputs, (*outputs, *new))
    arrays = [integers(i.shape, i.dtype, seed) for seed, i in enumerate(inputs)]
    return Network(graph, tuple(updates), arrays)
