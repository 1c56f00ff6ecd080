"""Four neighbouring elements at a time, with 128-bit accesses."""

from __future__ import annotations

from dataclasses import replace

from tinygraph.codegen.elements import ElementWriter
from tinygraph.codegen.steps import folded, wrapped
from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.body import Statement
from tinygraph.plan.records.names import uses
from tinygraph.plan.records.work import Access, Fold, Load, Nest, NestStatement, Position, Put

from .reader import VECTOR, aligned

MOST = 16  # statements that are worth being written out four times
FILLS = 1 << 17  # elements of a result that fill a GPU with a fourth of the threads


def is_wide(nest: Nest, total: int) -> bool:
    """True if all that moves along the innermost output axis is stored in aligned fours."""
    outputs = [a for a in range(len(nest.axes)) if a not in nest.reduce]
    if not outputs or nest.axes[outputs[-1]] % VECTOR or (nest.reduce and total < FILLS):
        return False
    last, moving = outputs[-1], varying(nest, outputs[-1])
    statements = [s for s in steps_of(nest) if isinstance(s, Statement) and s.name in moving]
    return len(statements) <= MOST and all(fits(o, nest, last, moving) for o in nest.operands)


def fits(operand: Access, nest: Nest, last: int, moving: set[str]) -> bool:
    """True if an operand does not move along ``last``, or is stored in aligned fours."""
    for guard in operand.guards:
        if guard.load in moving or any(axis == last for axis, _ in guard.index.terms):
            return False
    if operand.strides[last] == 0:
        return True
    others = [s for a, s in enumerate(operand.strides) if a != last and nest.axes[a] > 1]
    others += [g.stride for g in operand.guards]
    return (
        operand.strides[last] == 1
        and DTYPES[operand.dtype].bytes <= 4
        and aligned(operand)
        and all(s % VECTOR == 0 for s in others)
    )


def steps_of(nest: Nest) -> list[NestStatement]:
    return [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]


def varying(nest: Nest, last: int) -> set[str]:
    """Names whose value depends on the axis ``last``."""
    found: set[str] = set()
    for stage in nest.stages:
        for step in (*stage.outer, *stage.inner):
            moves = any(name in found for name in uses(step, nest.operands))
            if isinstance(step, Load):
                moves = nest.operands[step.operand].strides[last] != 0
            elif isinstance(step, Position):
                moves = any(axis == last for axis, _ in step.index.terms)
            if moves and not isinstance(step, Put):
                found.add(step.name)
    return found


class WideWriter(ElementWriter):
    """Writes steps four times where ``wide``: names that vary are tuples."""

    wide: bool

    @property
    def last(self) -> int:
        return self.outputs[-1]

    def moving(self) -> set[str]:
        return varying(self.nest, self.last) if self.wide else set()

    def fours(self, name: str, text: str) -> str:
        """The text, four times if it is what ``name`` starts with and that varies."""
        return f"({', '.join([text] * VECTOR)})" if name in self.moving() else text

    def lanes(self, texts: list[str]) -> str:
        return f"({', '.join(f'({text})' for text in texts)})"

    def read_at(self, operand: Access, place: str) -> str:
        if self.wide and operand.strides[self.last]:
            return f"load4({self.view(operand)}, {place})"
        return super().read_at(operand, place)

    def outside(self, operand: Access) -> str:
        text = super().outside(operand)
        if self.wide and operand.strides[self.last]:
            return self.lanes([text] * VECTOR)
        return text

    def step(self, step: NestStatement, suffix: str = "") -> None:
        moving = self.moving()
        if isinstance(step, Load) or not (
            step.name in moving if not isinstance(step, Put) else self.wide
        ):
            super().step(step, suffix)
            return

        def at(name: str, lane: int) -> str:
            return f"{name}[{lane}]" if name in moving else name

        lanes = range(VECTOR)
        if isinstance(step, Statement):
            texts = [wrapped(replace(step, args=tuple(at(a, i) for a in step.args))) for i in lanes]
        elif isinstance(step, Position):
            each = dict(step.index.terms)[self.last]
            first = self.affine(step.index, f"{step.name}_c")
            texts = [f"{step.dtype}({first} + {each * i})" for i in lanes]
        elif isinstance(step, Fold):
            texts = [
                folded(replace(step, value=at(step.value, i)), at(step.name, i)) for i in lanes
            ]
        else:
            operand = self.nest.operands[step.operand]
            values = ", ".join(at(step.value, i) for i in lanes)
            self.out.line(f"store4({self.view(operand)}, {self.linear(step.operand)}, {values})")
            return
        self.out.line(f"{step.name} = {self.lanes(texts)}")
