"""What a call fills: fresh arrays, or those that the caller gives, checked against the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES
from ..graph.ir import Node, Parameter
from ..graph.origins import described


class Outputs:
    """The outputs of a program, without the new values of parameters."""

    def __init__(self, program: str, nodes: Sequence[Node], parameters: Sequence[Parameter]):
        self.program, self.nodes, self.parameters = program, tuple(nodes), tuple(parameters)
        self._results = [(n.shape, DTYPES[n.dtype].numpy) for n in nodes]

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
        for number, (array, (shape, dtype)) in enumerate(zip(arrays, self._results, strict=True)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{self._called(number)} takes an array, got {type(array)}")
            flags = array.flags
            fits = array.shape == shape and array.dtype == dtype
            if not (fits and flags.c_contiguous and flags.writeable):
                raise ValueError(f"{self._called(number)} takes a C-contiguous array that can be "
                                 f"written to, got {_kind(array)}")  # fmt: skip
        self._apart(arrays, inputs)
        return arrays

    def _apart(self, arrays: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
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


def _kind(array: np.ndarray) -> str:
    """An array's type, and what a run cannot write to."""
    faults = {
        "not contiguous": not array.flags.c_contiguous,
        "read-only": not array.flags.writeable,
    }
    words = ", ".join(name for name, fault in faults.items() if fault)
    return f"{array.dtype} of shape {array.shape}" + (f", {words}" if words else "")
