"""Bits: and, or, exclusive or, complement, shifts of integers; those of floats as integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, define, input
from ..graph.types import Type
from .arithmetic import integers, promote
from .logic import cast, dtype_name

__all__ = (
    "bitcast", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "left_shift",
    "right_shift",
)  # fmt: skip

OTHERWISE = "only integers have bits"


def _bits(name: str, expr: str, commutative: bool = True) -> Op:
    return define(
        name,
        Kind.ELEMENTWISE,
        commutative=commutative,
        infer=integers(name, 2, OTHERWISE),
        ref=getattr(np, name),
        expr=expr,
        vjp=lambda g, out, a, b: (None, None),
        example=lambda: _TABLE[name](input("a", 4, 3, dtype="int32"), input("b", 3, dtype="int32")),
    )


bitwise_and = _bits("bitwise_and", "{0} & {1}")
bitwise_or = _bits("bitwise_or", "{0} | {1}")
bitwise_xor = _bits("bitwise_xor", "{0} ^ {1}")
# By the width of the dtype or more: 0, or -1 where a is below 0 and shifted to the right.
left_shift = _bits("left_shift", "shift_left({0}, {1})", commutative=False)
right_shift = _bits("right_shift", "shift_right({0}, {1})", commutative=False)
_TABLE = {o.name: o for o in (bitwise_and, bitwise_or, bitwise_xor, left_shift, right_shift)}

bitwise_not: Op = define(
    "bitwise_not",
    Kind.ELEMENTWISE,
    infer=integers("bitwise_not", 1, OTHERWISE),
    ref=np.invert,
    expr="~{0}",
    vjp=lambda g, out, a: (None,),
    example=lambda: bitwise_not(input("a", 4, 3, dtype="int32")),
)


def _expr_bitcast(*, dtype: str) -> str:
    double = "64" if DTYPES[dtype].bits == 64 else ""
    return f"bits_float{double}({{0}})" if DTYPES[dtype].is_float else f"float{double}_bits({{0}})"


def _infer_bitcast(x: Type, *, dtype: str) -> Type:
    old, new = DTYPES[x.dtype], DTYPES[dtype]
    if old.compute or new.compute:  # operators see these as float32
        raise ShapeError(f"bitcast requires no floats of 16 bits, got {x.dtype} and {dtype}")
    if old.bits != new.bits or {old.kind, new.kind} != {"int", "float"}:
        raise ShapeError(f"bitcast requires a dtype of as many bits as {x.dtype}, got {dtype}")
    return Type(x.shape, dtype)


BITCAST: Op = define(
    "bitcast",
    Kind.ELEMENTWISE,
    infer=_infer_bitcast,
    ref=lambda x, *, dtype: x.view(dtype),
    expr=_expr_bitcast,
    no_gradient="the bits of a number are no smooth function of it",
    example=lambda: bitcast(input("x", 4, 3, dtype="int32"), "float32"),
)


def bitcast(x: Any, dtype: str) -> Node:
    """The numbers of another dtype, of as many bits, that have x's bits.

        tg.bitcast(tg.constant(1.0), "int32")  # 0x3f800000

    Args:
        x: any shape.
        dtype: of x's width; not bool, whose bytes are 0 and 1 only.

    Raises:
        ShapeError: the dtypes are of different widths, or one is a float of 16 bits: view the array
            as uint16 outside of the graph.

    Example:
        >>> tg.run(tg.bitcast(tg.constant([1.0]), "int32"))
        array([1065353216], dtype=int32)
    """
    (x,) = promote("bitcast", (x,))
    dtype = dtype_name("bitcast", dtype)
    old, new = DTYPES[x.dtype], DTYPES[dtype]
    if old.bits != new.bits or (new.kind == "bool" and old.kind != "bool"):
        raise ShapeError(
            f"bitcast requires a dtype of {old.bits} bits other than bool, got {dtype}"
        )
    if old.is_float == new.is_float:
        return cast(x, dtype)
    whole = f"int{old.bits}"
    if old.is_float:
        return cast(BITCAST(x, dtype=whole), dtype)
    return BITCAST(cast(x, whole), dtype=dtype)
