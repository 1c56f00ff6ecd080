"""Parameters: sources of a graph whose values live outside of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .convert import dtype_name, numbers, sizes
from .ir import Parameter
from .numeric import numeric
from .op import PARAMETER
from .state import ParameterState
from .types import Type


@numeric
def parameter(
    value: Any,
    name: str | None = None,
    dtype: str = "float32",
    initial: Callable[[], Any] | None = None,
    order: tuple[int, ...] | None = None,
) -> Parameter:
    """A parameter with this value, or, where ``initial`` is given, of this shape.

    Args:
        value: an array, a number, or with ``initial`` a shape.
        name: for dumps, profiles and error messages.
        dtype: of the parameter; values are converted.
        initial: draws the value when it is first needed, not before.
        order: of the axes in memory, outermost first; (1, 0) is a matrix stored by columns.
            By default (2, 3, 1, 0) for four axes, which suits convolutions, else as they come.

    Raises:
        ValueError: the order is not one of the axes.
        ShapeError: the value is no array, or ``dtype`` cannot hold it.

    Example:
        >>> w = tg.parameter(np.zeros((4, 3)), name="w")
        >>> w.shape, w.dtype
        ((4, 3), 'float32')
    """
    dtype = dtype_name("parameter", dtype)
    if initial is None and isinstance(value, tuple) and any(isinstance(n, int) for n in value):
        raise ValueError(
            f"a parameter's value is a number or an array, got the tuple {value}; if it is a "
            f"shape, write tg.parameter({value}, initial=...), a function that draws the value, "
            f"or tg.parameter(np.zeros({value}))"
        )
    if initial is None:
        array = np.array(numbers(f"parameter {name or ''}".strip(), value, dtype))
        shape: tuple[int, ...] = array.shape
        initial = lambda: array  # noqa: E731
    else:
        shape = sizes(f"parameter {name or ''}".strip(), value)
    if order is not None and sorted(order) != list(range(len(shape))):
        raise ValueError(f"order requires each axis of {shape} once, got {order}")
    return Parameter(PARAMETER, ParameterState(Type(shape, dtype), name, initial, order))
