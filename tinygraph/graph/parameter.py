"""Parameters: sources of a graph whose values live outside of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .ir import Parameter
from .op import PARAMETER
from .state import ParameterState
from .types import Type


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
    """
    if initial is None:
        array = np.array(value, dtype)
        shape: tuple[int, ...] = array.shape
        initial = lambda: array  # noqa: E731
    else:
        shape = tuple(int(n) for n in value)
    if order is not None and sorted(order) != list(range(len(shape))):
        raise ValueError(f"order requires each axis of {shape} once, got {order}")
    return Parameter(PARAMETER, ParameterState(Type(shape, dtype), name, initial, order))
