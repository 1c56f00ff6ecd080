"""Functions that ``random_composer`` draws: element by element, and along axes."""

from __future__ import annotations

from collections.abc import Callable

import tinygraph as tg
from random_composer import JUMPING, SMOOTH, Composer, Table, of
from tinygraph.graph.ir import Node


def elementwise(functions: dict[str, Callable[[Node], Node]], jump: bool) -> Table:
    return {
        name: (0, lambda c, x, f=f: f(c.steps() if jump else x))  # type: ignore[misc]
        for name, f in functions.items()
    }


# -- element by element ----------------------------------------------------------------------------

PLAIN = """sin cos sinh cosh arctan arcsinh erf exp exp2 expm1 sigmoid softplus tanh celu elu gelu
hardsigmoid hardswish mish selu silu softsign log_sigmoid square neg relu6"""
SMOOTH |= elementwise({
    **{name: getattr(tg, name) for name in PLAIN.split()},
    "tan": lambda x: tg.tan(x * 0.5),
    "arcsin": lambda x: tg.arcsin(tg.tanh(x) * 0.9),
    "arccos": lambda x: tg.arccos(tg.tanh(x) * 0.9),
    "arctanh": lambda x: tg.arctanh(tg.tanh(x) * 0.9),
    "arccosh": lambda x: tg.arccosh(x * x + 1.1),
    "log": lambda x: tg.log(x * x + 0.5),
    "log2": lambda x: tg.log2(x * x + 0.5),
    "log10": lambda x: tg.log10(x * x + 0.5),
    "log1p": lambda x: tg.log1p(x * x),
    "sqrt": lambda x: tg.sqrt(x * x + 0.5),
    "rsqrt": lambda x: tg.rsqrt(x * x + 0.5),
    "reciprocal": lambda x: tg.reciprocal(x * x + 0.5),
    "fixed power": lambda x: (x * x + 0.5) ** 1.7,
    "half power": lambda x: (x * x + 0.5) ** -1.5,
    "stopped": lambda x: x * tg.stop_gradient(x),
    "straight through": lambda x: _STRAIGHT(x),
}, jump=False)  # fmt: skip
_STRAIGHT = tg.custom_gradient(lambda x: x * x, lambda g, y, x: g)

JUMPING |= elementwise({
    **{name: getattr(tg, name) for name in ("floor", "ceil", "round", "trunc", "sign")},
    "fmod": lambda x: tg.fmod(x, 2),
    "mod": lambda x: x % 2,
    "bits": lambda x: _float(
        tg.bitwise_or(tg.bitwise_and(_int(x), 6), tg.bitwise_xor(_int(x), 3))
    ),
    "more bits": lambda x: _float(
        tg.right_shift(tg.bitwise_not(_int(x)), 1) + tg.left_shift(_int(x), 2)
    ),
    "bitcast": lambda x: _float(tg.bitcast(tg.cast(x, "float64"), "int64") > 0),
    "product of bytes": lambda x: _float(_squared(tg.cast(x, "int8"))),
    "argsort": lambda x: _float(tg.argsort(x)),
    "one_hot": lambda x: tg.one_hot(_int(tg.abs(x)), 5),
    "logic": lambda x: _float(tg.logical_xor(x > 1, tg.logical_not(tg.isfinite(x)))),
}, jump=True)  # fmt: skip


def _float(x: Node) -> Node:
    return tg.cast(x, "float32")


def _squared(x: Node) -> Node:
    """Rows times rows."""
    rows = tg.reshape(x, (x.shape[0], x.type.size // x.shape[0]))
    return tg.matmul(rows, tg.transpose(rows), accumulate="int32")


def _int(x: Node) -> Node:
    return tg.cast(x, "int32")


@of()
def power(c: Composer, x: Node) -> Node:
    return (x * x + 0.5) ** c.like(x)


@of()
def arctan2(c: Composer, x: Node) -> Node:
    return tg.arctan2(x, tg.square(c.like(x)) + 0.5)


@of()
def two(c: Composer, x: Node) -> Node:
    y = c.like(x)
    return c.pick([x + y, x - y, x * y, x / (y * y + 0.5), tg.where(c.new(*x.shape) > 0.2, x, y)])


# -- along axes ------------------------------------------------------------------------------------


@of()
def reduced(c: Composer, x: Node) -> Node:
    axis, keep = c.axis(x), bool(c.rng.random() < 0.5)
    f = c.pick([tg.sum, tg.mean, tg.logsumexp, tg.prod])
    return f(x, axis, keepdims=keep)


@of()
def spread(c: Composer, x: Node) -> Node:
    axis = c.axis(x)
    return c.pick([
        lambda: tg.var(x, axis), lambda: tg.std(x * 2 + c.new(*x.shape), axis),
        lambda: tg.norm(x + 2, c.pick([None, 1, 3, 2.5]), axis),
        lambda: tg.sort(c.new(*x.shape), axis) * x, lambda: tg.max(c.new(*x.shape), axis),
        lambda: tg.topk(c.new(*x.shape), 1, axis)[0],
    ])()  # fmt: skip


@of()
def normalized(c: Composer, x: Node) -> Node:
    axis = c.axis(x)
    y = x + c.new(*x.shape)
    return c.pick([
        lambda: tg.softmax(x, axis), lambda: tg.log_softmax(x, axis), lambda: tg.rms_norm(y + 1),
        lambda: tg.layer_norm(y, -1, None, None, 0.1),
    ])()  # fmt: skip


@of()
def running(c: Composer, x: Node) -> Node:
    axis, back = c.axis(x), bool(c.rng.random() < 0.5)
    return c.pick([
        lambda: tg.cumsum(x, axis, back), lambda: tg.cumprod(x + 1.2, axis, back),
        lambda: tg.linear_recurrence(tg.sigmoid(c.like(x)), x, axis, back),
    ])()  # fmt: skip


@of()
def looked_up(c: Composer, x: Node) -> Node:
    axis = c.axis(x)
    n = x.shape[axis]
    i = c.whole(0, n, *c.pick([(2,), (3, 2), ()]))
    same = c.whole(-1, n, *x.shape)
    return c.pick([
        lambda: tg.take(x, i, axis), lambda: tg.take_along_axis(x, same, axis),
        lambda: tg.sum(tg.take(x, c.whole(0, x.shape[0], 2, 3), 0), 1),
        lambda: tg.sum(tg.take(x, c.rng.integers(0, n, 3), axis), 0),
    ])()  # fmt: skip


@of()
def put(c: Composer, x: Node) -> Node:
    n = x.shape[0]
    return c.pick([
        lambda: tg.scatter_add(c.whole(0, 3, n), x, 0, 4),
        lambda: tg.scatter(c.like(x), c.whole(0, n, *x.shape), x, 0, c.pick(["set", "add"])),
        lambda: tg.dynamic_update(c.like(x), x[:1] * 2, [c.whole(0, n), *[0] * (x.ndim - 1)]),
    ])()  # fmt: skip


@of()
def arranged(c: Composer, x: Node) -> Node:
    axis = c.axis(x)
    return c.pick([
        lambda: tg.roll(x, c.pick([-3, 0, 1, 4]), axis), lambda: tg.flip(x, axis),
        lambda: tg.repeat(x, 2, axis), lambda: tg.tile(x, 2), lambda: tg.moveaxis(x, axis, 0),
        lambda: tg.concat([x, c.like(x)], axis), lambda: tg.stack([c.like(x), x], axis),
        lambda: tg.transpose(x), lambda: tg.pad(x, [(1, 2)] * x.ndim, c.pick(["constant", "edge"])),
    ])()  # fmt: skip
