"""What every nest's text is made of: operands as views, and the steps that read and write them."""

from __future__ import annotations

from ..graph.op import Index
from ..plan.records.body import Statement
from ..plan.records.work import Access, Fold, Guard, Load, Nest, NestStatement, Position, Stage
from .steps import folded, initial, view_key, wrapped
from .writer import Address, Writer


class ElementWriter:
    """Names for a nest's sizes and operands, and lines for its steps.

    Attributes:
        outputs: the axes that are not reduced.
        sizes: each axis' size as text.
        fixed: axes whose position is written out, with their text, while a window is unrolled.
    """

    def __init__(self, nest: Nest, parts: int):
        self.nest, self.out = nest, Writer()
        self.outputs = [a for a in range(len(nest.axes)) if a not in nest.reduce]
        self.out.argument("parts", parts)
        self.sizes = [
            str(n)
            if nest.style == "literal" and a in nest.reduce
            else self.out.argument(f"n{a}", n)
            for a, n in enumerate(nest.axes)
        ]
        self.views: dict[tuple, str] = {}
        self.fixed: dict[int, str] = {}
        for number, operand in enumerate(nest.operands):
            self.declare(number, operand)

    def declare(self, number: int, operand: Access) -> None:
        """Arguments of one operand; accesses that differ in nothing but guards share them."""
        if view_key(operand) not in self.views:
            view = self.out.argument(f"p{number}", Address(operand), operand.dtype)
            self.views[view_key(operand)] = view
            for axis, stride in enumerate(operand.strides):
                if stride not in (0, 1):
                    self.out.argument(f"{view}_{axis}", stride)

    def view(self, operand: Access) -> str:
        return self.views[view_key(operand)]

    def open_outputs(self, axes: list[int]) -> None:
        """Loops over output axes, the first ones cut into parts."""
        out, shared = self.out, axes[: self.nest.shared]
        if not axes:
            return
        size = " * ".join(self.sizes[axis] for axis in shared)
        name = f"i{shared[0]}" if len(shared) == 1 else "position"
        out.line(f"first = part * {size} // parts")
        out.line(f"last = (part + 1) * {size} // parts")
        out.line(f"for {name} in range(first, last):")
        out.depth += 1
        if len(shared) > 1:
            for axis in reversed(shared[1:]):
                out.line(f"i{axis} = {name} % {self.sizes[axis]}")
                out.line(f"before{axis} = {name} // {self.sizes[axis]}")
                name = f"before{axis}"
            out.line(f"i{shared[0]} = {name}")
        for axis in axes[len(shared) :]:
            out.line(f"for i{axis} in range({self.sizes[axis]}):")
            out.depth += 1

    # ------------------------------------------------------------------ steps

    def begin(self, stage: Stage) -> None:
        """What comes before a stage's reduction."""
        for step in stage.outer:
            self.step(step)
        for step in stage.inner:
            if isinstance(step, Fold):
                self.out.line(f"{step.name} = {initial(step)}")

    def step(self, step: NestStatement, suffix: str = "") -> None:
        out = self.out
        if isinstance(step, Load):
            self.load(step)
        elif isinstance(step, Statement):
            out.line(f"{step.name} = {wrapped(step)}")
        elif isinstance(step, Position):
            out.line(f"{step.name} = {step.dtype}({self.affine(step.index, f'{step.name}_c')})")
        elif isinstance(step, Fold):
            out.line(f"{step.name}{suffix} = {folded(step, step.name + suffix)}")
        else:
            out.line(f"{self.element(step.operand)} = {step.value}")

    def load(self, step: Load) -> None:
        operand = self.nest.operands[step.operand]
        place, conditions = self.linear(step.operand), []
        for number, guard in enumerate(operand.guards):
            name = f"j{step.operand}_{number}"
            condition = self.guard(name, guard)
            conditions += [condition] if condition else []
            place += self.moved(name, f"{name}_s", guard.stride)
        read = self.read_at(operand, place)
        if conditions:
            read = f"{read} if {' and '.join(conditions)} else {self.outside(operand)}"
        self.out.line(f"{step.name} = {read}")

    def read_at(self, operand: Access, place: str) -> str:
        return f"{self.view(operand)}[{place}]"

    def outside(self, operand: Access) -> str:
        """The value of an operand beyond its edges, as text."""
        return f"{operand.dtype}({operand.outside!r})"

    def guard(self, name: str, guard: Guard) -> str | None:
        """Defines a guarded axis' position; returns the condition under which it is inside."""
        size = self.out.argument(f"{name}_n", guard.size)
        index = self.affine(Index(guard.index.constant, guard.index.terms), f"{name}_c")
        if guard.load is not None:
            self.out.line(f"{name} = min(max(int64({guard.load}) + {index}, 0), {size} - 1)")
            return None
        if guard.index.divisor == 1:
            self.out.line(f"{name} = {index}")
            return f"0 <= {name} < {size}"
        divisor = guard.index.divisor
        self.out.line(f"{name}_q = {index}")
        self.out.line(f"{name} = {name}_q // {divisor}")
        return f"{name}_q >= 0 and {name}_q % {divisor} == 0 and {name} < {size}"

    # ------------------------------------------------------------------ places

    def element(self, number: int) -> str:
        """An operand's element at the loops' axes, as text that reads or writes it."""
        return f"{self.view(self.nest.operands[number])}[{self.linear(number)}]"

    def linear(self, number: int, skip: int = -1) -> str:
        """The position of an operand's element at the loops' axes, without the axis ``skip``."""
        operand = self.nest.operands[number]
        view = self.view(operand)
        terms = [
            self.moved(self.fixed.get(axis, f"i{axis}"), f"{view}_{axis}", stride)
            for axis, stride in enumerate(operand.strides)
            if axis != skip
        ]
        return "".join(terms).removeprefix(" + ") or "0"

    def moved(self, position: str, name: str, stride: int) -> str:
        """The term of a place that moves by a stride, which ``name`` stands for in the text."""
        if stride in (0, 1):
            return f" + {position}" if stride else ""
        return f" + {position} * {self.out.argument(name, stride)}"

    def affine(self, index: Index, name: str) -> str:
        terms = []
        for axis, coefficient in index.terms:
            position = self.fixed.get(axis, f"i{axis}")
            if coefficient in (1, -1):
                terms.append(f"{'-' if coefficient < 0 else ''}{position}")
            else:
                terms.append(f"{position} * {self.out.argument(f'{name}{axis}', coefficient)}")
        if index.constant or not terms:
            terms.append(self.out.argument(name, index.constant))
        return " + ".join(terms).replace("+ -", "- ")
