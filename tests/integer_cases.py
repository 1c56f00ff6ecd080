"""Every operator on integers at the limits of their dtype, with what Python's integers say.

Arithmetic is exact and then wraps around to the dtype's width, as NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygraph as tg
from compiled import graph_of
from tinygraph.compiler.arguments import draw
from tinygraph.graph.dtype import DTYPES, astype
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import CONSTANT, INPUT
from tinygraph.graph.rebuild import rebuild

INTEGERS = [d.name for d in DTYPES.values() if d.is_integer]
FLOATS = np.array([-70000.5, -300.75, -129, -1.5, -0.5, 0, 0.5, 200.75, 300.25, 70000.5], "float32")


def ends(dtype: str) -> np.ndarray:
    """The limits of a dtype and what is near them, 0 and numbers around it; some floats."""
    if DTYPES[dtype].is_float:
        return astype([0, 1, -1, 0.5, -2.5, 100, -100, 3e4], dtype)
    low, high = int(DTYPES[dtype].least), int(DTYPES[dtype].greatest)
    near = (low, low + 1, low // 2, -1, 0, 1, 2, high // 2, high // 2 + 1, high - 1, high)
    return np.array(sorted({v for v in near if low <= v <= high}), dtype)


def wrapped(value: int, dtype: str) -> int:
    record = DTYPES[dtype]
    if record.kind == "bool":
        return int(value != 0)
    return (value - int(record.least)) % 2**record.bits + int(record.least)


def sign(x: int) -> int:
    return (x > 0) - (x < 0)


# the operator, its meaning on two Python integers, and the result's dtype, if it is another one
PAIRS: dict[str, tuple[Callable[..., Node], Callable[[int, int], int], str]] = {
    "add": (tg.add, lambda a, b: a + b, ""),
    "sub": (tg.sub, lambda a, b: a - b, ""),
    "mul": (tg.mul, lambda a, b: a * b, ""),
    "floor_divide": (tg.floor_divide, lambda a, b: a // b if b else 0, ""),
    "mod": (tg.mod, lambda a, b: a % b if b else 0, ""),
    "fmod": (tg.fmod, lambda a, b: sign(a) * (abs(a) % abs(b)) if b else 0, ""),
    "by a number": (lambda a, b: tg.floor_divide(a, 3), lambda a, b: a // 3, ""),
    "rest": (lambda a, b: tg.mod(a, 7), lambda a, b: a % 7, ""),
    "bitwise_and": (tg.bitwise_and, lambda a, b: a & b, ""),
    "bitwise_or": (tg.bitwise_or, lambda a, b: a | b, ""),
    "bitwise_xor": (tg.bitwise_xor, lambda a, b: a ^ b, ""),
    "bitwise_not": (lambda a, b: tg.bitwise_not(a), lambda a, b: ~a, ""),
    "left_shift": (lambda a, b: tg.left_shift(a, tg.mod(b, 70)), lambda a, b: a << b % 70, ""),
    "right_shift": (lambda a, b: tg.right_shift(a, tg.mod(b, 70)), lambda a, b: a >> b % 70, ""),
    "maximum": (tg.maximum, max, ""),
    "minimum": (tg.minimum, min, ""),
    "where": (lambda a, b: tg.where(a < b, a, b - a), lambda a, b: a if a < b else b - a, ""),
    "neg": (lambda a, b: -a, lambda a, b: -a, ""),
    "abs": (lambda a, b: tg.abs(a), lambda a, b: abs(a), ""),
    "abs of a wrapped sum": (lambda a, b: tg.abs(a + b), lambda a, b: abs(a + b), "again"),
    "sign": (lambda a, b: tg.sign(a), lambda a, b: sign(a), ""),
    "relu": (lambda a, b: tg.relu(a), lambda a, b: max(a, 0), ""),
    "relu of abs": (lambda a, b: tg.relu(tg.abs(a)), lambda a, b: max(abs(a), 0), "again"),
    "clip": (lambda a, b: tg.clip(a, 3, 90), lambda a, b: min(max(a, 3), 90), ""),
    "clip upside down": (lambda a, b: tg.clip(a, 9, 5), lambda a, b: 5, ""),
    "clip at nothing": (lambda a, b: tg.clip(a, -(10**30), 10**30), lambda a, b: a, ""),
    "less": (tg.less, lambda a, b: a < b, "bool"),
    "less_equal": (tg.less_equal, lambda a, b: a <= b, "bool"),
    "equal": (tg.equal, lambda a, b: a == b, "bool"),
    "not_equal": (tg.not_equal, lambda a, b: a != b, "bool"),
    **{
        f"cast to {d.name}": (lambda a, b, d=d: tg.cast(a + b, d.name), lambda a, b: a + b, d.name)
        for d in DTYPES.values()
        if not d.is_float
    },
}


def expected_of_pair(name: str, a: int, b: int, dtype: str) -> int:
    meaning, kind = PAIRS[name][1:]
    if name.startswith("cast"):
        return wrapped(wrapped(meaning(a, b), dtype), kind)
    if kind == "again":  # once for the operator within, once for the one around it
        inner = wrapped(abs(a) if "relu" in name else a + b, dtype)
        return wrapped(max(inner, 0) if "relu" in name else abs(inner), dtype)
    return wrapped(meaning(a, b), kind or dtype)


def rows(x: Node) -> list[Node]:
    """What reads more than one element of x[n, m]."""
    eye = tg.constant(np.eye(2, x.shape[0]).astype(x.dtype))
    ramp = tg.constant(np.arange(x.shape[1], 0, -1), "float32")
    return [
        tg.sum(x, 1), tg.sum(x), tg.cumsum(x, 1), tg.cumsum(x, 0, reverse=True),
        tg.max(x, 1), tg.min(x, 0), tg.argmax(x, 1), tg.argmin(x, 0),
        eye @ x, tg.pad(x, 1, value=int(x.dtype != "bool") * 5), tg.flip(x, 1), x[1:, ::2],
        tg.concat([x, x + x], 0), tg.transpose(x), tg.take(x, [2, 0], 1),
        tg.scatter_add([1, 1, 0], x[:3], 0, 2), tg.cast(x, "float32"), tg.cast(x, "float64"),
        tg.take(ramp[-7:], tg.mod(x, 7)), tg.scatter_add(tg.mod(x[0], 3), ramp, 0, 3),
    ]  # fmt: skip


def expected_rows(x: np.ndarray) -> list[np.ndarray]:
    wide, count = x.astype(object), DTYPES[x.dtype.name].accumulator

    def of(values: Any, dtype: str = x.dtype.name) -> np.ndarray:
        exact = np.asarray(values, object)
        return np.vectorize(lambda v: wrapped(int(v), dtype), otypes=[dtype])(exact)

    added = [wide[2], wide[0] + wide[1]]
    ramp, counted = np.arange(x.shape[1], 0, -1), np.zeros(3, "float32")
    np.add.at(counted, (wide[0] % 3).astype(int), ramp)
    return [
        of(wide.sum(1), count), of(wide.sum(), count), of(wide.cumsum(1), count),
        of(wide[::-1].cumsum(0)[::-1], count), x.max(1), x.min(0),
        x.argmax(1).astype("int32"), x.argmin(0).astype("int32"), x[:2],
        np.pad(x, 1, constant_values=5), x[:, ::-1], x[1:, ::2],
        of(np.concatenate([wide, wide + wide])), x.T, x[:, [2, 0]], of(added),
        x.astype("float32"), x.astype("float64"), (7 - wide % 7).astype("float32"), counted,
    ]  # fmt: skip


def pairs_graph(dtype: str, a: Any = None, b: Any = None) -> Graph:
    n = len(ends(dtype))
    a = tg.input("a", n, 1, dtype=dtype) if a is None else a
    b = tg.input("b", n, dtype=dtype) if b is None else b
    shape = (n, n)
    made = [tg.broadcast_to(build(a, b), shape) for build, *_ in PAIRS.values()]
    inputs = tuple(x for x in (a, b) if x.op.name == "input")
    return Graph("pairs", inputs, tuple(made))


def pairs_expected(dtype: str) -> list[np.ndarray]:
    values = [int(v) for v in ends(dtype)]
    found = []
    for name, (_, _, kind) in PAIRS.items():
        table = [[expected_of_pair(name, a, b, dtype) for b in values] for a in values]
        found.append(np.array(table, dtype if kind in ("", "again") else kind))
    return found


def retyped(y: Node, dtype: str) -> Graph | None:
    """An operator's example with integers in place of its floats; None if it refuses them."""
    graph = graph_of(y)

    def change(n: Node) -> Node:
        if n.op is INPUT and n.dtype == "float32":
            return tg.input(n.name or "x", *n.shape, dtype=dtype)
        if n.op is CONSTANT and n.dtype == "float32":
            return tg.constant(n.attr("value").data.astype(dtype))
        return n if n.op is INPUT else n.op(*n.inputs, **dict(n.attrs))

    try:
        return graph_of(*rebuild(graph, change).outputs)
    except tg.ShapeError:
        return None


def drawn(graph: Graph, dtype: str) -> list[np.ndarray]:
    """Numbers near the limits for the inputs of a dtype, small ones for the others."""
    rng = np.random.default_rng(0)
    return [
        rng.choice(ends(dtype), i.shape) if i.dtype == dtype != "int32" else draw(i.type, rng)
        for i in graph.inputs
    ]


def check(got: list[np.ndarray], want: list[np.ndarray], names: Any = None) -> None:
    assert len(got) == len(want)
    for name, one, other in zip(names or range(len(want)), got, want, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=str(name), strict=True)
