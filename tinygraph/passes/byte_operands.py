"""Operands of products that were rounded to bytes, and why others were not."""

from __future__ import annotations

from collections.abc import Iterator, Set
from math import prod
from typing import NamedTuple

from ..graph.ir import Graph, Node
from ..graph.op import constant
from ..graph.rewrite import filled
from ..ops.arithmetic import sub
from ..ops.conv import CONV2D, CONV2D_INTEGER, CONV3D, CONV3D_INTEGER
from ..ops.linalg import MATMUL, MATMUL_INTEGER
from ..ops.logic import CAST, cast
from ..ops.quantize import DEQUANTIZE, QUANTIZE
from ..ops.view import BROADCAST_TO, RESHAPE, TRANSPOSE, reshape, transpose
from ..plan.records.contraction import is_exact_in_floats
from ..plan.winograd.choice import place
from .fold_batch_norm import fixed_nodes
from .rescale import regrouped

INTEGER = {MATMUL: MATMUL_INTEGER, CONV2D: CONV2D_INTEGER, CONV3D: CONV3D_INTEGER}
LIMIT = (2**31 - 1) // (255 * 128)  # products whose sum int32 holds in any case


def is_one(n: Node) -> bool:
    """True if all elements of a quantized value have one scale and one zero point."""
    return all(i.type.size == 1 for i in n.inputs[1:])


def is_dequantized(n: Node) -> bool:
    return n.op is DEQUANTIZE and is_one(n)


class Bytes(NamedTuple):
    """An operand as integers; ``scale`` is one number, or one for each column."""

    q: Node
    scale: Node
    zero: int


class Centred(NamedTuple):
    """Bytes that are multiplied less their zero point, a number or a node with one element."""

    q: Node
    zero: int | Node


def centred(x: Node) -> Centred | None:
    """What ``cast(q, "int32") - zero`` is made of, before it moves; None if x is no such value."""
    x, moves = before_moves(x)
    zero: int | Node = 0
    if x.op is sub and x.inputs[1].type.size == 1:
        x, at = x.inputs
        given = filled(at.inputs[0] if at.op is CAST else at)
        zero = reshape(at, ()) if given is None else int(given)
    elif x.op is sub and filled(without_views(x.inputs[1])) == 0:  # one for each channel
        x = x.inputs[0]
    if x.op is not CAST or x.inputs[0].dtype not in ("uint8", "int8"):
        return None
    q = x.inputs[0]
    for m in moves:
        q = m.op(q, **dict(m.attrs))
    return Centred(q, zero)


def before_moves(x: Node) -> tuple[Node, list[Node]]:
    """A value before it was reshaped and transposed, and these moves in their order."""
    moves: list[Node] = []
    while x.op in (RESHAPE, TRANSPOSE):
        moves.insert(0, x)
        x = x.inputs[0]
    return x, moves


def without_views(x: Node) -> Node:
    """What a number for each channel is made of: a constant, cast, as it meets the channels."""
    while x.op in (RESHAPE, TRANSPOSE, CAST, BROADCAST_TO):
        x = x.inputs[0]
    return x


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
    w, moves = before_moves(w)
    if w.op is not DEQUANTIZE:
        return None
    q, scale, zero = w.inputs
    at = filled(zero)
    if q.dtype == "uint8" and at == 128:
        q = cast(cast(q, "int32") - 128, "int8")
    elif q.dtype != "int8" or at != 0:
        return None
    found = reshape(scale, (1,) * (q.ndim - scale.ndim) + scale.shape)
    for m in moves:
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


# -- what stays in floats --------------------------------------------------------------------------


def summed(n: Node) -> tuple[int, ...]:
    """The axes of a product's right operand over which it sums."""
    rank = n.inputs[1].ndim
    return (rank - 2,) if n.op is MATMUL else (*range(2, rank),)


def in_floats(graph: Graph) -> Iterator[str]:
    """Remarks: the products that stay in floats, and why each does."""
    fixed = fixed_nodes(graph)
    for n in graph.nodes:
        floats = n.op in INTEGER and n.dtype == "float32" and n not in fixed
        if floats or n.op.name == "attention":
            why = refusal(n, fixed) or unrounded(n)
            if why:
                yield f"{place(n)}: a product of floats, because {why}"
        elif n.bodies and any(m.op in INTEGER for body in n.bodies for m in body.nodes):
            yield f"{place(n)}: products of floats, because they are in a loop"


def refusal(n: Node, fixed: Set[Node]) -> str:
    """Why a product cannot be one of bytes, whatever is rounded; "" if it can."""
    w = n.inputs[1]
    if n.dtype != "float32":
        return f"it is one of {n.dtype}"
    if w not in fixed:
        return "both of its operands depend on the inputs"
    if n.op is MATMUL:
        return "" if w.ndim == 2 else "its weights are no matrix"
    groups, columns, channels, *taps = w.shape
    if columns > 1:
        return ""
    if channels > 1 or groups == 1:
        return "its groups have one output channel"
    return "" if is_exact_in_floats(prod(taps)) else "its windows are too large for exact sums"


def unrounded(n: Node) -> str:
    """What of a product's operands is not as ``in_integers`` wants it; "" if all is."""
    if unsigned(n.inputs[0]) is None:
        return "what it reads is not rounded to bytes of one scale: it is kept, or has no range"
    if weights(n.inputs[1], n.op is MATMUL) is None:
        return "its weights are not int8 around 0 with one scale for each output channel at most"
    long = prod(n.inputs[1].shape[a] for a in summed(n)) > LIMIT
    return "its sums may be beyond int32" if long else ""
