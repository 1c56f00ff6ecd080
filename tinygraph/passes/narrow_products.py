"""Products of widened bfloat16 become products of bfloat16, added up in float32.

Their products are exact in float32, so that only the order of sums is another. Processors multiply
two bfloat16 at a time in a lane of 32 bits, and memory moves half of the bytes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..graph.ir import Graph, Node
from ..graph.op import Kind
from ..graph.rebuild import carry, rebuild
from ..graph.rewrite import Event
from ..ops.indexing import CONCAT, pad
from ..ops.linalg import MATMUL, NARROW, OUTER_SUM
from ..ops.logic import CAST
from ..ops.view import PAD

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
    x, w, attrs = in_whole_words(n, x, w)
    made = n.op(x, w, **attrs, accumulate="float32")
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


def in_whole_words(n: Node, x: Node, w: Node) -> tuple[Node, Node, dict[str, Any]]:
    """The operands and attributes, where what is summed over in words is multiplied with zeros
    until it is even: channels; of the gradient to weights pixels of a row, or images.
    """
    attrs = dict(n.attrs)
    if n.op is MATMUL:
        axes = x.ndim - 1, w.ndim - 2
    elif n.op is OUTER_SUM:
        axes = x.ndim - 2, w.ndim - 2
    elif not n.op.name.endswith("weight_gradient"):
        axes = 2, 1 if n.op.name.endswith("input_gradient") else 2
    elif n.attr("stride")[-1] == 1:
        *others, (before, after) = n.attr("padding")
        missing = -w.shape[-1] % WORD
        attrs["padding"] = (*others, (before, after + missing))
        return x, longer(w, w.ndim - 1, missing), attrs
    else:
        axes = 0, 0
    missing = -x.shape[axes[0]] % WORD
    return longer(x, axes[0], missing), longer(w, axes[1], missing), attrs


def longer(x: Node, axis: int, missing: int) -> Node:
    """x with so many zeros after it along an axis."""
    return pad(x, [(0, missing if a == axis else 0) for a in range(x.ndim)]) if missing else x
