"""Products of floats that were quantized become products of their integers, added up in int32.

A graph says in floats what is rounded where, ``dequantize(quantize(x))`` around the operands of a
product: ``quantize=`` of compile writes it, files of ONNX have it, and so do networks that were
trained with ``tg.fake_quantize``. Here the sums become exact. What stands between two products is
computed in floats, in the first one's kernel: scale, bias, activation, rounding.

B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only
inference, CVPR 2018, section 2.
"""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from math import prod
from typing import NamedTuple

from ..graph.dtype import DTYPES
from ..graph.ir import Graph, Node, same
from ..graph.op import constant, input
from ..graph.rebuild import rebuild
from ..graph.rewrite import Event, filled, rewrite, rule, rules_in, var
from ..ops.arithmetic import CLIP, relu
from ..ops.conv import CONV2D, CONV2D_INTEGER, CONV3D, CONV3D_INTEGER
from ..ops.indexing import CONCAT, pad
from ..ops.linalg import MATMUL, MATMUL_INTEGER
from ..ops.logic import cast
from ..ops.quantize import DEQUANTIZE, QUANTIZE, dequantize
from ..ops.reduce import SUM, sum
from ..ops.view import FLIP, PAD, RESHAPE, SLICE, TRANSPOSE, reshape, transpose
from ..ops.window import WINDOW_MAX, WINDOW_SUM
from .fold_batch_norm import fixed_nodes
from .rescale import regrouped, rescaled

INTEGER = {MATMUL: MATMUL_INTEGER, CONV2D: CONV2D_INTEGER, CONV3D: CONV3D_INTEGER}
WORD = 4  # channels that processors multiply at a time: their number is rounded up to it
LIMIT = (2**31 - 1) // (255 * 128)  # products whose sum int32 holds in any case
MOVES = (RESHAPE, TRANSPOSE, SLICE, FLIP)


def integer_products(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with integer products wherever both operands were quantized."""
    log = [] if log is None else log
    if not any(n.op is DEQUANTIZE for n in graph.everywhere):
        return graph
    graph = rewrite(graph, RULES, log)
    graph = rebuild(graph, partial(in_integers, fixed=fixed_nodes(graph), log=log), bodies=False)
    return rescaled(rewrite(graph, RULES, log), log)


# -- conversions move towards each other -----------------------------------------------------------


def is_one(n: Node) -> bool:
    """Whether all elements of a quantized value have one scale and one zero point."""
    return all(i.type.size == 1 for i in n.inputs[1:])


def is_dequantized(n: Node) -> bool:
    return n.op is DEQUANTIZE and is_one(n)


def again(like: Node, q: Node) -> Node:
    """Other integers with the scale and the zero point of ``like``."""
    return like.op(q, *like.inputs[1:], **dict(like.attrs))


def _quantized() -> Node:
    return dequantize(input("q", 2, 3, 8, 8, dtype="uint8"), 0.5, 3)


def _example(x: Node) -> Node:
    return QUANTIZE(x, constant(0.5), constant(3, "uint8"), dtype="uint8")


def _images() -> Node:
    return input("x", 2, 3, 8, 8)


_WINDOW = {"kernel": (1, 1, 2, 2), "stride": (1, 1, 2, 2), "padding": (0, 0, 0, 0)}
_WINDOW["size"] = (2, 3, 4, 4)


@rule(
    var("n", where=lambda n: n.op in MOVES and is_dequantized(n.inputs[0])),
    example=lambda: transpose(_quantized(), (0, 2, 3, 1)),
)
def move_integers(out: Node, n: Node) -> Node:
    x = n.inputs[0]
    return again(x, n.op(x.inputs[0], **dict(n.attrs)))


@rule(
    var("n", where=lambda n: n.op is PAD and is_dequantized(n.inputs[0])),
    example=lambda: pad(_quantized(), 1),
)
def pad_with_the_zero_point(out: Node, n: Node) -> Node | None:
    x = n.inputs[0]
    zero = filled(x.inputs[2])
    if n.attr("value") != 0 or zero is None:
        return None
    return again(x, PAD(x.inputs[0], widths=n.attr("widths"), value=zero))


@rule(
    var("n", where=lambda n: n.op is WINDOW_MAX and is_dequantized(n.inputs[0])),
    example=lambda: WINDOW_MAX(_quantized(), **_WINDOW),
)
def greatest_integers(out: Node, n: Node) -> Node:
    x = n.inputs[0]
    return again(x, WINDOW_MAX(x.inputs[0], **dict(n.attrs)))


@rule(
    var("n", where=lambda n: n.op is CONCAT and all(map(is_dequantized, n.inputs))),
    example=lambda: CONCAT(_quantized(), _quantized(), axis=1),
)
def concatenate_integers(out: Node, n: Node) -> Node | None:
    first = n.inputs[0]
    if not all(same(i.inputs[1:], first.inputs[1:]) for i in n.inputs):
        return None
    return again(first, CONCAT(*(i.inputs[0] for i in n.inputs), axis=n.attr("axis")))


@rule(
    var("n", where=lambda n: n.op in (SUM, WINDOW_SUM) and is_dequantized(n.inputs[0])),
    example=lambda: sum(_quantized(), (2, 3)),
)
def add_up_integers(out: Node, n: Node) -> Node | None:
    """Exact, where sums of floats depend on their order."""
    q, scale, zero = n.inputs[0].inputs
    count = prod(q.shape) // max(1, prod(n.shape)) if n.op is SUM else 0
    at = filled(zero)
    if at is None or (n.op is WINDOW_SUM and at != 0) or not isinstance(count, int):
        return None
    return dequantize(n.op(cast(q, "int32"), **dict(n.attrs)), scale, int(at) * count)


@rule(
    var("n", where=lambda n: n.op is QUANTIZE and is_one(n) and n.inputs[0].op in MOVES),
    example=lambda: _example(transpose(_images(), (0, 2, 3, 1))),
)
def quantize_before_it_moves(out: Node, n: Node) -> Node:
    x = n.inputs[0]
    return x.op(again(n, x.inputs[0]), **dict(x.attrs))


@rule(
    var("n", where=lambda n: n.op is QUANTIZE and is_one(n) and n.inputs[0].op is CONCAT),
    example=lambda: _example(CONCAT(_images(), _images() * 2, axis=1)),
)
def quantize_each_part(out: Node, n: Node) -> Node:
    x = n.inputs[0]
    return CONCAT(*(again(n, i) for i in x.inputs), axis=x.attr("axis"))


@rule(
    var("n", where=lambda n: n.op is QUANTIZE and is_one(n) and is_dequantized(n.inputs[0])),
    example=lambda: _example(_quantized()),
)
def quantized_twice(out: Node, n: Node) -> Node | None:
    q, scale, zero = n.inputs[0].inputs
    return q if same((scale, zero), n.inputs[1:]) else None


@rule(
    var("n", where=lambda n: n.op is QUANTIZE and is_one(n) and n.inputs[0].op in (relu, CLIP)),
    example=lambda: QUANTIZE(relu(_images()), constant(0.5), constant(0, "uint8"), dtype="uint8"),
)
def bounded_twice(out: Node, n: Node) -> Node | None:
    """An activation that cuts off no more than the integers do."""
    x, scale, zero = n.inputs
    step, at = filled(scale), filled(zero)
    if step is None or at is None or step <= 0:
        return None
    low, high = (0.0, None) if x.op is relu else (x.attr("low"), x.attr("high"))
    record = DTYPES[n.dtype]
    if low is not None and round(low / step) + at > record.least:
        return None
    if high is not None and round(high / step) + at < record.greatest:
        return None
    return again(n, x.inputs[0])


RULES = rules_in(globals())


# -- products --------------------------------------------------------------------------------------


class Bytes(NamedTuple):
    """An operand as integers; ``scale`` is one number, or one for each column."""

    q: Node
    scale: Node
    zero: int


def in_integers(n: Node, fixed: Set[Node], log: list[Event]) -> Node | None:
    """The product of integers that a product of floats stands for; None if it is none."""
    if n.op not in INTEGER:
        return None
    x, w = unsigned(n.inputs[0]), weights(n.inputs[1], n.op is MATMUL)
    taken = (*range(2, n.inputs[1].ndim),) if n.op is not MATMUL else (n.inputs[1].ndim - 2,)
    if x is None or w is None or prod(w.q.shape[a] for a in taken) > LIMIT:
        return None
    made = product_of(n, x, w, taken)
    log.append(Event("integer_products", n, made))
    return made


def product_of(n: Node, x: Bytes, w: Bytes, taken: tuple[int, ...]) -> Node:
    """The integers' product as floats; ``taken`` are the axes of w over which it sums."""
    channels, attrs = taken[0], dict(n.attrs)
    missing = -w.q.shape[channels] % WORD if n.op is MATMUL or w.q.shape[1] > 1 else 0
    around = [(0, 0)] * x.q.ndim
    around[x.q.ndim - 1 if n.op is MATMUL else 2] = (0, missing)
    if x.zero and n.op is not MATMUL:  # beyond the edges there is the integer that stands for 0
        around[3:] = attrs["padding"]
        attrs["padding"] = ((0, 0),) * len(attrs["padding"])
    q = pad(x.q, around, value=x.zero)
    around = [(0, missing if a == channels else 0) for a in range(w.q.ndim)]
    sums = INTEGER[n.op](q, pad(w.q, around), **attrs)
    if x.zero:
        offset = sum(cast(w.q, "int32"), taken) * x.zero
        sums = sums - (offset if n.op is MATMUL else _columns(offset, n))
    scale = w.scale * x.scale
    return dequantize(sums, scale if n.op is MATMUL or not scale.ndim else _columns(scale, n))


def _columns(v: Node, n: Node) -> Node:
    """A value for each column of a convolution, (groups, channels), as it meets the result."""
    return reshape(v, *n.shape[1:3], *(1,) * (n.ndim - 3))


def unsigned(x: Node) -> Bytes | None:
    """The left operand as uint8, which is what processors multiply with int8."""
    if not is_dequantized(x):
        return None
    q, scale, zero = x.inputs
    at = filled(zero)
    if at is None or q.dtype not in ("uint8", "int8"):
        return None
    scale = reshape(scale, ())
    if q.dtype == "uint8":
        return Bytes(q, scale, int(at))
    moved = int(at) + 128
    if q.op is QUANTIZE and is_one(q):
        y, step, _ = q.inputs
        return Bytes(QUANTIZE(y, step, constant(moved, "uint8"), dtype="uint8"), scale, moved)
    return Bytes(cast(cast(q, "int32") + 128, "uint8"), scale, moved)


def weights(w: Node, is_matmul: bool) -> Bytes | None:
    """The right operand as int8 without a zero point, with a scale for each column at most."""
    moves = []
    while w.op in (RESHAPE, TRANSPOSE):
        moves.append(w)
        w = w.inputs[0]
    if w.op is not DEQUANTIZE:
        return None
    q, scale, zero = w.inputs
    at = filled(zero)
    if q.dtype == "uint8" and at == 128:
        q = cast(cast(q, "int32") - 128, "int8")
    elif q.dtype != "int8" or at != 0:
        return None
    found = reshape(scale, (1,) * (q.ndim - scale.ndim) + scale.shape)
    for m in reversed(moves):
        moved = transpose(found, m.attr("axes")) if m.op is TRANSPOSE else regrouped(found, m)
        if moved is None:
            return None
        q, found = m.op(q, **dict(m.attrs)), moved
    many = [a for a, size in enumerate(found.shape) if size > 1]
    if any(a not in ((q.ndim - 1,) if is_matmul else (0, 1)) for a in many):
        return None
    if found.type.size == 1:
        return Bytes(q, reshape(found, ()), 0)
    return Bytes(q, reshape(found, (-1,) if is_matmul else found.shape[:2]), 0)
