"""Patterns that are one operator of ONNX, so that other runtimes fuse them.

Nodes are interned: a pattern is found by guessing what it was made of, making it again, and looking
whether that gives the same node. What a raised node replaced is written only if others read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import ops
from ...graph.ir import Graph, Node
from ...graph.op import CONSTANT, ShapeError
from .products import correlated, grouped, window
from .writer import OnnxWriter, Value


@dataclass(frozen=True)
class Raised:
    """A node as one of ONNX's operators: what it reads, and how it is written."""

    inputs: tuple[Node, ...]
    write: Callable[..., Value]


def raised(graph: Graph) -> dict[Node, Raised]:
    """The nodes of the graph that are one operator of ONNX."""
    found: dict[Node, Raised] = {}
    for n in graph.nodes:
        for guess in GUESSES.get(n.op.name, ()):
            made = guess(n, graph)
            if made is not None:
                found[n] = made
                break
    return found


def simple(op: str, *inputs: Node, **attributes: Any) -> Raised:
    return Raised(inputs, lambda w, *xs: w.add(op, *xs, **attributes))


def number(n: Node) -> float | None:
    """The number that a constant is, if it is one."""
    if n.op is not CONSTANT or n.type.size != 1:
        return None
    return float(n.attr("value").data.reshape(-1)[0])


def rebuilt(n: Node, build: Callable[[], Node]) -> bool:
    """Whether this builds the node."""
    try:
        return build() is n
    except (ShapeError, ValueError, TypeError):
        return False


def below(n: Node, *path: int) -> Node | None:
    """The node that is reached by these inputs, if there are so many."""
    for i in path:
        if i >= len(n.inputs):
            return None
        n = n.inputs[i]
    return n


def softmax(n: Node, graph: Graph) -> Raised | None:
    x, total = below(n, 0, 0, 0), n.inputs[1]
    axis = total.attr("axis", ())
    if x is None or total.op.name != "sum" or len(axis) != 1:
        return None
    if not rebuilt(n, lambda: ops.softmax(x, axis[0])):
        return None
    return simple("Softmax", x, axis=axis[0])


def log_softmax(n: Node, graph: Graph) -> Raised | None:
    for x in [x for x in (below(n, 0), below(n, 0, 0)) if x is not None]:
        for axis in range(x.ndim):
            if rebuilt(n, lambda x=x, axis=axis: ops.log_softmax(x, axis)):  # type: ignore[misc]
                return simple("LogSoftmax", x, axis=axis)
    return None


def gelu(n: Node, graph: Graph) -> Raised | None:
    for x in dict.fromkeys((*n.inputs, *(i for m in n.inputs for i in m.inputs))):
        for kind in ("none", "tanh"):
            if x.shape == n.shape and rebuilt(n, lambda x=x, kind=kind: ops.gelu(x, kind)):  # type: ignore[misc]
                return simple("Gelu", x, approximate=kind)
    return None


def mean(n: Node, graph: Graph) -> Raised | None:
    for total in n.inputs:
        if total.op.name == "sum":
            x, axes, keep = total.inputs[0], total.attr("axis"), total.attr("keepdims")
            if rebuilt(n, lambda: ops.mean(x, axes, keepdims=keep)):  # noqa: B023
                return Raised(
                    (x,),
                    lambda w, v: w.add("ReduceMean", v, w.sizes(axes), keepdims=int(keep)),  # noqa: B023
                )
    return None


def layer_norm(n: Node, graph: Graph) -> Raised | None:
    """add(mul(mul(sub(x, mean), rsqrt(variance + eps)), scale), shift) over the last axes."""
    x, inverse, scale, shift = below(n, 0, 0, 0, 0), below(n, 0, 0, 1), below(n, 0, 1), n.inputs[1]
    if x is None or inverse is None or scale is None or inverse.op.name != "rsqrt":
        return None
    eps = number(last) if (last := below(inverse, 0, 1)) is not None else None
    if eps is None or not 0 < scale.ndim <= x.ndim:
        return None
    axes = tuple(range(x.ndim - scale.ndim, x.ndim))
    if not rebuilt(n, lambda: ops.layer_norm(x, axes, scale, shift, eps)):
        return None
    return simple("LayerNormalization", x, scale, shift, axis=axes[0], epsilon=eps)


def batch_norm(n: Node, graph: Graph) -> Raised | None:
    """In inference: add(mul(sub(x, mean), factor), shift)."""
    x, middle = below(n, 0, 0, 0), below(n, 0, 0, 1, 0)
    factor, shift = below(n, 0, 1, 0), below(n, 1, 0)
    if x is None or middle is None or factor is None or shift is None:
        return None
    plus, scale = below(factor, 0, 0), below(factor, 1)
    if plus is None or scale is None or plus.op.name != "add":
        return None
    variance, eps = plus.inputs[0], number(plus.inputs[1])
    if eps is None or not rebuilt(
        n, lambda: ops.batch_norm(x, scale, shift, middle, variance, eps)
    ):
        return None
    return simple("BatchNormalization", x, scale, shift, middle, variance, epsilon=eps)


def gemm(n: Node, graph: Graph) -> Raised | None:
    """x @ w.T + b, or x @ w + b, of matrices that nothing else reads."""
    product, bias = n.inputs
    if product.op.name != "matmul" or len(graph.users[product]) > 1 or n.dtype != "float32":
        return None
    x, weight = product.inputs
    if (x.ndim, weight.ndim, bias.ndim) != (2, 2, 1) or bias.shape != n.shape[1:]:
        return None
    if weight.op.name == "transpose":
        return simple("Gemm", x, weight.inputs[0], bias, transB=1)
    return simple("Gemm", x, weight, bias)


def conv(n: Node, graph: Graph) -> Raised | None:
    """A convolution that nothing else reads, and a bias for each channel."""
    view, bias = n.inputs
    product, b = below(view, 0), below(bias, 0)
    if product is None or b is None or view.op.name != "reshape" or bias.op.name != "reshape":
        return None
    alone = len(graph.users[view]) == 1 and len(graph.users[product]) == 1
    if product.op.name not in ("conv2d", "conv3d") or not alone:
        return None
    channels, spatial = view.shape[1], product.shape[3:]
    if view.shape != (product.shape[0], channels, *spatial) or b.shape != (channels,):
        return None
    if math.prod(bias.shape) != channels or bias.ndim - 1 != len(spatial):
        return None
    return Raised((*product.inputs, b), lambda w, *xs: _biased(w, product, *xs))


def _biased(w: OnnxWriter, n: Node, x: Value, kernel: Value, bias: Value) -> Value:
    image, weight = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    return correlated(
        w, grouped(w, x, image, 1), image[3:], grouped(w, kernel, weight, 0), n.shape[3:],
        weight[3:], stride, dilation, before, weight[0], bias,
    )  # fmt: skip


GUESSES: dict[str, tuple[Callable[[Node, Graph], Raised | None], ...]] = {
    "div": (softmax, mean),
    "sub": (log_softmax,),
    "mul": (gelu, mean),
    "add": (batch_norm, layer_norm, conv, gemm),
}
