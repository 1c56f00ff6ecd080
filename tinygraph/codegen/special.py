"""Kernels that an operator's own template writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..plan.records.plan import Access, Special
from .writer import Address, Writer, WrittenKernel


def emit(work: Special, parts: int) -> WrittenKernel:
    out = TemplateWriter(work, parts)
    assert work.op.template is not None
    work.op.template(out)
    lines = ["def NAME(part, tid, args):", *out.prologue, *out.lines, ""]
    return WrittenKernel("\n".join(lines), tuple(out.arguments))


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
