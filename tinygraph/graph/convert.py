"""What users write becomes what nodes are made of, or is refused with the operator's name.

Whole numbers, sizes, axes and dtypes may be Python's or NumPy's; numbers and arrays keep their
values on the way into a dtype (floats are rounded to it), or are refused.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .dtype import DTYPES, astype, is_float, known, name_of, widened
from .origins import user_origin
from .size import Size


class ShapeError(TypeError):
    """Arguments that do not fit: 'file.py:12: conv2d requires ..., got ...'."""

    def __init__(self, message: str):
        super().__init__(f"{user_origin()}: {message}")


def whole(name: str, value: Any) -> Any:
    """A whole number as Python's int, or an open size as it is; bool is none."""
    if isinstance(value, Size):
        return value
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise ShapeError(f"{name} requires a whole number, got {value!r}")


def wholes(name: str, values: Any) -> tuple[Any, ...]:
    """Whole numbers: from a sequence or an array of them, or from one."""
    if isinstance(values, str):
        raise ShapeError(f"{name} requires whole numbers, got {values!r}")
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.dtype.kind in "iu" else values
    if isinstance(values, Iterable) and np.ndim(values):  # type: ignore[arg-type]
        return tuple(whole(name, v) for v in values)
    return (whole(name, values),)


def sizes(name: str, shape: Any) -> tuple[Any, ...]:
    """A shape: sizes from 0 up."""
    found = wholes(name, shape)
    if any(n < 0 for n in found):
        raise ShapeError(f"{name} requires sizes from 0 up, got {found}")
    return found


def dtype_name(name: str, dtype: Any) -> str:
    """The name of a dtype, which may be NumPy's: see ``known``."""
    return known(dtype, name, ShapeError).name


def as_array(value: Any) -> np.ndarray:
    """NumPy's array of numbers, lists, or an array of another library: PyTorch's, pandas', or
    whatever has ``__array__`` or ``__dlpack__``; its memory is shared where it can be.
    """
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    array = np.asarray(value)
    foreign = array.dtype.kind == "V" and not array.dtype.names and array.dtype.name in DTYPES
    return astype(array, array.dtype.name) if foreign else array  # ml_dtypes' bfloat16


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        ShapeError: it is neither; text and numbers are not asked whether they are true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ShapeError(f"{name} requires True or False, got {value!r}")
    return bool(value)


def numbers(name: str, value: Any, dtype: str | None = None) -> np.ndarray:
    """A number, list or array as an array of ``dtype``; None: of the dtype that it has.

    Raises:
        ShapeError: it is not a number, or has values that the dtype cannot hold.
    """
    try:
        array = as_array(value)
        if isinstance(value, int) and array.dtype.kind == "O":  # beyond 64 bits
            array = np.asarray(float(value))
    except (ValueError, OverflowError):  # lists of several lengths; beyond 1e308
        array = np.asarray(None)
    found = name_of(array.dtype)
    if array.dtype.kind not in "biuf" and found not in DTYPES:
        raise ShapeError(f"{name} requires numbers, got {value!r}")
    if dtype is None or found == dtype:
        return array
    if not is_float(dtype) and not holds(dtype, array):
        raise ShapeError(f"{name} requires values that {dtype} holds, got {value!r}")
    return astype(array, dtype)


def holds(dtype: str, array: np.ndarray) -> bool:
    """Whether a dtype of integers or bool has all values of an array."""
    array = widened(array)
    with np.errstate(invalid="ignore"):
        kept = array.astype(dtype)
        back = kept.astype(array.dtype)  # of as many bits, it is the same whatever the sign
    return bool(np.array_equal(back, array) and np.array_equal(kept < 0, array < 0))
