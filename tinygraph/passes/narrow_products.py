"""Products of widened bfloat16 become products of bfloat16, added up in float32.

Their products are exact in float32, so that only the order of sums is another. Processors multiply
two bfloat16 at a time in a lane of 32 bits, and memory moves half of the bytes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..graph.ir import Graph, Node
from ..graph.op import Kind, Op
from ..graph.rebuild import carry, rebuild
from ..graph.rewrite import Event
from ..ops.indexing import CONCAT, pad
from ..ops.linalg import MATMUL, NARROW, OUTER_SUM
from ..ops.logic import CAST, cast
from ..ops.view import PAD, reshape, transpose

WORD = 2  # channels that processors multiply at a time: their number is rounded up to it


def narrow_products(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with narrow products wherever both operands were widened from bfloat16."""
    log = [] if log is None else log
    if not any(n.dtype in NARROW for n in graph.everywhere):
        return graph
    return rebuild(graph, partial(narrow_product, log=log))


def narrow_product(n: Node, log: list[Event]) -> Node | None:
    """The product of narrow floats that a product of float32 stands for; None if it is none."""
    if not is_wide_product(n):
        return None
    x, w = (unwidened(x) for x in n.inputs)
    if x is None or w is None:
        return None
    if n.op.name.endswith("weight_gradient"):
        made = weight_gradient(n.op, x, w, dict(n.attrs))
    else:
        made = n.op(*in_whole_words(n, x, w), **dict(n.attrs), accumulate="float32")
    log.append(Event("narrow_products", n, made))
    return made


def is_wide_product(n: Node) -> bool:
    """Whether a product of float32 has columns or channels enough for words to pay."""
    if n.op.kind is not Kind.ANCHOR or n.dtype != "float32" or n.attr("accumulate", None):
        return False
    return n.op in (MATMUL, OUTER_SUM) or not is_depthwise(n)


def is_depthwise(n: Node) -> bool:
    """Whether a convolution, or a gradient of one, has one channel to a group on either side."""
    weights = n if n.op.name.endswith("weight_gradient") else n.inputs[1]
    return weights.shape[0] > 1 and 1 in weights.shape[1:3]


def unwidened(x: Node) -> Node | None:
    """The bfloat16 value that x is the widened one of, views on the way included."""
    if x.op is CAST and x.inputs[0].dtype in NARROW:
        return x.inputs[0]
    moved = x.op.kind is Kind.VIEW and not (x.op is PAD and x.attr("value") != 0)
    if not moved and x.op is not CONCAT:
        return None
    inputs = [unwidened(i) for i in x.inputs[: None if x.op is CONCAT else 1]]
    if any(i is None for i in inputs):
        return None
    rest = () if x.op is CONCAT else x.inputs[1:]
    return carry(x.op(*inputs, *rest, **dict(x.attrs)), x)


def widened_products(graph: Graph) -> Graph:
    """The graph with products of widened operands in place of narrow ones."""

    def wide(n: Node) -> Node | None:
        attrs = dict(n.attrs)
        if (sums := attrs.pop("accumulate", None)) is None:
            return None
        return carry(n.op(*(cast(x, sums) for x in n.inputs), **attrs), n)

    return rebuild(graph, wide)


def in_whole_words(n: Node, x: Node, w: Node) -> tuple[Node, Node]:
    """The operands, where channels are multiplied with zeros until their number is even."""
    if n.op is MATMUL:
        axes = x.ndim - 1, w.ndim - 2
    elif n.op is OUTER_SUM:
        axes = x.ndim - 2, w.ndim - 2
    else:
        axes = 2, 1 if n.op.name.endswith("input_gradient") else 2
    missing = -x.shape[axes[0]] % WORD
    return longer(x, axes[0], missing), longer(w, axes[1], missing)


def weight_gradient(op: Op, x: Node, g: Node, attrs: dict[str, Any]) -> Node:
    """The gradient to the weights of a convolution, whose words are two pixels of a row, or where
    windows are dilated and move by several pixels, two images.

    Windows that move by several pixels become windows that move by one over images of as many times
    the channels, so that pixels that are multiplied one after the other are side by side.
    """
    *strides, step = attrs["stride"]
    *others, (before, after) = attrs["padding"]
    if step > 1 and attrs["dilation"][-1] == 1:
        *kernel, taps = attrs["kernel"]
        wide = -(-taps // step)
        x = phases(x, step, before, g.shape[-1] - 1 + wide)
        attrs |= {"stride": (*strides, 1), "padding": (*others, (0, 0)), "kernel": (*kernel, wide)}
        made = weight_gradient(op, x, g, attrs)
        groups, o, _, *rest = made.shape
        apart = reshape(made, groups, o, -1, step, *rest)
        order = (0, 1, 2, *range(4, apart.ndim), 3)
        found = reshape(transpose(apart, order), groups, o, -1, *kernel, wide * step)
        return found[..., :taps]
    if step == 1:
        missing = -g.shape[-1] % WORD
        attrs["padding"] = (*others, (before, after + missing))
        g = longer(g, g.ndim - 1, missing)
    else:
        missing = -x.shape[0] % WORD
        x, g = longer(x, 0, missing), longer(g, 0, missing)
    return op(x, g, **attrs, accumulate="float32")


def phases(x: Node, step: int, before: int, width: int) -> Node:
    """Images [n, g, channels * step, ..., width], whose rows are every ``step``-th pixel of those
    of x, from each of the first ones on; ``before`` zeros come before them.
    """
    n, groups, channels, *image = x.shape
    after = width * step - before - image[-1]
    x = pad(x, [*[(0, 0)] * (x.ndim - 1), (before, max(after, 0))])
    if after < 0:
        x = x[..., : width * step]
    apart = reshape(x, n, groups, channels, *image[:-1], width, step)
    order = (0, 1, 2, apart.ndim - 1, *range(3, apart.ndim - 1))
    return reshape(transpose(apart, order), n, groups, channels * step, *image[:-1], width)


def longer(x: Node, axis: int, missing: int) -> Node:
    """x with so many zeros after it along an axis."""
    return pad(x, [(0, missing if a == axis else 0) for a in range(x.ndim)]) if missing else x
