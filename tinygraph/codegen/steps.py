"""A nest's steps: the names that loops share, and text as far as no loop matters to it."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.dtype import DTYPES, is_float, is_integer
from ..plan.records.body import Statement
from ..plan.records.names import defines, uses
from ..plan.records.work import Access, Fold, NestStatement


def shared_names(loops: list[list[NestStatement]], operands: Sequence[Access]) -> dict[str, str]:
    """Names that one loop defines and another uses, with their dtypes; accumulators are always
    among them.
    """
    home: dict[str, int] = {}
    dtypes: dict[str, str] = {}
    for number, steps in enumerate(loops):
        for step in steps:
            name, dtype = defines(step)
            if name:
                home[name], dtypes[name] = number, dtype
    found = {s.name: s.dtype for steps in loops for s in steps if isinstance(s, Fold)}
    for number, steps in enumerate(loops):
        for step in steps:
            names = uses(step, operands)
            found.update({n: dtypes[n] for n in names if home.get(n, number) != number})
    return found


def view_key(operand: Access) -> tuple:
    """A key that accesses share if they see the same memory in the same way."""
    return (id(operand.buffer), operand.offset, operand.strides, operand.dtype, operand.step)


def initial(fold: Fold) -> str:
    dtype = DTYPES[fold.dtype]
    start = {"sum": 0, "max": dtype.least, "min": dtype.greatest}[fold.fold]
    return f"{dtype.constructor}({start})"


def folded(fold: Fold, name: str) -> str:
    if fold.fold == "sum":
        if is_float(fold.dtype):
            return f"accumulate({name}, {fold.value})"
        return f"{fold.dtype}({name} + {fold.value})"
    if is_float(fold.dtype):
        return f"{'maximum' if fold.fold == 'max' else 'minimum'}({name}, {fold.value})"
    sign = ">" if fold.fold == "max" else "<"
    return f"{fold.value} if {fold.value} {sign} {name} else {name}"


def wrapped(step: Statement) -> str:
    """A statement's text; integers are brought back to their width after each operation."""
    if is_integer(step.dtype):
        return f"{step.dtype}({step.text()})"
    return step.text()
