"""What a call fills: fresh arrays, or those that the caller gives, checked against the outputs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.addresses import address
from ..graph.dtype import DTYPES
from ..graph.ir import Node, Parameter
from ..graph.origins import described
from ..graph.state import ParameterState


class Outputs:
    """The outputs of a program, without the new values of parameters."""

    def __init__(self, program: str, nodes: Sequence[Node], parameters: Sequence[Parameter]):
        self.program, self.nodes, self.parameters = program, tuple(nodes), tuple(parameters)
        self._results = [(n.shape, DTYPES[n.dtype].numpy) for n in nodes]
        self._places: list[tuple[int, int]] = []  # of the parameters: begin and end, in order
        self._allocated = -1  # ParameterState.allocated at that time

    def fresh(self) -> list[np.ndarray]:
        return [np.empty(shape, dtype) for shape, dtype in self._results]

    def given(self, out: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays of ``out``: one for each output, or the array itself where there is one.

        Raises:
            TypeError: there are not as many arrays as outputs, or one is no array.
            ValueError: an array is not of an output's type, C-contiguous and writable, or shares
                memory with another, with an input or with a parameter.
        """
        arrays = [out] if isinstance(out, np.ndarray) else list(out)
        if len(arrays) != len(self.nodes):
            count = f"{len(self.nodes)} array{'s' * (len(self.nodes) != 1)}"
            raise TypeError(f"out of {self.program} takes {count}, got {len(arrays)}")
        for number, array in enumerate(arrays):
            shape, dtype = self._results[number]
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{self._called(number)} takes an array, got {type(array)}")
            fits = array.shape == shape and array.dtype == dtype
            if not fits or not (flags := array.flags).c_contiguous or not flags.writeable:
                raise ValueError(f"{self._called(number)} takes a C-contiguous array that can be "
                                 f"written to, got {_kind(array)}")  # fmt: skip
        if self._may_touch(arrays, inputs):
            self._refuse_shared(arrays, inputs)
        return arrays

    def _may_touch(self, arrays: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> bool:
        """True if a run may write what it also reads, or writes twice. All are contiguous."""
        if self._allocated != ParameterState.allocated:
            self._allocated = ParameterState.allocated
            held = [p.state.memory for p in self.parameters]
            self._places = sorted(_extent(m) for m in held if m is not None)
        others = [_extent(x) for x in inputs]
        for array in arrays:
            begin, end = _extent(array)
            for first, last in others:
                if first < end and begin < last:
                    return True
            if places := self._places:
                following = bisect_left(places, (end, 0))  # the first that begins after it
                if following and places[following - 1][1] > begin:
                    return True
            others.append((begin, end))
        return False

    def _refuse_shared(self, arrays: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
        """
        Raises:
            ValueError: what a run writes it also reads, or writes twice.
        """
        others = [(f"input {i}", x) for i, x in enumerate(inputs)]
        held = ((f"parameter {p.name}", p.state.memory) for p in self.parameters)
        others += [(name, x) for name, x in held if x is not None]
        for number, array in enumerate(arrays):
            for name, other in others:
                if np.may_share_memory(array, other):
                    raise ValueError(
                        f"{self._called(number)} takes memory of its own, got an array that shares "
                        f"memory with {name}: give another, or a copy of that"
                    )
            others.append((f"out of output {number}", array))

    def _called(self, number: int) -> str:
        return f"out of {self.program}, output {number}, {described(self.nodes[number])},"


def _extent(array: np.ndarray) -> tuple[int, int]:
    """Where a contiguous array begins and ends."""
    begin = address(array)
    return begin, begin + array.nbytes


def _kind(array: np.ndarray) -> str:
    """An array's type, and what a run cannot write to."""
    faults = {
        "not contiguous": not array.flags.c_contiguous,
        "read-only": not array.flags.writeable,
    }
    words = ", ".join(name for name, fault in faults.items() if fault)
    return f"{array.dtype} of shape {array.shape}" + (f", {words}" if words else "")
