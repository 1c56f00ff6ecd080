"""Formats of numbers: one record for each dtype, which every part of tinygraph reads.

Graphs, plans and generated text name a dtype by a string (``x.dtype == "float32"``); ``DTYPES`` has
its record. A new dtype is one line of ``DTYPES``, plus what a backend must know of it: each one
makes its own types out of the record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class DType:
    """A format of numbers.

    Attributes:
        name: as users write it, and NumPy's name where NumPy has the type.
        short: in dumps, as in ``f32[4,3]``.
        kind: 'float', 'int' (signed, in two's complement), 'uint' or 'bool'.
        bits: of an element in memory.
        precision: of a float, the bits of its significand, the hidden one included.
        carrier: NumPy's dtype for an element's bits, where NumPy lacks the format itself. Arrays
            then have one field of that dtype with the format's name, so that nobody takes the bits
            of a bfloat16 for integers; ``array.view("uint16")`` are the bits.
        compute: the dtype that operators convert to before they compute, where it is another one:
            float32 for the floats of 16 bits, which are formats of memory only. A result is rounded
            once, to the nearest number of the format, of two the even one.
    """

    name: str
    short: str
    kind: Literal["float", "int", "uint", "bool"]
    bits: int
    precision: int = 0
    carrier: str = ""
    compute: str = ""

    @property
    def bytes(self) -> int:
        return self.bits // 8

    @property
    def numpy(self) -> np.dtype:
        """NumPy's type of an element."""
        return np.dtype([(self.name, self.carrier)] if self.carrier else self.name)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned; a bool is not an integer."""
        return self.kind in ("int", "uint")

    @property
    def least(self) -> float:
        """No number is less: -inf for floats, 0 (False) for bool."""
        if self.is_float:
            return -math.inf
        return -(1 << self.bits - 1) if self.kind == "int" else 0

    @property
    def greatest(self) -> float:
        """No number is greater: inf for floats, 1 (True) for bool."""
        if self.is_float:
            return math.inf
        return 1 if self.kind == "bool" else (1 << self.bits - (self.kind == "int")) - 1

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number, of a float."""
        return 2.0 ** (1 - self.precision)

    @property
    def accumulator(self) -> str:
        """The dtype of sums over axes: integers below 32 bits and bool are counted in 32 bits."""
        if self.is_float:
            return self.name
        return self.name if self.bits >= 32 else "uint32" if self.kind == "uint" else "int32"

    @property
    def constructor(self) -> str:
        """The name of the conversion in kernel text; ``bool`` itself is Python's."""
        return "bool_" if self.kind == "bool" else self.name

    def holds(self, value: Any) -> bool:
        """True if a number keeps its value in this format; any real number does in a float."""
        if not isinstance(value, (int, float, np.number)):
            return False
        if self.is_float:
            return not isinstance(value, bool)
        return bool(self.least <= value <= self.greatest) and value == int(value)


DTYPES = {
    d.name: d
    for d in (
        DType("float32", "f32", "float", 32, precision=24),
        DType("float64", "f64", "float", 64, precision=53),
        DType("float16", "f16", "float", 16, precision=11, compute="float32"),
        DType("bfloat16", "bf16", "float", 16, precision=8, carrier="uint16", compute="float32"),
        DType("int8", "i8", "int", 8),
        DType("int16", "i16", "int", 16),
        DType("int32", "i32", "int", 32),
        DType("int64", "i64", "int", 64),
        DType("uint8", "u8", "uint", 8),
        DType("uint16", "u16", "uint", 16),
        DType("uint32", "u32", "uint", 32),
        DType("bool", "bool", "bool", 8),
    )
}


def name_of(dtype: np.dtype) -> str:
    """Our name of NumPy's dtype of an array; ml_dtypes' bfloat16 has the same."""
    carried = dtype.names[0] if dtype.names else ""
    return carried if carried in DTYPES and DTYPES[carried].numpy == dtype else dtype.name


def computed(dtype: str) -> str:
    """The dtype that operators on values of a dtype compute in; what is no dtype stays."""
    return DTYPES[dtype].compute or dtype if dtype in DTYPES else dtype


def is_exact(dtype: str, into: str) -> bool:
    """Whether every number of a dtype keeps its value in another."""
    a, b = DTYPES[dtype], DTYPES[into]
    if a.is_float:  # a float with more digits has more exponents, too, but for these two
        return (
            b.is_float and a.precision <= b.precision and (dtype, into) != ("bfloat16", "float16")
        )
    digits = b.precision or b.bits - (b.kind == "int")
    if b.kind == "bool" or (a.kind == "int" and b.kind == "uint"):
        return a.kind == b.kind
    return a.bits - (a.kind == "int") <= digits or a.kind == "bool"


def is_similar(dtype: np.dtype, into: str) -> bool:
    """Whether numbers of NumPy's dtype may become those of ours unasked, as its 'same_kind'."""
    found = computed(name_of(dtype))
    return np.can_cast(found if found in DTYPES else dtype, computed(into), "same_kind")


def astype(array: Any, dtype: str) -> np.ndarray:
    """NumPy's ``astype``, in and out of formats that NumPy lacks, too.

    Floats of 16 bits are rounded once, to the nearest, of two the even one; NaN stays NaN.

    Args:
        array: numbers, or a bfloat16 array as this function or a program makes it: one field of
            uint16, the bits. ml_dtypes' bfloat16 is taken, too.
        dtype: the name of a dtype.

    Example:
        >>> half = tg.astype([1.0, 3.14159], "bfloat16")
        >>> half.view("uint16"), tg.astype(half, "float32")
        (array([16256, 16457], dtype=uint16), array([1.      , 3.140625], dtype=float32))
    """
    array, record = np.asarray(array), DTYPES[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        if name_of(array.dtype) == "bfloat16":
            array = np.ascontiguousarray(array).reshape(array.shape)
            if dtype == "bfloat16":
                return array.view(np.uint16).view(record.numpy)
            wide = array.view(np.uint16).astype(np.uint32) << np.uint32(16)
            return wide.view(np.float32).astype(record.numpy)
        if not record.compute or array.dtype == record.numpy:
            return array.astype(record.numpy)
        wide = np.ascontiguousarray(rounded_to_odd(array), np.float32).reshape(array.shape)
        if not record.carrier:
            return wide.astype(record.numpy)
    bits = wide.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + (np.uint32(0x7FFF) + even)) >> np.uint32(16)
    kept = np.where(np.isnan(wide), (bits >> np.uint32(16)) | np.uint32(0x40), rounded)
    return kept.astype(np.uint16).view(record.numpy)


def rounded_to_odd(array: np.ndarray) -> np.ndarray:
    """Numbers as float32; of the two next to one that it lacks, the one whose last bit is 1.

    Rounding that to 16 bits is as rounding the number itself (S. Boldo, G. Melquiond, Emulation of
    FMA and correctly rounded sums: proved algorithms using rounding to odd, IEEE Transactions on
    Computers 57, 2008, theorem 3), where rounding to the nearest twice is not.
    """
    if array.dtype.itemsize < 4 or array.dtype == np.float32 or array.dtype.names:
        return array.astype(np.float32)
    if array.dtype.itemsize == 8 and array.dtype.kind in "iu":
        far = (array < -(2**53)) | (array > 2**53)
        lost = (array & 2047 != 0).astype(array.dtype)
        array = np.where(far, array >> 11 << 11 | lost << 11, array)
    exact = array.astype(np.float64)
    nearest = exact.astype(np.float32)
    back = nearest.astype(np.float64)
    odd = (nearest.view(np.uint32) - (np.abs(back) > np.abs(exact))).astype(np.uint32) | 1
    return np.where((back == exact) | np.isnan(exact), nearest, odd.view(np.float32))


def widened(array: np.ndarray) -> np.ndarray:
    """An array as operators compute with it: the same one, unless its format is of memory only."""
    wide = computed(name_of(array.dtype))
    return array if wide == name_of(array.dtype) else astype(array, wide)


def is_float(dtype: str) -> bool:
    """True for the dtype of a float; False for what is not a dtype, such as a loop's results."""
    return dtype in DTYPES and DTYPES[dtype].is_float


def is_integer(dtype: str) -> bool:
    """True for the dtype of an integer, signed or not; bool is not one."""
    return dtype in DTYPES and DTYPES[dtype].is_integer


def known(dtype: Any, who: str = "tinygraph", error: type[Exception] = TypeError) -> DType:
    """The record of a dtype that every operator and backend computes in.

    It may be given by its name, by NumPy's dtype or scalar type, or as Python's float, int or bool,
    which are NumPy's float64, int64 and bool.

    Raises:
        error: ``who``, an operator or an input, was given something else.
    """
    name = dtype
    if dtype is not None and not isinstance(dtype, str):
        try:
            name = name_of(np.dtype(dtype))
        except TypeError:
            name = None
    if name not in DTYPES:
        raise error(f"{who} requires a dtype of {', '.join(DTYPES)}, got {dtype!r}")
    return DTYPES[name]
