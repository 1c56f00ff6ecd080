"""Random programs as users write them, each step with NumPy's own value beside it.

Sizes 0, 1 and odd ones, every dtype, NaN, infinities and -0.0, indices and masks, NumPy's numbers
as attributes, views between convolutions, long chains, loops, floats of 16 bits in between. Values
are small integers otherwise, so that sums are exact in any order: results are compared bit for bit,
but for signs of zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygraph as tg
from random_programmer import DTYPES, MOST, SIZES, Programmer, Value
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.types import Type

# -- steps -----------------------------------------------------------------------------------------


def unary(p: Programmer, x: Value) -> None:
    a = x.array
    choices: list[tuple[str, Callable, Callable]] = [("where", lambda v: tg.where(v == v, v, v),
                                                      lambda v: v)]  # fmt: skip
    if a.dtype != bool:
        low, high = sorted(p.rng.integers(0, 4, 2).tolist())
        bounds = p.pick([(low, high), (None, high), (low, None), (high + 1, low)])
        choices += [
            ("clip", lambda v: tg.clip(v, *bounds), lambda v: np.clip(v, *bounds)),
            ("relu", tg.relu, lambda v: np.maximum(v, 0)),
            ("square", lambda v: v ** p.whole(2), lambda v: v * v),
        ]
        if not p.smooth:  # it jumps
            choices += [("sign", tg.sign, np.sign)]
        if a.dtype.kind in "ui":
            choices += [("~", lambda v: ~v, lambda v: ~v)]
        if a.dtype.kind != "u":
            choices += [("neg", lambda v: -v, lambda v: -v), ("abs", tg.abs, np.abs)]
    name, f, g = p.pick(choices)
    p.keep(name, f(x.node), g(a))


def binary(p: Programmer, x: Value) -> None:
    y = p.operand(x)
    choices: list[tuple[str, Callable, Callable]] = [
        ("==", lambda a, b: tg.equal(a, b), lambda a, b: a == b),
        ("<", lambda a, b: tg.less(a, b), lambda a, b: a < b),
        ("where", lambda a, b: tg.where(tg.less_equal(a, b), b, a),
         lambda a, b: np.where(a <= b, b, a)),
    ]  # fmt: skip
    if x.array.dtype.kind in "bui":
        choices += [
            ("&", lambda a, b: a & b, lambda a, b: a & b),
            ("|", lambda a, b: a | b, lambda a, b: a | b),
            ("^", lambda a, b: a ^ b, lambda a, b: a ^ b),
        ]
    if x.array.dtype != bool:
        choices += [
            ("+", lambda a, b: a + b, lambda a, b: a + b),
            ("-", lambda a, b: a - b, lambda a, b: a - b),
            ("*", lambda a, b: a * b, lambda a, b: a * b),
            ("maximum", tg.maximum, np.maximum),
            ("minimum", tg.minimum, np.minimum),
        ]
        if not p.smooth:  # these jump
            choices += [("//", tg.floor_divide, np.floor_divide), ("%", tg.mod, np.remainder)]
    name, f, g = p.pick(choices)
    pairs = p.pick([(x, y), (y, x)])
    p.keep(name, f(*(v.node for v in pairs)), g(*(v.array for v in pairs)))


def reduction(p: Programmer, x: Value) -> None:
    a = x.array
    axes = [i for i in range(a.ndim) if p.rng.random() < 0.5]
    given: Any = p.pick([axes, [p.whole(i - a.ndim) for i in axes]]) if a.ndim else None
    axis: Any = tuple(axes) if a.ndim else None
    keep = bool(p.rng.random() < 0.5)
    out = tg.sum(x.node, given, keep)
    choices = [("sum", tg.sum, lambda v, **k: np.sum(v, dtype=out.dtype, **k))]
    if a.dtype == bool:
        choices += [("any", tg.any, np.any), ("all", tg.all, np.all)]
    if a.size and a.dtype != bool:
        choices += [("max", tg.max, np.max), ("min", tg.min, np.min)]
    name, f, g = p.pick(choices)
    p.keep(f"{name} over {given}", f(x.node, given, keep), g(a, axis=axis, keepdims=keep))
    if a.size and a.ndim and a.dtype != bool and p.rng.random() < 0.3:
        at = int(p.rng.integers(a.ndim))
        p.keep("argmax", tg.argmax(x.node, p.whole(at)), np.argmax(a, at).astype("int32"))


def index(p: Programmer, x: Value) -> None:
    """Integers, slices, None, lists and masks, as NumPy means them."""
    a = x.array
    key: list[Any] = []
    for n in a.shape:
        ends = [None, *range(-n - 1, n + 2)]
        options: list[Callable[[], Any]] = [
            lambda: slice(None),
            lambda e=ends: slice(p.pick(e), p.pick(e), p.pick([None, 1, 2, -1, -2])),
        ]
        if n:
            options += [
                lambda n=n: p.whole(int(p.rng.integers(-n, n))),
                lambda n=n: p.rng.integers(-n, n, int(p.rng.integers(0, 4))).tolist(),
                lambda n=n: p.rng.integers(-n, n, 2).astype(p.pick(["int64", "int32", "int8"])),
            ]
        options += [lambda n=n: p.rng.random(n) < 0.5]
        plain = not any(isinstance(k, (list, np.ndarray)) for k in key)
        key.append(p.pick(options if plain else options[:2])())
    key = key[: int(p.rng.integers(len(key) + 1))] if p.rng.random() < 0.3 else key
    if p.rng.random() < 0.2:
        key.insert(int(p.rng.integers(len(key) + 1)), None)
    if p.rng.random() < 0.2 and len(key) < a.ndim:
        key.append(...)
    empty = [np.array(k, int) if isinstance(k, list) else k for k in key]
    p.keep(f"x{key}", x.node[tuple(key)], a[tuple(empty)])


def lookup(p: Programmer, x: Value) -> None:
    """Indices that are data are clamped."""
    a = x.array
    if not a.ndim or not a.shape[0]:
        return
    i = p.source((p.pick(SIZES),), "int32")
    p.keep("x[i]", x.node[i.node], a[np.clip(i.array, 0, a.shape[0] - 1)])


def view(p: Programmer, x: Value) -> None:
    a, n, rank = x.array, x.node, x.array.ndim
    order = p.rng.permutation(rank)
    wide = (p.pick([0, 1, 2]), *a.shape)
    widths = p.rng.integers(-1, 3, (rank, 2))
    widths[np.array(a.shape) < 2] = 1  # nothing to cut off
    value = 1 if a.dtype == bool else p.whole(int(p.rng.integers(0, 3)))
    choices = [
        ("transpose", lambda: tg.transpose(n, order), lambda: a.transpose(order)),
        ("flatten", lambda: tg.reshape(n, (a.size,)), lambda: a.reshape(a.size)),
        ("flip", lambda: tg.flip(n), lambda: np.flip(a)),
        ("expand", lambda: tg.expand_dims(n, p.whole(0)), lambda: a[None]),
        ("squeeze", lambda: tg.squeeze(n), lambda: a.squeeze()),
        ("twice", lambda: tg.stack([n, n], p.whole(rank)), lambda: np.stack([a, a], rank)),
    ]
    if a.size * max(wide[0], 1) <= MOST:
        choices.append(
            ("copies", lambda: tg.broadcast_to(n, wide), lambda: np.broadcast_to(a, wide))
        )
    if rank and a.dtype != bool and math.prod(s + 4 for s in a.shape) <= MOST:
        choices.append(
            ("pad", lambda: tg.pad(n, widths, value=value),
             lambda: _padded(a, widths, value))
        )  # fmt: skip
    if rank and a.size * 2 <= MOST:
        at = int(p.rng.integers(rank))
        choices.append(
            ("concat", lambda: tg.concat([n, tg.flip(n, at), n[:0] if at == 0 else n], p.whole(at)),
             lambda: np.concatenate([a, np.flip(a, at), a[:0] if at == 0 else a], at))
        )  # fmt: skip
    name, f, g = p.pick(choices)
    p.keep(name, f(), g())


def _padded(a: np.ndarray, widths: np.ndarray, value: Any) -> np.ndarray:
    """Negative widths cut off."""
    whole = np.pad(a, np.maximum(widths, 0), constant_values=value)
    ends = np.minimum(widths, 0)
    return whole[
        tuple(slice(-low, n + high) for n, (low, high) in zip(whole.shape, ends, strict=True))
    ]


def cast(p: Programmer, x: Value) -> None:
    dtype = p.pick(DTYPES)
    a = x.array
    unsigned = dtype[0] == "u" and a.dtype.kind == "f"
    if not dtype.startswith(("float", "bool")) and a.dtype.kind == "f" and not np.isfinite(a).all():
        return  # NumPy leaves that open
    if unsigned and (a < 0).any():
        return
    p.keep(f"cast to {dtype}", tg.cast(x.node, dtype), a.astype(dtype))


def product(p: Programmer, x: Value) -> None:
    a = x.array
    if a.ndim < 1 or a.dtype == bool or a.size > 60 or not np.isfinite(a).all():
        return
    if p.smooth and a.dtype == "float32":  # of a convolution
        return
    w = p.source((a.shape[-1], p.pick(SIZES)), a.dtype.name)
    if np.isfinite(w.array).all():
        p.keep("matmul", x.node @ w.node, a @ w.array)


def convolution(p: Programmer, x: Value) -> None:
    """Two convolutions with a nearest upsampling by views between them."""
    count, channels = p.pick([0, 1, 2]), p.pick([1, 2, 3])
    a = p.rng.integers(-2, 3, (count, channels, 3, p.pick([3, 4]))).astype("float32")
    if p.smooth:  # no ties
        a = p.rng.standard_normal(a.shape).astype("float32")
    w = p.rng.integers(-2, 3, (2, channels, 3, 3)).astype("float32")
    image, kernel = tg.input(f"x{len(p.inputs)}", *a.shape), tg.parameter(w, "w")
    p.inputs[image] = a
    y, b = tg.conv2d(image, kernel, padding=p.whole(1)), _convolved(a, w)
    n, c, h, v = b.shape
    if p.rng.random() < 0.6:
        y = tg.reshape(
            tg.broadcast_to(y[:, :, :, None, :, None], (n, c, h, 2, v, 2)), (n, c, 2 * h, 2 * v)
        )
        b = b.repeat(2, 2).repeat(2, 3)
    if p.rng.random() < 0.5:
        y, b = tg.max_pool2d(y, p.whole(2), p.whole(1)), _pooled(b)
    second = p.rng.integers(-1, 2, (1, 2, 3, 3)).astype("float32")
    p.keep("convolutions", tg.conv2d(tg.relu(y), tg.constant(second), padding=1),
           _convolved(np.maximum(b, 0), second))  # fmt: skip


def _convolved(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1))), w.shape[2:], (2, 3)
    )
    return np.einsum("nchwij,ocij->nohw", windows, w).astype("float32")


def _pooled(a: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(a, (2, 2), (2, 3)).max((4, 5), initial=-np.inf)


def narrow(p: Programmer, x: Value) -> None:
    """float16 or bfloat16 in between: each operator's float32 value, rounded once."""
    if x.array.dtype != "float32" or p.smooth:
        return
    dtype = p.pick(["float16", "bfloat16"])
    n, a = tg.cast(x.node, dtype), rounded(x.array, dtype)
    k = p.rng.integers(-40, 40) / 8 + 1 / 3  # third has no exact value in any of them
    choices: list[tuple[str, Callable, Callable]] = [
        ("+", lambda v: v + k, lambda v: v + rounded(k, dtype)),
        ("*", lambda v: v * k, lambda v: v * rounded(k, dtype)),
        ("square", lambda v: v * v, lambda v: v * v),
        ("relu", tg.relu, lambda v: np.maximum(v, 0)),
        ("minimum", lambda v: tg.minimum(v, k), lambda v: np.minimum(v, rounded(k, dtype))),
        ("where", lambda v: tg.where(v < 1, -v, v), lambda v: np.where(v < 1, -v, v)),
        ("flip", tg.flip, np.flip),
        ("flatten", lambda v: tg.reshape(v, (v.type.size,)), np.ravel),
        ("transpose", tg.transpose, np.transpose),
    ]
    names = [dtype]
    for _ in range(int(p.rng.integers(1, 5))):
        name, f, g = p.pick(choices)
        n, a = f(n), rounded(g(a), dtype)
        names.append(name)
    if p.rng.random() < 0.3:  # it crosses the program's border
        given = tg.input(f"x{len(p.inputs)}", *n.shape, dtype=dtype)
        p.inputs[given] = tg.astype(a, dtype)
        n, a = n + given, rounded(a + a, dtype)
    p.keep(", ".join(names), tg.cast(tg.round(n), "float32"), np.round(a))  # whole numbers again


def rounded(a: Any, dtype: str) -> np.ndarray:
    """The nearest numbers of a narrow format, as float32."""
    return tg.astype(tg.astype(np.asarray(a, "float32"), dtype), "float32")


def chain(p: Programmer, x: Value) -> None:
    n, a = x.node, x.array
    if a.dtype == bool or a.dtype.kind == "u" or a.size > 30:
        return
    for _ in range(int(p.rng.integers(50, 300))):
        n, a = tg.maximum(n - 1, -n), np.maximum(a - 1, -a)
    p.keep("chain", n, a)


def loop(p: Programmer, x: Value) -> None:
    a = x.array
    if a.ndim < 1 or a.dtype == bool or a.shape[0] > 5:
        return
    state = np.zeros(a.shape[1:], a.dtype)
    rows = [state := np.maximum(state, row) + 1 for row in a]
    (last,), (stacked,) = tg.scan(
        lambda s, row: (new := tg.maximum(s, row) + 1, new), tg.zeros(a.shape[1:], a.dtype), x.node
    )
    p.keep("scan", last, rows[-1] if rows else state)
    p.keep("scan, stacked", stacked, np.array(rows, a.dtype).reshape(a.shape))


STEPS = [
    unary, unary, binary, binary, binary, reduction, reduction, index, index, view, view, lookup,
    cast, narrow, product, convolution, chain, loop,
]  # fmt: skip


def program(seed: int, steps: int = 10, smooth: bool = False) -> Programmer:
    """A program of so many steps; its last values are its outputs."""
    p = Programmer(seed, smooth)
    for _ in range(2):
        p.source()
    with np.errstate(all="ignore"):
        for _ in range(steps):
            p.pick(STEPS)(p, p.pick(p.pool[-6:]))
    return p


def graph_and_values(p: Programmer) -> tuple[Graph, list[np.ndarray], list[np.ndarray]]:
    """The graph of what was written last, its arguments, and NumPy's values of its outputs."""
    last = p.pool[-4:]
    arguments = [*p.inputs.values()]
    graph = Graph(f"seed{p.seed}", tuple(p.inputs), tuple(v.node for v in last))
    return graph, arguments, [v.array for v in last]


def types_agree(node: Node, array: np.ndarray) -> bool:
    return node.type == Type(array.shape, array.dtype.name)
