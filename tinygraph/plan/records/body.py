"""The element-wise part of a kernel: straight-line scalar code, the same text for every backend."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.dtype import DTYPES


@dataclass(frozen=True, slots=True)
class Statement:
    """``name = expr.format(*args)``; ``expr`` is scalar Python, ``K`` in it is the constructor of
    ``dtype``.
    """

    name: str
    expr: str
    args: tuple[str, ...]
    dtype: str

    def text(self) -> str:
        return self.expr.format(*self.args).replace("K(", f"{DTYPES[self.dtype].constructor}(")


@dataclass(frozen=True, slots=True)
class Body:
    """Statements over named scalars: ``loads`` and what the template provides come in, ``stores``
    go out.

    Attributes:
        loads: (name, operand number) of every value that is read before the statements.
        statements: in order of evaluation.
        stores: (operand number, name) of every value that is written after them.
    """

    loads: tuple[tuple[str, int], ...] = ()
    statements: tuple[Statement, ...] = ()
    stores: tuple[tuple[int, str], ...] = ()
