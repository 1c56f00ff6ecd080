"""The names that the steps of a nest define and use."""

from __future__ import annotations

from collections.abc import Sequence

from .body import Statement
from .work import Access, Fold, Load, Nest, NestStatement, Put


def defines(step: NestStatement) -> tuple[str, str]:
    """The name that a step defines, and its dtype; empty for a store."""
    return ("", "") if isinstance(step, Put) else (step.name, getattr(step, "dtype", "float32"))


def uses(step: NestStatement, operands: Sequence[Access]) -> tuple[str, ...]:
    """The names and literals that a step reads, the positions at which it gathers among them."""
    if isinstance(step, Statement):
        return step.args
    if isinstance(step, (Fold, Put)):
        return (step.value,)
    if isinstance(step, Load):
        return tuple(g.load for g in operands[step.operand].guards if g.load is not None)
    return ()


def early_use(nest: Nest) -> str | None:
    """A name that is used before its value is known, if there is one.

    What is computed within the reduction axes is known there, sums only in the next stage.
    """
    known: set[str] = set()
    for stage in nest.stages:
        within: set[str] = set()
        for steps, names in ((stage.outer, known), (stage.inner, within)):
            for step in steps:
                for name in uses(step, nest.operands):
                    if name.isidentifier() and name not in known | within:
                        return name
                if not isinstance(step, Fold):
                    names.add(defines(step)[0])
        known |= {step.name for step in stage.inner if isinstance(step, Fold)}
    return None
