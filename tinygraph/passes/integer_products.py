"""Products of floats that were quantized become products of their integers, added up in int32.

A graph says in floats what is rounded where, ``dequantize(quantize(x))`` around the operands of a
product: ``quantize=`` of compile writes it, files of ONNX have it, and so do networks that were
trained with ``tg.fake_quantize``. Here the sums become exact. What stands between two products is
computed in floats, in the first one's kernel: scale, bias, activation, rounding.

B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only
inference, CVPR 2018, section 2.
"""

from __future__ import annotations

import math
from functools import partial
from math import prod

from ..graph.dtype import DTYPES
from ..graph.ir import Graph, Node, among, same
from ..graph.op import constant, input
from ..graph.rebuild import rebuild
from ..graph.rewrite import Event, filled, rewrite, rule, rules_in, var
from ..ops.arithmetic import CLIP, relu
from ..ops.indexing import CONCAT, pad
from ..ops.linalg import MATMUL
from ..ops.logic import WHERE, cast, less_equal
from ..ops.quantize import DEQUANTIZE, QUANTIZE, dequantize
from ..ops.reduce import SUM, sum
from ..ops.view import FLIP, PAD, RESHAPE, SLICE, TRANSPOSE, reshape, transpose
from ..ops.window import WINDOW_MAX, WINDOW_SUM
from .byte_operands import (
    INTEGER,
    LIMIT,
    Bytes,
    centred,
    in_floats,
    is_dequantized,
    is_one,
    summed,
    unsigned,
    weights,
)
from .rescale import rescaled

WORD = 4  # channels that processors multiply at a time: their number is rounded up to it
MOVES = (RESHAPE, TRANSPOSE, SLICE, FLIP)


def integer_products(
    graph: Graph, log: list[Event] | None = None, *, remarks: list[str] | None = None
) -> Graph:
    """The graph with integer products wherever both operands were quantized; a remark for each
    other product, if there is such an operand anywhere.
    """
    log = [] if log is None else log
    if not any(n.op is DEQUANTIZE or is_of_integers(n) for n in graph.everywhere):
        return graph
    graph = rewrite(graph, RULES, log)
    if remarks is not None:
        remarks += in_floats(graph)
    graph = rebuild(graph, partial(in_integers, log=log), bodies=False)
    return rescaled(rewrite(graph, RULES, log), log)


# -- conversions move towards each other -----------------------------------------------------------


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
    var("n", where=lambda n: n.op is QUANTIZE and is_one(n) and bounds(n.inputs[0]) is not None),
    example=lambda: QUANTIZE(relu(_images()), constant(0.5), constant(0, "uint8"), dtype="uint8"),
)
def bounded_twice(out: Node, n: Node) -> Node | None:
    """An activation that cuts off no more than the integers do."""
    found, scale, zero = bounds(n.inputs[0]), *n.inputs[1:]
    step, at = filled(scale), filled(zero)
    if found is None or step is None or at is None or step <= 0:
        return None
    x, low, high = found
    record = DTYPES[n.dtype]
    if low is not None and round(low / step) + at > record.least:
        return None
    if high is not None and round(high / step) + at < record.greatest:
        return None
    return again(n, x)


def bounds(y: Node) -> tuple[Node, float | None, float | None] | None:
    """What y keeps within bounds, and these: of relu, of clip, and of ``x if x > low else low``,
    as hardtanh and relu6 have it, on either side. None if y is another value.
    """
    if y.op is relu:
        return y.inputs[0], 0.0, None
    if y.op is CLIP:
        return y.inputs[0], y.attr("low"), y.attr("high")
    if y.op is not WHERE or y.inputs[0].op is not less_equal:
        return None
    (a, b), limit, rest = y.inputs[0].inputs, filled(y.inputs[1]), y.inputs[2]
    if limit is None or not math.isfinite(limit):
        return None
    x, low, high = bounds(rest) or (rest, None, None)
    if filled(b) == limit and low is None and among(a, (x, rest)):  # where(x <= low, low, rest)
        return x, limit, high
    if filled(a) == limit and high is None and among(b, (x, rest)):
        return x, low, limit
    return None


RULES = rules_in(globals())


# -- products --------------------------------------------------------------------------------------


def in_integers(n: Node, log: list[Event]) -> Node | None:
    """The product of integers that a product of floats stands for; None if it is none."""
    if is_of_integers(n):
        return of_bytes(n, log)
    if n.op not in INTEGER:
        return None
    x, w, taken = unsigned(n.inputs[0]), weights(n.inputs[1], n.op is MATMUL), summed(n)
    if x is None or w is None or prod(w.q.shape[a] for a in taken) > LIMIT:
        return None
    made = product_of(n, x, w, taken)
    log.append(Event("integer_products", n, made))
    return made


def product_of(n: Node, x: Bytes, w: Bytes, taken: tuple[int, ...]) -> Node:
    """The integers' product as floats; ``taken`` are the axes of w over which it sums."""
    sums, scale = sums_of(n, x.q, w.q, x.zero, taken), w.scale * x.scale
    return dequantize(sums, scale if n.op is MATMUL or not scale.ndim else _columns(scale, n))


def sums_of(n: Node, q: Node, w: Node, zero: int | Node, taken: tuple[int, ...]) -> Node:
    """The product in int32 of q, less its zero point, and w. A zero point that is computed is that
    of a matrix, which has no edges.
    """
    channels, attrs, at_zero = taken[0], dict(n.attrs), isinstance(zero, int) and zero == 0
    missing = -w.shape[channels] % WORD if n.op is MATMUL or w.shape[1] > 1 else 0
    around = [(0, 0)] * q.ndim
    around[q.ndim - 1 if n.op is MATMUL else 2] = (0, missing)
    if not at_zero and n.op is not MATMUL:  # beyond the edges there is what stands for 0
        around[3:] = attrs["padding"]
        attrs["padding"] = ((0, 0),) * len(attrs["padding"])
    padded = pad(q, around, value=zero if isinstance(zero, int) else 0)
    around = [(0, missing if a == channels else 0) for a in range(w.ndim)]
    sums = INTEGER[n.op](padded, pad(w, around), **attrs)
    if at_zero:
        return sums
    offset = sum(cast(w, "int32"), taken) * zero
    return sums - (offset if n.op is MATMUL else _columns(offset, n))


def is_of_integers(n: Node) -> bool:
    """True if a product is one of int32, as files of ONNX have it with operators of integers."""
    return n.op in INTEGER and n.dtype == "int32"


def of_bytes(n: Node, log: list[Event]) -> Node | None:
    """A product of bytes that were made int32, less zero points, in the bytes themselves; None if
    it is none. Both wrap around alike.
    """
    x, w = (centred(i) for i in n.inputs)
    if x is None or w is None or w.q.dtype != "int8" or not isinstance(w.zero, int) or w.zero:
        return None
    q, zero = x
    if q.dtype == "int8":
        q, zero = cast(cast(q, "int32") + 128, "uint8"), zero + 128
    if n.op is not MATMUL and not isinstance(zero, int):
        return None
    made = sums_of(n, q, w.q, zero, summed(n))
    log.append(Event("integer_products", n, made))
    return made


def _columns(v: Node, n: Node) -> Node:
    """A value for each column of a convolution, (groups, channels), as it meets the result."""
    return reshape(v, *n.shape[1:3], *(1,) * (n.ndim - 3))
