"""Random compositions of all functions on floats, with their gradients.

Each step applies a function of a table to a value drawn so far. Values are kept small; what
rounding may do to a program is known from its interpretation in float64, so that results of float32
are judged by that. Functions that jump apply to inputs only, which are halfway between the jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.autodiff import GradientError
from tinygraph.graph.float64 import in_float64
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT, PARAMETER

SHAPES = [(3,), (2, 5), (1, 4), (2, 3, 4), (2, 1, 3), (2, 2, 5, 4), (1, 4, 4, 4), (1, 2, 3, 3, 4)]
MOST = 400  # elements


@dataclass
class Composer:
    """Draws functions; ``log`` says which, for whoever reads a failure."""

    seed: int
    inputs: dict[Node, np.ndarray] = field(default_factory=dict)
    pool: list[Node] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    parameters: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def pick(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def axis(self, x: Node) -> int:
        return int(self.rng.integers(-x.ndim, x.ndim))

    def new(self, *shape: int) -> Node:
        """An input, or a parameter; no two of its numbers are equal."""
        count = int(np.prod(shape))
        values = (self.rng.permutation(count) * 4.0 + 2) / max(2 * count, 1) - 1
        array = (values + 0.01 * self.rng.random(count)).reshape(shape).astype("float32")
        if self.rng.random() < 0.3:
            self.parameters += 1
            return tg.parameter(array, f"p{self.parameters}")
        return self.given(array)

    def given(self, array: np.ndarray) -> Node:
        n = tg.input(f"x{len(self.inputs)}", *array.shape, dtype=array.dtype)
        self.inputs[n] = array
        return n

    def steps(self) -> Node:
        """Numbers, an input's, that are a quarter away from whole ones."""
        shape = self.pick(SHAPES[:5])
        whole = self.rng.integers(-3, 4, shape) + self.rng.choice([-0.25, 0.25], shape)
        return self.given(whole.astype("float32"))

    def whole(self, low: int, high: int, *shape: int) -> Node:
        return self.given(self.rng.integers(low, high, shape).astype("int32"))

    def like(self, x: Node) -> Node:
        """A value of x's shape: one drawn so far, or a new one."""
        same = [n for n in self.pool if n.shape == x.shape]
        return self.pick(same) if same and self.rng.random() < 0.6 else self.new(*x.shape)

    def step(self) -> None:
        x = self.pick(self.pool[-4:])
        kind = FUNCTIONS if self.rng.random() < 0.7 else self.pick([SMOOTH, SMOOTH, JUMPING])
        name = self.pick(list(kind))
        rank, function = kind[name]
        small = rank > 3 and min(x.shape[2:], default=0) < 2  # for windows
        if not x.ndim or (rank and x.ndim != rank) or small:
            x = self.new(*self.pick([s for s in SHAPES if rank in (0, len(s))]))
        y = function(self, x)
        self.log.append(f"{name} of {x.type} -> {y.type}")
        if 0 < y.type.size <= MOST:
            self.pool.append(tg.tanh(y * 0.7) if self.rng.random() < 0.7 else y)


Function = Callable[[Composer, Node], Node]
Table = dict[str, tuple[int, Function]]  # by name: the rank that it requires, or 0
FUNCTIONS: Table = {}  # random_functions and random_layers fill these
SMOOTH: Table = {}  # element by element
JUMPING: Table = {}  # of inputs that are halfway between the jumps


def of(rank: int = 0) -> Callable[[Function], Function]:
    def keep(f: Function) -> Function:
        FUNCTIONS[f.__name__] = (rank, f)
        return f

    return keep


# -- whole programs --------------------------------------------------------------------------------


def composed(seed: int, steps: int = 7) -> tuple[Graph, list[np.ndarray], Composer]:
    """The last values of some steps, and gradients of their sum to inputs and parameters."""
    c = Composer(seed)
    c.pool.append(c.new(*c.pick(SHAPES)))
    for _ in range(steps):
        c.step()
    outputs = c.pool[-3:]
    reached = Graph("", (), tuple(outputs)).nodes
    wrt = [n for n in reached if n.op in (INPUT, PARAMETER) and n.dtype == "float32"]
    try:
        loss = sum((tg.sum(v * v) for v in outputs), tg.constant(0.0))
        outputs = [*outputs, *tg.grad(loss, wrt)]
    except GradientError as error:
        c.log.append(f"no gradient: {error}")
    inputs = tuple(n for n in Graph("", (), tuple(outputs)).nodes if n.op is INPUT)
    graph = Graph(f"seed{seed}", inputs, tuple(outputs))
    return graph, [c.inputs[n] for n in inputs], c


def bounds(graph: Graph, arrays: list[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """What outputs are in float64, and how far off float32 may be."""
    wide, parameters = in_float64(graph)
    given = [a.astype("float64") if a.dtype == np.float32 else a for a in arrays]
    for p in parameters:
        value = p.state.read()  # type: ignore[attr-defined]
        given.append(value.astype("float64") if value.dtype == np.float32 else value)
    with np.errstate(all="ignore"):
        narrow, exact = run(graph, *arrays), run(wide, *given)
    found = []
    for a, b in zip(narrow, exact, strict=True):
        size = np.abs(b).max(initial=1)
        found.append((b, 2e-5 * size + 30 * float(np.abs(a - b).max(initial=0))))
    return found
