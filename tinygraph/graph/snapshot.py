"""Values of parameters as users read them: copies that cannot be changed in silence."""

from __future__ import annotations

from typing import Any

import numpy as np


class ReadOnlyArray(np.ndarray):
    """An array that is read-only, since changing it would not change what it is a copy of.

    ``p.value += 1`` makes a new array and sets it; what is computed from a snapshot is an ordinary
    array, ``copy()`` one that can be changed.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise ValueError(
                "a parameter's value is read as a copy, which cannot be changed; change "
                "p.value.copy() and set it: p.value = changed"
            )
        super().__setitem__(key, value)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __repr__(self) -> str:
        return repr(np.asarray(self))

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    setattr(ReadOnlyArray, f"__i{_name}__", getattr(np.ndarray, f"__{_name}__"))


def snapshot(array: np.ndarray) -> ReadOnlyArray:
    """An array of which nobody else has the memory, made read-only."""
    array.flags.writeable = False
    return array.view(ReadOnlyArray)
