"""Kernels that an operator's own template writes."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph.op import Op
from ..graph.record import error
from ..plan.records.work import PORT, Access, Special
from .writer import Address, Writer, WrittenKernel

BUILTINS = ("range", "min", "max", "abs", "int", "float", "bool")


def emit(work: Special, parts: int) -> WrittenKernel:
    out = TemplateWriter(work, parts)
    assert work.op.template is not None
    work.op.template(out)
    text = "\n".join(["def NAME(part, tid, args):", *out.prologue, *out.lines, ""])
    if not work.op.built_in:
        check(work.op, text)
    return WrittenKernel(text, tuple(out.arguments))


def check(op: Op, text: str) -> None:
    """
    Raises:
        OperatorError: a template wrote what is not Python, or uses a name that kernels do not know.
    """
    from . import python

    try:
        tree = ast.parse(text)
    except SyntaxError as e:
        raise error(op, f"has a template that wrote {e.text!r}: {e.msg}") from None
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    known = {"part", "tid", "args", *BUILTINS, *python.__all__}
    known.update(n.id for n in names if isinstance(n.ctx, ast.Store))
    for name in (n.id for n in names if n.id not in known):
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise error(op, f"has a template that uses {name}, which no kernel knows{hint}")


@dataclass(frozen=True, slots=True)
class AccessOperand:
    """An operand as templates see it: an access, and the sizes of its axes."""

    access: Access
    shape: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        return self.access.strides

    @property
    def dtype(self) -> str:
        return self.access.dtype


class TemplateWriter(Writer):
    """The ``KernelWriter`` of a processor."""

    def __init__(self, work: Special, parts: int):
        super().__init__()
        *inputs, output = map(AccessOperand, work.operands, work.shapes)
        self.inputs, self.output = tuple(inputs), output
        self.attrs, self.parts = dict(work.attrs), parts

    def array(self, name: str, operand: Any) -> str:
        return self.argument(name, Address(operand.access), operand.dtype)

    def port(self, name: str) -> str:
        return self.argument(name, Address(Access(PORT, 0, (), "int64")), "int64")

    def loops(
        self, axes: Iterable[int], shape: Sequence[int], strides: Mapping[str, Sequence[int]]
    ) -> dict[str, str]:
        terms: dict[str, list[str]] = {name: [] for name in strides}
        for a in axes:
            size = self.argument(f"n{a}", shape[a])
            for name, steps in strides.items():
                terms[name].append(f"o{a} * {self.argument(f'{name}_{a}', steps[a])}")
            self.line(f"for o{a} in range({size}):")
            self.depth += 1
        return {name: " + ".join(t) or "0" for name, t in terms.items()}
