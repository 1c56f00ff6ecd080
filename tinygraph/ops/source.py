"""Values from nothing: index ramps and filled arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import dtype_name, numbers, sizes
from ..graph.dtype import known
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, constant, define
from ..graph.size import Ratio, Size
from ..graph.types import Type
from .view import broadcast_to, normalize_axis, reshape

__all__ = ("axis_index", "flat_index", "full", "ones", "ones_like", "zeros", "zeros_like")


def _infer_iota(*, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Type:
    if len(shape) != len(strides):
        raise ShapeError(
            f"iota requires a stride per axis, got shape {shape} and strides {strides}"
        )
    record = known(dtype, "iota", ShapeError)
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if isinstance(n, int))
    if not record.holds(last):
        raise ShapeError(f"iota requires a dtype that holds all numbers up to {last}, got {dtype}")
    return Type(tuple(shape), dtype)


def _ref_iota(*, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> np.ndarray:
    axes = np.indices(shape, np.int64)
    return sum(
        (a * s for a, s in zip(axes, strides, strict=True)), np.zeros(shape, np.int64)
    ).astype(dtype)


# Element [i, j, ...] is i * strides[0] + j * strides[1] + ...: computed from a kernel's indices,
# never stored.
IOTA: Op = define(
    "iota",
    Kind.SOURCE,
    infer=_infer_iota,
    ref=_ref_iota,
    vjp=lambda g, out: (),
    cost=lambda out, **_: 0,
    example=lambda: IOTA(shape=(2, 3), strides=(3, 1), dtype="int32"),
)


def ramp(n: Any, dtype: str = "int32") -> Node:
    """0, 1, ..., n - 1, of shape [n]."""
    return IOTA(shape=sizes("arange", n), strides=(1,), dtype=dtype_name("arange", dtype))


def axis_index(shape: tuple[int, ...], axis: int, dtype: str = "int32") -> Node:
    """Every element's index along ``axis``.

    Args:
        shape, dtype: of the result.

    Example:
        >>> tg.run(tg.axis_index((2, 3), 1))
        array([[0, 1, 2],
               [0, 1, 2]], dtype=int32)
    """
    shape = sizes("axis_index", shape)
    axis = normalize_axis("axis_index", axis, len(shape))
    strides = tuple(int(a == axis) for a in range(len(shape)))
    return IOTA(shape=shape, strides=strides, dtype=dtype_name("axis_index", dtype))


def flat_index(shape: tuple[int, ...], dtype: str = "int32") -> Node:
    """Every element's place in row-major order.

    Args:
        shape, dtype: of the result.

    Example:
        >>> tg.run(tg.flat_index((2, 3)))
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
    """
    shape = sizes("flat_index", shape)
    return reshape(ramp(math.prod(shape), dtype), shape)


def full(shape: int | Sequence[int], value: Any, dtype: str = "float32") -> Node:
    """``value`` in every element, as numpy.full.

    Args:
        shape, dtype: of the result.

    Raises:
        ShapeError: the dtype cannot hold the value, or sizes are not in one tuple.

    Example:
        >>> tg.run(tg.full((2,), 7.0))
        array([7., 7.], dtype=float32)
    """
    if isinstance(dtype, (int, Size)):
        raise ShapeError(f"tg.full, zeros and ones take sizes as one tuple, got {dtype} as dtype")
    return broadcast_to(_filling(value, dtype_name("full", dtype)), sizes("full", shape))


def _filling(value: Any, dtype: str) -> Node:
    open_size = isinstance(value, (Size, Ratio))
    return constant(value if open_size else numbers("full", value, dtype), dtype)


def zeros(shape: int | Sequence[int], dtype: str = "float32") -> Node:
    """0 in every element.

    Args:
        shape, dtype: of the result.

    Example:
        >>> tg.run(tg.zeros((2, 2)))
        array([[0., 0.],
               [0., 0.]], dtype=float32)
    """
    return full(shape, 0, dtype)


def ones(shape: int | Sequence[int], dtype: str = "float32") -> Node:
    """1 in every element.

    Args:
        shape, dtype: of the result.

    Example:
        >>> tg.run(tg.ones((2,), "int32"))
        array([1, 1], dtype=int32)
    """
    return full(shape, 1, dtype)


def zeros_like(x: Node) -> Node:
    """0 in every element, of x's shape and dtype.

    Example:
        >>> tg.run(tg.zeros_like(tg.arange(3)))
        array([0, 0, 0], dtype=int32)
    """
    return full(x.shape, 0, x.dtype)


def ones_like(x: Node) -> Node:
    """1 in every element, of x's shape and dtype.

    Example:
        >>> tg.run(tg.ones_like(tg.arange(3)))
        array([1, 1, 1], dtype=int32)
    """
    return full(x.shape, 1, x.dtype)
