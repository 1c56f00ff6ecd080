"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.op import (
    Index,
    Kind,
    Loops,
    Op,
    Read,
    ShapeError,
    broadcast_shapes,
    define,
    identity,
    input,
    promote,
    same_dtype,
)
from ..graph.types import Type
from .logic import cast
from .view import aligned, broadcast_read, reshape, transpose

__all__ = ("matmul",)


NARROW = ("bfloat16",)  # what processors multiply and add up in float32


def product_dtype(name: str, accumulate: str | None, *types: Type) -> str:
    """The dtype of products: that of their operands, or of the sums that they are added up in."""
    dtype = same_dtype(name, *types)
    if accumulate is None:
        return dtype
    if accumulate != "float32" or dtype not in NARROW:
        got = " and ".join(map(str, types))
        raise ShapeError(
            f"{name} requires operands of {', '.join(NARROW)} for accumulate='float32', "
            f"got {got} and accumulate={accumulate!r}; convert with tg.cast"
        )
    return accumulate


def product_text(accumulate: str | None = None, **_: Any) -> str:
    """A product as scalar Python; those of narrow floats are exact in float32."""
    return "{0} * {1}" if accumulate is None else f"{accumulate}({{0}}) * {accumulate}({{1}})"


def widened_operands(accumulate: str, *operands: Any) -> tuple[Node, ...]:
    """The operands, converted to what their products are added up in; see ``narrow_products``."""
    return tuple(cast(x, accumulate) for x in operands)


def product_gradients(out: Node, inputs: tuple[Node, ...], rule: Callable[..., tuple]) -> tuple:
    """A rule of gradients, of products of narrow floats too, whose gradients are of their dtype."""
    accumulate = out.attr("accumulate", None)
    if accumulate is None:
        return rule(*inputs)
    found = rule(*widened_operands(accumulate, *inputs))
    return tuple(cast(g, x.dtype) for g, x in zip(found, inputs, strict=True))


def _infer(a: Type, b: Type, *, accumulate: str | None = None) -> Type:
    dtype = product_dtype("matmul", accumulate, a, b)
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2] or dtype == "bool":
        raise ShapeError(f"matmul requires numbers [..., m, k] and [..., k, n], got {a} and {b}")
    batch = broadcast_shapes("matmul", Type(a.shape[:-2]), Type(b.shape[:-2]))
    return Type((*batch, a.shape[-2], b.shape[-1]), dtype)


def _loops(out: Type, a: Type, b: Type, **_: Any) -> Loops:
    batch = len(out.shape) - 2
    m, n, k = (Index(terms=((batch + i, 1),)) for i in range(3))
    return Loops(
        (a.shape[-1],),
        (
            Read((*broadcast_read(a.shape[:-2], batch), m, k)),
            Read((*broadcast_read(b.shape[:-2], batch), k, n)),
        ),
    )


def swap(x: Node) -> Node:
    """The transpose of the last two axes."""
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


# [..., m, k] @ [..., k, n] -> [..., m, n]; leading axes broadcast.
MATMUL: Op = define(
    "matmul",
    Kind.ANCHOR,
    infer=_infer,
    ref=lambda a, b, **_: np.matmul(a, b),
    expr=product_text,
    loops=_loops,
    fold="sum",
    stacked=lambda n, inputs, steps: MATMUL(
        *(aligned(x, s, n.ndim) for x, s in inputs), **dict(n.attrs)
    ),
    vjp=lambda g, out, a, b: product_gradients(
        out, (a, b), lambda a, b: (MATMUL(g, swap(b)), MATMUL(swap(a), g))
    ),
    cost=lambda out, a, b, **_: out.size * (2 * a.shape[-1] - 1),
    example=lambda: matmul(input("a", 2, 4, 5), input("b", 5, 3)),
)


def matmul(a: Any, b: Any, *, accumulate: str | None = None) -> Node:
    """The matrix product as in NumPy: a vector is a row on the left and a column on the right.

    Args:
        a, b: [..., n, k] and [..., k, m], or vectors; leading axes broadcast. ``a @ b`` does it.
        accumulate: "int32" multiplies int8 and uint8, of two signs if they have, into sums that no
            byte would hold; "float32" bfloat16 into sums that are not rounded to it. None: sums are
            of the operands' dtype.

    Raises:
        ShapeError: the inner sizes differ, or one is a number.

    Example:
        >>> tg.matmul(tg.zeros((8, 3, 4)), tg.zeros((4, 5))).shape
        (8, 3, 5)
    """
    a, b = promote("matmul", (a, b))
    if accumulate not in (None, "int32", "float32"):
        raise ShapeError(
            f"matmul requires accumulate='int32', 'float32' or None, got {accumulate!r}"
        )
    if accumulate == "float32":
        product_dtype("matmul", accumulate, a.type, b.type)
        a, b = widened_operands(accumulate, a, b)
    if not a.ndim or not b.ndim:
        raise ShapeError(f"matmul requires vectors or matrices, got {a.type} and {b.type}")
    left = reshape(a, (1, *a.shape)) if a.ndim == 1 else a
    right = reshape(b, (*b.shape, 1)) if b.ndim == 1 else b
    out = (MATMUL_INTEGER if accumulate == "int32" else MATMUL)(left, right)
    shape = (*out.shape[:-2], *out.shape[-2:-1] * (a.ndim > 1), *out.shape[-1:] * (b.ndim > 1))
    return reshape(out, shape)


# -- products of narrow integers -------------------------------------------------------------------

BYTES = ("int8", "uint8")


def integer_product(name: str, a: Type, b: Type) -> tuple[Type, Type]:
    """The operands of a product of bytes, as int32 to a rule that asks for one dtype."""
    if a.dtype not in BYTES or b.dtype not in BYTES:
        raise ShapeError(f"{name} requires int8 or uint8, got {a} and {b}; convert with tg.cast")
    return Type(a.shape, "int32"), Type(b.shape, "int32")


def wrapped(sums: np.ndarray) -> np.ndarray:
    """Sums that float64 holds exactly, as int32, which wraps around."""
    return sums.astype(np.int64).astype(np.int32)


# int8 or uint8, signs mixed as you like, added up in int32: exact, in any order.
MATMUL_INTEGER: Op = define(
    "matmul_integer",
    Kind.ANCHOR,
    infer=lambda a, b: _infer(*integer_product("matmul_integer", a, b)),
    ref=lambda a, b: wrapped(np.matmul(a.astype(np.float64), b.astype(np.float64))),
    expr="int32({0}) * int32({1})",
    loops=_loops,
    fold="sum",
    stacked=lambda n, inputs, steps: MATMUL_INTEGER(*(aligned(x, s, n.ndim) for x, s in inputs)),
    no_gradient="integers have none",
    cost=lambda out, a, b: out.size * (2 * a.shape[-1] - 1),
    example=lambda: MATMUL_INTEGER(
        input("a", 2, 4, 5, dtype="uint8"), input("b", 5, 3, dtype="int8")
    ),
)


# -- products summed over leading axes -------------------------------------------------------------


def _infer_outer_sum(a: Type, b: Type, *, accumulate: str | None = None) -> Type:
    dtype = product_dtype("outer_sum", accumulate, a, b)
    if not a.shape or len(a.shape) != len(b.shape) or a.shape[:-1] != b.shape[:-1]:
        raise ShapeError(f"outer_sum requires [..., m] and [..., n] of one ..., got {a} and {b}")
    return Type((a.shape[-1], b.shape[-1]), dtype)


def _loops_outer_sum(out: Type, a: Type, b: Type, **_: Any) -> Loops:
    lead = identity(len(a.shape) - 1, 2)
    return Loops(
        a.shape[:-1],
        tuple(Read((*lead, Index(terms=((axis, 1),)))) for axis in (0, 1)),
    )


# [..., m] and [..., n] -> [m, n]: the gradient of a matrix that many rows were multiplied with.
OUTER_SUM: Op = define(
    "outer_sum",
    Kind.ANCHOR,
    infer=_infer_outer_sum,
    ref=lambda a, b, **_: np.tensordot(a, b, (range(a.ndim - 1),) * 2).astype(a.dtype),
    expr=product_text,
    loops=_loops_outer_sum,
    fold="sum",
    vjp=lambda g, out, a, b: product_gradients(
        out, (a, b), lambda a, b: (MATMUL(b, swap(g)), MATMUL(a, g))
    ),
    cost=lambda out, a, b, **_: out.size * (2 * math.prod(a.shape[:-1]) - 1),
    example=lambda: OUTER_SUM(input("a", 2, 4, 5), input("b", 2, 4, 3)),
)
