"""What a call is given: arrays by position or by name, checked against the inputs of a program."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.convert import as_array, holds
from ..graph.dtype import DTYPES, astype, is_float, name_of
from ..graph.ir import Graph
from ..graph.origins import described
from ..graph.types import Type

_ARRAY = np.ndarray  # found sooner than NumPy's attribute


class Arguments:
    """The inputs of a program; ``names`` are theirs, in order."""

    def __init__(self, graph: Graph):
        self.program, self.inputs = graph.name, graph.inputs
        self.names = tuple(n.name or f"input{i}" for i, n in enumerate(graph.inputs))
        self.takes_out = "out" in self.names
        self._types = [(DTYPES[n.dtype].numpy, n.shape) for n in graph.inputs]

    def __str__(self) -> str:
        pairs = zip(self.names, self.inputs, strict=True)
        return ", ".join(f"{name}: {n.type}" for name, n in pairs)

    def arrays(self, given: tuple[Any, ...], named: dict[str, Any]) -> Sequence[np.ndarray]:
        """One C-contiguous array for each input, of its type.

        Any memory layout is taken, and numbers and lists. Arrays of another dtype are refused: to
        convert them in every call would cost time in silence. Integers of another dtype, NumPy's
        int64 above all, are taken where the input's holds all of them.

        Raises:
            TypeError: a name, the number of arrays or a dtype does not fit.
            ValueError: a shape does not fit.
        """
        if named or len(given) != len(self._types):
            given = self.in_order(given, named)
        for number, value in enumerate(given):
            dtype, shape = self._types[number]
            if (
                type(value) is not _ARRAY
                or value.dtype is not dtype
                or value.shape != shape
                or not value.flags.c_contiguous
            ):
                return [self._array(i, v) for i, v in enumerate(given)]
        return given

    def placed(
        self, given: tuple[Any, ...], named: dict[str, Any], adopt: Callable[[Any], Any]
    ) -> list[Any]:
        """As ``arrays``; ``adopt`` gives what stands for an array on a device, else None.

        Raises:
            TypeError, ValueError: as there. Nothing on a device is converted.
        """
        found = []
        for i, value in enumerate(self.in_order(given, named)):
            held = adopt(value)
            if held is not None and held.dtype != self.inputs[i].dtype:
                raise TypeError(
                    f"{described(self.inputs[i])} got {held.dtype} on a device; convert it there "
                    f"to {self.inputs[i].dtype}"
                )
            if held is not None and held.shape != self.inputs[i].shape:
                raise ValueError(self.misshapen(i, held.shape))
            found.append(self._array(i, value) if held is None else held)
        return found

    def in_order(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """The value given for each input, those by position first."""
        rest = self.names[len(given) :] if named else ()
        for name in named:
            if name not in self.names:
                close = difflib.get_close_matches(name, self.names, 1)
                guess = f"did you mean {close[0]!r}? " if close else ""
                raise TypeError(f"{self.program} has no input {name!r}; {guess}it takes {self}")
            if name not in rest:
                raise TypeError(f"{self.program} got {name!r} twice, by position and by name")
        values = (*given, *(named[n] for n in rest if n in named))
        if len(values) != len(self.names):
            count = f"{len(self.names)} array{'s' * (len(self.names) != 1)}"
            raise TypeError(f"{self.program} takes {count} ({self}), got {len(values)}")
        return values

    def _array(self, number: int, value: Any) -> np.ndarray:
        dtype, shape = self._types[number]
        if type(value) is not np.ndarray or value.dtype != dtype or not value.flags.c_contiguous:
            array = self._converted(number, value, dtype)
            value = np.ascontiguousarray(array).reshape(array.shape)
        if value.shape != shape:
            raise ValueError(self.misshapen(number, value.shape))
        return value

    def _converted(self, number: int, value: Any, dtype: np.dtype) -> np.ndarray:
        array = as_array(value)
        if array.dtype == dtype:
            return array
        if array.dtype.newbyteorder("=") != dtype and not self._takes(array, dtype, value):
            held = array.dtype.kind in "iu" and dtype.kind in "iu"
            advice = "has values that this dtype cannot hold"
            raise TypeError(
                f"{described(self.inputs[number])} got {array.dtype}; "
                + (advice if held else f"convert with astype({name_of(dtype)!r})")
            )
        return astype(array, name_of(dtype))

    @staticmethod
    def _takes(array: np.ndarray, dtype: np.dtype, value: Any) -> bool:
        """Whether values of another dtype are converted."""
        if array.dtype.kind in "iu" and dtype.kind in "iu":
            return holds(dtype.name, array)
        if isinstance(value, np.ndarray) or array.dtype.kind not in "biuf":
            return False
        return is_float(name_of(dtype)) or array.dtype.kind == "b" or holds(dtype.name, array)

    def misshapen(self, number: int, shape: tuple[int, ...]) -> str:
        """Says of an array's shape that it does not fit, and what may be meant."""
        n, hint = self.inputs[number], ""
        if shape == n.shape[1:]:
            hint = "; its first axis, the batch, is missing"
        elif number == 0 and shape[1:] == n.shape[1:]:
            hint = "; None in place of the first size leaves it open"
        return f"{described(n)} got an array of shape {shape}{hint}"


def draw(type: Type, rng: np.random.Generator) -> np.ndarray:
    """Values that every operator can take: small integers, booleans, normal floats."""
    if type.dtype == "bool":
        return rng.integers(0, 2, type.shape).astype(bool)
    if is_float(type.dtype):
        return astype(rng.standard_normal(type.shape), type.dtype)
    return np.asarray(rng.integers(0, 3, type.shape), type.dtype)
