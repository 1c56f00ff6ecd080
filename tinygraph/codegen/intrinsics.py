"""Primitives of generated code: their Python twins, on float32 scalars and on arrays alike.

Backends replace each of them by one or two machine instructions; here they are NumPy, so that the
very text that is compiled also runs in a debugger. Literals stay weak (NEP 50): float32 in, float32
out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.dtype import DTYPES, astype

# a NumPy scalar or array: the twins keep the shape and the dtype of what they are given
Number = Any

globals().update({d.constructor: d.numpy.type for d in DTYPES.values()})  # float32(x), bool_(x)


def bfloat16(x: Number) -> Number:
    """x rounded to bfloat16; NumPy lacks that, so that it is a float32 still."""
    return astype(astype(x, "bfloat16"), "float32")[()]


def where(condition: Number, x: Number, y: Number) -> Number:
    """``x if condition else y``, both sides evaluated. Two literals give float32."""
    if type(x) is float and type(y) is float:  # not float64, which is a float, too
        x = np.float32(x)
    chosen: Number = np.where(condition, x, y)
    return chosen[()]


def exchanged(x: Number, y: Number, mask: int) -> Number:
    """x where mask is 0, y where it is -1, by their bits."""
    return y if mask else x


def opaque(mask: int) -> int:
    """The mask itself, of which a compiler does not know that it is a condition.

    Where all steps of a loop share a condition, it would make a branch in the loop.
    """
    return mask


def fma(x: Number, y: Number, z: Number) -> Number:
    """``x * y + z``, rounded once where the processor can; the twin rounds through float64."""
    exact = np.multiply(x, y, dtype=np.float64) + z
    return exact.astype(np.result_type(x, y, z))


def rounded_product(x: Number, y: Number) -> Number:
    """``x * y``, rounded before anything is added to it, as ``x * y`` itself need not be."""
    return x * y


def floor_divide(x: Number, y: Number) -> Number:
    """``x // y``; of integers 0 where y is 0."""
    return np.floor_divide(x, y)


def modulo(x: Number, y: Number) -> Number:
    """``x % y``; of integers 0 where y is 0."""
    return np.remainder(x, y)


def shift_left(x: Number, y: Number) -> Number:
    """``x << y`` of integers; 0 where y is beyond their width."""
    return np.left_shift(x, y)


def shift_right(x: Number, y: Number) -> Number:
    """``x >> y`` of integers; 0, or -1 of those below 0, where y is beyond their width."""
    return np.right_shift(x, y)


def float_bits(x: Number) -> Number:
    """The bits of a float32, as int32."""
    return np.asarray(x, np.float32).view(np.int32)[()]


def bits_float(i: Number) -> Number:
    """The float32 of these bits, given as int32."""
    return np.asarray(i, np.int32).view(np.float32)[()]


def float64_bits(x: Number) -> Number:
    """The bits of a float64, as int64."""
    return np.asarray(x, np.float64).view(np.int64)[()]


def bits_float64(i: Number) -> Number:
    """The float64 of these bits, given as int64."""
    return np.asarray(i, np.int64).view(np.float64)[()]


def isnan(x: Number) -> Number:
    return np.isnan(x)


def floor(x: Number) -> Number:
    return np.floor(x)


def ceil(x: Number) -> Number:
    return np.ceil(x)


def trunc(x: Number) -> Number:
    return np.trunc(x)


def rint(x: Number) -> Number:
    """The nearest integer, as a float; ties go to the even one."""
    return np.rint(x)


def nearest(x: Number) -> Number:
    """The nearest int32; ties go to the even one. x is within int32."""
    return np.rint(x).astype(np.int32)


def sqrt(x: Number) -> Number:
    return np.sqrt(x)
