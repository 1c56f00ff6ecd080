"""A random program while it is written: what has been computed so far, and NumPy's values of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.graph.ir import Node

DTYPES = ("float32", "float32", "float64", "int32", "int64", "uint8", "uint32", "bool")
SIZES = (0, 1, 1, 2, 3, 5)
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)
MOST = 600  # elements: generated Python is slow


@dataclass
class Value:
    node: Node
    array: np.ndarray


@dataclass
class Programmer:
    """Draws steps; ``log`` says what was written, for whoever reads a failure."""

    seed: int
    smooth: bool = False  # normal numbers in float64, for gradients
    inputs: dict[Node, np.ndarray] = field(default_factory=dict)
    pool: list[Value] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    # ------------------------------------------------------------------ choices

    def pick(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def whole(self, n: int) -> Any:
        """A whole number as Python or NumPy has it."""
        return self.pick([int, int, np.int64, np.int32, lambda k: np.array(k)[()]])(n)

    def draw(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if self.smooth and dtype.startswith("float"):
            return self.rng.standard_normal(shape)
        low = 0 if dtype[0] in "ub" else -3
        a = self.rng.integers(low, 2 if dtype == "bool" else 4, shape).astype(dtype)
        if dtype.startswith("float") and a.size and self.rng.random() < 0.4:
            a.flat[int(self.rng.integers(a.size))] = self.pick(SPECIAL)
        return a

    def source(self, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Value:
        if shape is None:
            shape = tuple(self.pick(SIZES) for _ in range(self.rng.integers(4)))
        a = self.draw(shape, dtype or self.pick(DTYPES))
        if self.rng.random() < 0.2:
            return self.keep("constant", tg.constant(a), a)
        n = tg.input(f"x{len(self.inputs)}", *map(self.whole, shape), dtype=a.dtype)
        self.inputs[n] = a
        return self.keep("input", n, a)

    def operand(self, x: Value) -> Any:
        """Something that meets x: a value of its dtype, or a number."""
        fitting = [
            v for v in self.pool
            if v.array.dtype == x.array.dtype and size(v.array, x.array) <= MOST
        ]  # fmt: skip
        if x.array.dtype != bool and self.rng.random() < 0.3:
            n = self.whole(int(self.rng.integers(0 if x.array.dtype.kind == "u" else -2, 4)))
            return Value(n, np.asarray(n, x.array.dtype))  # type: ignore[arg-type]
        return self.pick(fitting or [x])  # x itself may be larger

    def keep(self, what: str, node: Node, array: Any) -> Value:
        """A value of the program; large ones are brought back among small integers."""
        array = np.asarray(array)
        self.log.append(f"{what} -> {node.type}")
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if array.dtype != bool and finite.size and np.abs(finite.astype("float64")).max() > 200:
            low = 0 if array.dtype.kind == "u" else -7
            node, array = tg.clip(node, low, 9), np.clip(array, low, 9)
        self.pool.append(Value(node, array))
        return self.pool[-1]


def size(a: np.ndarray, b: np.ndarray) -> int:
    try:
        return math.prod(np.broadcast_shapes(a.shape, b.shape))
    except ValueError:
        return MOST + 1
