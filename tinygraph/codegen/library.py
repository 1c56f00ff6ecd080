"""The functions of kernels that are compiled in place: which modules have their text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from . import intrinsics, math, random, trigonometry

MODULES = (math, trigonometry, random)  # straight-line code over the primitives of intrinsics

# made for float32: in float64 a backend's own functions stand in for them
FLOAT32 = tuple(
    name
    for module in (math, trigonometry)
    for name, function in vars(module).items()
    if inspect.isfunction(function)
    and function.__module__ == module.__name__
    and not name.startswith("_")
)

_DOUBLE = re.compile(r"float64|\b(sin|cos|tan)\(")


def names_float64(text: str) -> bool:
    """Whether a kernel's text names something that computes in float64."""
    return _DOUBLE.search(text) is not None


def functions() -> dict[str, Callable[..., Any]]:
    """Every primitive and every function, by its name."""
    return {
        name: function
        for module in (intrinsics, *MODULES)
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__
    }
