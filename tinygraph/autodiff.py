"""Reverse mode as graph building: gradients are nodes and can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph.dtype import is_float
from .graph.float64 import in_float64
from .graph.interpret import run
from .graph.ir import Graph, Node, position
from .graph.numeric import numeric
from .graph.op import Kind, constant, input
from .graph.origins import built_from, described, origins
from .graph.placement import device, device_of
from .graph.types import Several, Type
from .ops.arithmetic import add, mul
from .ops.indexing import concat
from .ops.reduce import sum as sum_over
from .ops.reduce import sum_to
from .ops.source import zeros
from .ops.view import PAD


class GradientError(TypeError):
    """A gradient that does not exist; the message names the operator and what needed it."""


def grad(loss: Node, wrt: Node | Sequence[Node]) -> list[Node]:
    """The gradients of a 0-d node with respect to ``wrt``, one node each, of its shape and dtype.

    What the loss does not depend on gets zeros. Nodes carry the origins of the node they are a
    gradient of, and are placed where it is.

    Example:
        >>> x = tg.input("x", 3)
        >>> (dx,) = tg.grad(tg.sum(x * x), [x])
        >>> tg.run(dx, [1.0, 2.0, 3.0])
        array([2., 4., 6.], dtype=float32)
    """
    targets = [wrt] if isinstance(wrt, Node) else list(wrt)
    _check(loss, targets)
    found = pull_back([loss], [constant(1.0, loss.dtype)], targets)
    pairs = zip(targets, found, strict=True)
    return [zeros(w.shape, w.dtype) if g is None else g for w, g in pairs]


def pull_back(
    outputs: Sequence[Node], gradients: Sequence[Node], targets: Sequence[Node]
) -> list[Node | None]:
    """The gradients of the targets from those of the outputs; None if no output depends on one."""
    order = Graph("", (), tuple(outputs)).nodes
    depends = _dependents(order, targets)
    parts: dict[Node, list[Node]] = {}
    results: dict[Node, dict[int, Node]] = {}  # loop -> gradients of its results
    total: dict[Node, Node] = {}
    for n, g in zip(outputs, gradients, strict=True):
        parts.setdefault(n, []).append(g)
    for n in reversed(order):
        if n not in depends or (n not in parts and n not in results):
            continue
        with built_from(origins(n), "gradient of"), device(device_of(n)):
            if n.op.kind is Kind.LOOP:
                count = len(n.type.types) if isinstance(n.type, Several) else 0
                each = [results[n].get(k) for k in range(count)]
                found = _differentiated(n, each, outputs, targets, pull_back=pull_back)
            else:
                total[n] = _sum(parts.pop(n))
                if n.op.kind is Kind.RESULT:
                    results.setdefault(n.inputs[0], {})[n.attr("index")] = total[n]
                    continue
                if not any(i in depends for i in n.inputs):
                    continue
                found = _differentiated(n, total[n], outputs, targets)
            for x, part in zip(n.inputs, found, strict=True):
                if part is not None and x in depends:
                    parts.setdefault(x, []).append(_fitted(n, x, part))
    return [total.get(w) for w in targets]


def _check(loss: Node, targets: list[Node]) -> None:
    if loss.shape != () or not _differentiable(loss):
        raise GradientError(f"grad requires a loss of one float element, got {described(loss)}")
    for w in targets:
        if not _differentiable(w):
            raise GradientError(f"grad with respect to {described(w)}: only floats have gradients")


def _differentiable(n: Node) -> bool:
    types = n.type.types if isinstance(n.type, Several) else (n.type,)
    return any(is_float(t.dtype) for t in types)


def _dependents(order: Sequence[Node], targets: Sequence[Node]) -> set[Node]:
    """The nodes through which a change of the targets can reach the loss."""
    found = set(targets)
    for n in order:
        if n not in found and _differentiable(n) and any(i in found for i in n.inputs):
            found.add(n)
    return found


def _sum(parts: list[Node]) -> Node:
    """Left to right, in the order in which they came up; the slices of a split side by side."""
    slices = [p for p in parts if p.op is PAD]
    if len(slices) > 1 and (whole := _side_by_side(slices)) is not None:
        parts = [whole, *(p for p in parts if p.op is not PAD)]
    total = parts[0]
    for p in parts[1:]:
        total = add(total, p)
    return total


def _side_by_side(pads: list[Node]) -> Node | None:
    """The sum of padded values as their concatenation, if each fills what the others leave 0."""
    moved = {a for p in pads for a, w in enumerate(p.attr("widths")) if w != (0, 0, 0)}
    if len(moved) != 1 or any(p.attr("value") != 0 for p in pads):
        return None
    (axis,), end = moved, 0
    ordered = sorted(pads, key=lambda p: p.attr("widths")[axis][0])
    for p in ordered:
        low, _, gap = p.attr("widths")[axis]
        if low != end or gap:
            return None
        end += p.inputs[0].shape[axis]
    parts = [p.inputs[0] for p in ordered]
    return concat(parts, axis) if end == pads[0].shape[axis] else None


def _differentiated(
    n: Node, g: Any, outputs: Sequence[Node], targets: Sequence[Node], **options: Any
) -> tuple[Node | None, ...]:
    """The gradients of a node's inputs."""
    if n.op.vjp is None and n.op.written_out is not None and not n.op.no_gradient:
        return tuple(pull_back([n.op.written_out(n)], [g], n.inputs))
    if n.op.vjp is None:
        needed = ", ".join(
            described(w) for w in targets if n in _dependents(Graph("", (), (n,)).nodes, [w])
        )
        why = f", on purpose: {n.op.no_gradient}" if n.op.no_gradient else ""
        raise GradientError(
            f"{described(n)} has no gradient{why}; {needed} needed it for that of "
            f"{described(outputs[0])}"
        )
    found = n.op.vjp(g, n, *n.inputs, **options)
    if not isinstance(found, (tuple, list)) or len(found) != len(n.inputs):
        got = f"{len(found)}" if isinstance(found, (tuple, list)) else f"{found!r}"
        raise GradientError(
            f"{n.op.defined}: the vjp of operator {n.op.name} must return a tuple of "
            f"{len(n.inputs)}, a node or None for each input, got {got}"
        )
    return tuple(found)


def _fitted(n: Node, x: Node, g: Node) -> Node:
    """The one place where broadcasting is undone."""
    if g.shape != x.shape:
        g = sum_to(g, x.shape)
    if g.type != x.type:
        raise GradientError(f"the gradient of {n.op.name} is {g.type}, its input {x.type}")
    return g


@numeric
def check_grad(
    fn: Callable[..., Node] | tuple[Sequence[Node], Node],
    *arrays: Any,
    tolerance: float = 1e-5,
    step: float = 1e-5,
    seed: int = 0,
) -> float:
    """Compares gradients with central differences in float64, by the interpreter.

    ``fn`` is a function of nodes, or (inputs, output); ``arrays`` are values of the inputs, drawn
    from a normal distribution where left out. Returns the largest error relative to max(1,
    |gradient|) of random directional derivatives; raises GradientError above ``tolerance``.

    Args:
        step: of the differences, shortened up to 100 times where they differ from the gradient,
            as they do across a kink. ``seed``: of values and directions.

    Example:
        >>> tg.check_grad(lambda x: tg.sum(tg.tanh(x)), np.array([0.1, -2.0])) < 1e-5
        True
    """
    rng = np.random.default_rng(seed)
    graph, _ = in_float64(_as_graph(fn, arrays))
    values = [np.asarray(a, n.dtype) for n, a in zip(graph.inputs, arrays, strict=False)]
    values += [_drawn(rng, n.type) for n in graph.inputs[len(values) :]]
    [out] = graph.outputs
    weights = rng.standard_normal(out.shape)
    loss = sum_over(mul(out, constant(weights)))
    wrt = [n for n in graph.inputs if _differentiable(n)]
    gradients = run(Graph("gradients", graph.inputs, tuple(grad(loss, wrt))), *values)
    forward = Graph("forward", graph.inputs, (out,))
    worst = 0.0
    for w, g in zip(wrt, gradients, strict=True):
        k = position(w, graph.inputs)
        direction = rng.standard_normal(w.shape)

        exact = float((g * direction).sum())
        for by in (step, step / 10, step / 100):  # shorter ones leave a kink outside
            numeric = _central_difference(forward, values, k, by * direction, weights) / (2 * by)
            error = abs(exact - numeric) / max(1.0, abs(numeric))
            if error <= tolerance:
                break
        if not error <= tolerance:
            raise GradientError(
                f"the gradient of {out.op.name} with respect to {w.name} is off by {error:.3g}"
            )
        worst = max(worst, error)
    return worst


def _central_difference(
    forward: Graph, values: Sequence[np.ndarray], k: int, by: np.ndarray, weights: np.ndarray
) -> float:
    """The weighted output with input ``k`` moved by ``by``, less that with it moved by -``by``.

    Subtracted element by element: what stays as it was cancels exactly, however large it is.
    """
    up, down = (
        run(forward, *(v + d if i == k else v for i, v in enumerate(values)))[0] for d in (by, -by)
    )
    return float(((np.asarray(up) - np.asarray(down)) * weights).sum())


def _as_graph(fn: Any, arrays: Sequence[Any]) -> Graph:
    if callable(fn):
        given = [np.asarray(a) for a in arrays]
        nodes = [input(f"x{k}", *a.shape, dtype=a.dtype.name) for k, a in enumerate(given)]
        return Graph("checked", tuple(nodes), (fn(*nodes),))
    inputs, output = fn
    return Graph("checked", tuple(inputs), (output,))


def _drawn(rng: np.random.Generator, type: Type) -> np.ndarray:
    if is_float(type.dtype):
        return rng.standard_normal(type.shape).astype(type.dtype)
    return np.zeros(type.shape, type.dtype)
