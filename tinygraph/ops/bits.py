"""Bits of integers: and, or, exclusive or, complement, shifts."""

from __future__ import annotations

import numpy as np

from ..graph.op import Kind, Op, define, input
from .arithmetic import integers

__all__ = (
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"
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
