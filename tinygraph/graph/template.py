"""What the template of an operator's own kernel is given: a kernel's text, as it is written.

A template writes the loops of one kernel as plain Python, which a processor's backend compiles:
``for`` over ``range``, ``while``, ``if``, assignments to names and elements, and calls of what
generated kernels call (``tinygraph.codegen.python`` lists it). For example, a running maximum along
the last axis:

    def running_maximum(k: KernelWriter) -> None:
        (x,), y = k.inputs, k.output
        k.array("x", x)
        k.array("y", y)
        at = k.loops(range(len(x.shape) - 1), x.shape, {"x": x.strides, "y": y.strides})
        n, step, y_step = (k.argument(*a) for a in (
            ("n", x.shape[-1]), ("step", x.strides[-1]), ("y_step", y.strides[-1])))
        k.line(f"best = x[{at['x']}]")
        k.line(f"for i in range({n}):")
        k.line(f"    best = maximum(best, x[{at['x']} + i * {step}])")
        k.line(f"    y[{at['y']} + i * {y_step}] = best")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class TemplateOperand(Protocol):
    """An array in memory that a kernel reads or writes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""

    @property
    def strides(self) -> tuple[int, ...]:
        """From one element to the next along each axis, in elements; they may be 0 or negative."""

    @property
    def dtype(self) -> str: ...


class KernelWriter(Protocol):
    """A kernel that is being written, for one node.

    Sizes and strides belong into arguments, not into the text: kernels of the same text are
    compiled once. A kernel is called once for each of ``parts`` parts, maybe at the same time; its
    variable ``part`` says which one it is.
    """

    @property
    def inputs(self) -> tuple[TemplateOperand, ...]: ...

    @property
    def output(self) -> TemplateOperand: ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The node's attributes."""

    @property
    def parts(self) -> int:
        """How many parts the work is cut into: what the operator's ``parts`` said."""

    depth: int  # of indentation: 1 outside of all loops

    def array(self, name: str, operand: TemplateOperand) -> str:
        """Binds a name to an operand, as a flat array that begins at its first element."""

    def argument(self, name: str, value: int) -> str:
        """Binds a name to a number, which is not part of the text."""

    def port(self, name: str) -> str:
        """Binds a name to where kernels call out of compiled code, for ``communicate``."""

    def line(self, text: str) -> None:
        """Adds a line at the current depth."""

    def loops(
        self, axes: Iterable[int], shape: Sequence[int], strides: Mapping[str, Sequence[int]]
    ) -> dict[str, str]:
        """Opens loops over these axes of a shape, and goes into them.

        Returns for each array of ``strides`` the text of its element's index there.
        """
