"""Comparisons, logic, selection and conversion of dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.convert import dtype_name
from ..graph.dtype import DTYPES, is_float
from ..graph.ir import Node
from ..graph.op import (
    Kind,
    Op,
    ShapeError,
    broadcast,
    broadcast_shapes,
    constant,
    define,
    input,
    promote,
    same_dtype,
)
from ..graph.types import Type

__all__ = (
    "cast",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "where",
)


def _compare(name: str, sign: str, ref: Any) -> Op:
    return define(
        name,
        Kind.ELEMENTWISE,
        commutative=name in ("equal", "not_equal"),
        infer=lambda a, b: broadcast(name, "bool")(a, b),
        ref=ref,
        expr=f"{{0}} {sign} {{1}}",
        vjp=lambda g, out, a, b: (None, None),
        example=lambda: _TABLE[name](input("a", 4, 3), input("b", 3)),
    )


def _booleans(name: str, inputs: int) -> Callable[..., Type]:
    def infer(*types: Type) -> Type:
        if len(types) != inputs:
            raise ShapeError(
                f"{name} requires {inputs} input{'s' * (inputs > 1)}, got {len(types)}"
            )
        if any(t.dtype != "bool" for t in types):
            got = " and ".join(t.dtype for t in types)
            raise ShapeError(f"{name} requires bool, got {got}; compare first")
        return Type(broadcast_shapes(name, *types), "bool")

    return infer


less = _compare("less", "<", np.less)
less_equal = _compare("less_equal", "<=", np.less_equal)
equal = _compare("equal", "==", np.equal)
not_equal = _compare("not_equal", "!=", np.not_equal)
_TABLE = {op.name: op for op in (less, less_equal, equal, not_equal)}


def greater(a: Any, b: Any) -> Node:
    """a > b, element by element.

    Example:
        >>> tg.run(tg.greater(tg.constant([1.0, 3.0]), 2.0))
        array([False,  True])
    """
    return less(b, a)


def greater_equal(a: Any, b: Any) -> Node:
    """a >= b, element by element.

    Example:
        >>> tg.run(tg.greater_equal(tg.constant([2.0, 1.0]), 2.0))
        array([ True, False])
    """
    return less_equal(b, a)


def isnan(x: Any) -> Node:
    """True where x is not a number; nowhere, if x is of integers or bool.

    Example:
        >>> tg.run(tg.isnan(tg.constant([1.0, np.inf, np.nan])))
        array([False, False,  True])
    """
    return not_equal(x, x)


def isinf(x: Any) -> Node:
    """True where x is inf or -inf; nowhere, if x is of integers or bool.

    Example:
        >>> tg.run(tg.isinf(tg.constant([1.0, np.inf, np.nan])))
        array([False,  True, False])
    """
    (x,) = promote("isinf", (x,))
    if not is_float(x.dtype):
        return isnan(x)
    return logical_or(equal(x, math.inf), equal(x, -math.inf))


def isfinite(x: Any) -> Node:
    """True where x is a number, and neither inf nor -inf.

    Example:
        >>> tg.run(tg.isfinite(tg.constant([1.0, np.inf, np.nan])))
        array([ True, False, False])
    """
    (x,) = promote("isfinite", (x,))
    if not is_float(x.dtype):
        return equal(x, x)
    return logical_and(less(x, math.inf), less(-math.inf, x))


logical_and: Op = define(
    "logical_and",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=_booleans("logical_and", 2),
    ref=np.logical_and,
    expr="{0} and {1}",
    vjp=lambda g, out, a, b: (None, None),
    example=lambda: logical_and(input("a", 4, 3, dtype="bool"), input("b", 4, 1, dtype="bool")),
)

logical_or: Op = define(
    "logical_or",
    Kind.ELEMENTWISE,
    commutative=True,
    infer=_booleans("logical_or", 2),
    ref=np.logical_or,
    expr="{0} or {1}",
    vjp=lambda g, out, a, b: (None, None),
    example=lambda: logical_or(input("a", 4, 3, dtype="bool"), input("b", 3, dtype="bool")),
)

logical_not: Op = define(
    "logical_not",
    Kind.ELEMENTWISE,
    infer=_booleans("logical_not", 1),
    ref=np.logical_not,
    expr="not {0}",
    vjp=lambda g, out, a: (None,),
    example=lambda: logical_not(input("a", 4, 3, dtype="bool")),
)


def logical_xor(a: Any, b: Any) -> Node:
    """True where one of two bools is true and the other is not.

    Args:
        a, b: bools whose shapes broadcast.

    Example:
        >>> tg.run(tg.logical_xor(tg.constant([True, True]), tg.constant([True, False])))
        array([False,  True])
    """
    return logical_and(logical_or(a, b), logical_not(logical_and(a, b)))


def _infer_where(condition: Type, a: Type, b: Type) -> Type:
    if condition.dtype != "bool":
        raise ShapeError(f"where requires a bool condition, got {condition}; compare first")
    return Type(broadcast_shapes("where", condition, a, b), same_dtype("where", a, b))


WHERE: Op = define(
    "where",
    Kind.ELEMENTWISE,
    infer=_infer_where,
    ref=np.where,
    expr="{1} if {0} else {2}",
    vjp=lambda g, out, c, a, b: (None, where(c, g, 0), where(c, 0, g)),
    example=lambda: where(input("c", 4, 1, dtype="bool"), input("a", 4, 3), input("b", 3)),
)


def where(condition: Any, a: Any, b: Any) -> Node:
    """a where the condition holds, b elsewhere; a number takes the other's dtype.

    Example:
        >>> x = tg.constant([-1.0, 2.0])
        >>> tg.run(tg.where(x > 0, x, 0.0))
        array([0., 2.], dtype=float32)
    """
    chosen = condition if isinstance(condition, Node) else constant(condition, "bool")
    return WHERE(chosen, *promote("where", (a, b)))


def _infer_cast(x: Type, *, dtype: str) -> Type:
    return Type(x.shape, dtype_name("cast", dtype))


def _vjp_cast(g: Node, out: Node, x: Node) -> tuple[Node | None]:
    return (cast(g, x.dtype) if is_float(x.dtype) and is_float(out.dtype) else None,)


def _through(dtype: str) -> tuple[str, ...]:
    """The conversions that a cast is made of.

    Narrow and unsigned integers are cut out of a wider signed one, so that -1.0 and 300.0 wrap
    around, whatever a processor's conversion does beyond the limits.
    """
    record = DTYPES[dtype]
    if not record.is_integer or (record.kind == "int" and record.bits >= 32):
        return (dtype,)
    return ("int32" if record.bits < 32 else "int64", dtype)


def _expr_cast(*, dtype: str) -> str:
    text = "{0}"
    for kind in _through(dtype):
        text = f"{DTYPES[kind].constructor}({text})"
    return text


def _ref_cast(x: np.ndarray, *, dtype: str) -> np.ndarray:
    for kind in _through(dtype):
        x = x.astype(DTYPES[kind].numpy)
    return x


CAST: Op = define(
    "cast",
    Kind.ELEMENTWISE,
    infer=_infer_cast,
    ref=_ref_cast,
    expr=_expr_cast,
    vjp=_vjp_cast,
    example=lambda: cast(input("x", 4, 3), "int32"),
)


def cast(x: Any, dtype: str) -> Node:
    """x converted to ``dtype``.

    Bool means 'is not 0'. Integers keep their low bits, as in NumPy: 300 is 44 in uint8, 255 is -1
    in int8. Floats are cut towards zero and then wrap around in the same way; NaN and what lies
    beyond int32 (for 64 bits and uint32, beyond int64) gives whatever the processor makes of it.

    Example:
        >>> tg.run(tg.cast(tg.constant([1.9, -1.9]), "int32"))
        array([ 1, -1], dtype=int32)
    """
    (x,) = promote("cast", (x,))
    dtype = dtype_name("cast", dtype)
    return x if x.dtype == dtype else CAST(x, dtype=dtype)
