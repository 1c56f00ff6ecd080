"""Loop nests as Python text: one function per nest, the same for every backend that runs scalar
loops.

A kernel is ``kernel(part, tid, args)``; its first lines fetch sizes, strides and views from the
argument block ``args``, so that kernels of one form share one compiled function whatever their
sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

from ..op import Index
from ..plan.body import CONSTRUCTOR, Statement
from ..plan.plan import Access, Fold, Guard, Load, Nest, Position, Put, Step

SHORT_ROWS = "short rows"  # what kernels are marked with whose innermost loops have few steps
LONG = 48  # steps from which on a loop is long: three vectors of the widest processor
CHUNK = 256  # steps of a column reduction that are summed before they join the total

INITIAL = {"sum": "0", "max": "-inf", "min": "inf"}
LIMITS = {"int32": 2**31, "int64": 2**63, "uint8": 2**8, "uint32": 2**32, "bool": 2}


@dataclass(frozen=True, slots=True)
class Address:
    """An argument that is an address: ``element`` elements into what an access' buffer holds."""

    access: Access


Argument = int | Address


@dataclass(slots=True)
class Kernel:
    """Text of a kernel, with NAME for its name, and the arguments of one launch."""

    text: str
    arguments: tuple[Argument, ...]


@dataclass(slots=True)
class Writer:
    """Collects the prologue, whose lines fetch arguments, and the lines of the loops."""

    prologue: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    depth: int = 1

    def argument(self, name: str, value: Argument, view: str | None = None) -> str:
        if any(line.startswith(f"    {name} = ") for line in self.prologue):
            return name  # a read in another stage fetches it already
        fetch = f"args[{len(self.arguments)}]"
        self.prologue.append(f"    {name} = {f'view_{view}({fetch})' if view else fetch}")
        self.arguments.append(value)
        return name

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)


def emit(nest: Nest, parts: int) -> Kernel:
    """The kernel of a nest that is cut into ``parts`` along its outermost axis."""
    return NestWriter(nest, parts).kernel()


class NestWriter:
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
        self.fixed: dict[
            int, int
        ] = {}  # axes whose value is written out, while a window is unrolled
        self.tapped: set[str] = set()  # names that exist once a tap
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

    def kernel(self) -> Kernel:
        if self.nest.style == "column":
            self.column()
        elif self.hoistable():
            self.windows()
        else:
            self.rows()
        remark = [f"    # {SHORT_ROWS}"] if self.innermost() < LONG else []
        lines = ["def NAME(part, tid, args):", *remark, *self.out.prologue, *self.out.lines, ""]
        text = "\n".join(lines)
        return Kernel(text, tuple(self.out.arguments))

    # ------------------------------------------------------------------ loops

    def innermost(self) -> int:
        """Steps of the innermost loop."""
        inner = self.nest.reduce and self.nest.style == "row"
        axes = self.nest.reduce if inner else self.outputs
        steps = self.nest.axes[axes[-1]] if axes else 1
        return min(steps, self.nest.block) if self.nest.style == "column" else steps

    def open_outputs(self, axes: list[int]) -> None:
        """Loops over output axes, the outermost cut into parts."""
        out = self.out
        for position, axis in enumerate(axes):
            size = self.sizes[axis]
            if position == 0:
                out.line(f"first = part * {size} // parts")
                out.line(f"last = (part + 1) * {size} // parts")
                out.line(f"for i{axis} in range(first, last):")
            else:
                out.line(f"for i{axis} in range({size}):")
            out.depth += 1

    def rows(self) -> None:
        out = self.out
        self.open_outputs(self.outputs)
        for stage in self.nest.stages:
            for step in stage.outer:
                self.step(step)
            for step in stage.inner:
                if isinstance(step, Fold):
                    out.line(f"{step.name} = {initial(step)}")
            depth = out.depth
            if stage.inner:
                for axis in self.nest.reduce:
                    out.line(f"for i{axis} in range({self.sizes[axis]}):")
                    out.depth += 1
            for step in stage.inner:
                self.step(step)
            out.depth = depth

    def hoistable(self) -> bool:
        """Whether a window's edge tests can stand outside of the innermost output loop."""
        last = self.outputs[-1] if self.outputs else -1
        guards = [g for o in self.nest.operands for g in o.guards]
        inner = [
            g for g in guards if any(a == last for a, _ in g.index.terms) or g.load is not None
        ]
        return self.nest.style == "literal" and bool(guards) and not inner

    def windows(self) -> None:
        """Windows with edges: every tap's position and edge test before the innermost loop, whose
        body is straight.
        """
        out = self.out
        *rows, last = self.outputs
        self.open_outputs(rows)
        taps = list(product(*(range(self.nest.axes[a]) for a in self.nest.reduce)))
        inner = [s for stage in self.nest.stages for s in stage.inner]
        for tap, values in enumerate(taps):
            self.fixed = dict(zip(self.nest.reduce, values, strict=True))
            for step in inner:
                if isinstance(step, Load) and self.nest.operands[step.operand].guards:
                    self.hoist(step, tap)
        self.fixed = {}
        if rows:
            out.line(f"for i{last} in range({self.sizes[last]}):")
            out.depth += 1
        else:
            self.open_outputs([last])
        for stage in self.nest.stages:
            for step in stage.outer:
                self.step(step)
            for step in stage.inner:
                if isinstance(step, Fold):
                    out.line(f"{step.name} = {initial(step)}")
            for tap, values in enumerate(taps):
                self.fixed = dict(zip(self.nest.reduce, values, strict=True))
                for step in stage.inner:
                    self.tap(step, tap)
            self.fixed = {}

    def hoist(self, step: Load, tap: int) -> None:
        """Names a guarded read's place (clamped to the inside) and its condition."""
        operand, out = self.nest.operands[step.operand], self.out
        place, conditions = [self.linear(step.operand, skip=self.outputs[-1])], []
        for number, guard in enumerate(operand.guards):
            name = f"j{step.operand}_{number}_{tap}"
            size = self.size_of(step.operand, number, guard)
            out.line(f"{name} = {self.numeric(guard.index)}")
            condition = f"0 <= {name} < {size}"
            if guard.index.divisor != 1:
                d = guard.index.divisor
                condition = f"{name} >= 0 and {name} % {d} == 0 and {name} // {d} < {size}"
            out.line(f"{name}_ok = {condition}")
            inside = name if guard.index.divisor == 1 else f"{name} // {guard.index.divisor}"
            out.line(f"{name} = {inside} if {name}_ok else 0")
            conditions.append(f"{name}_ok")
            if guard.stride:
                key = f"j{step.operand}_{number}_s"
                stride = "" if guard.stride == 1 else " * " + self.out.argument(key, guard.stride)
                place.append(f"{name}{stride}")
        out.line(f"{step.name}_ok{tap} = {' and '.join(conditions)}")
        out.line(f"{step.name}_at{tap} = {' + '.join(place)}")

    def size_of(self, operand: int, number: int, guard: Guard) -> str:
        return self.out.argument(f"j{operand}_{number}_n", guard.size)

    def numeric(self, index: Index) -> str:
        """An index with the taps' axes worked out; the rest stays text."""
        constant = index.constant + sum(
            c * self.fixed[a] for a, c in index.terms if a in self.fixed
        )
        terms = [
            f"i{a} * {c}" if c != 1 else f"i{a}" for a, c in index.terms if a not in self.fixed
        ]
        return " + ".join([*terms, str(constant)] if constant or not terms else terms).replace(
            "+ -", "- "
        )

    def tap(self, step: Step, tap: int) -> None:
        """A step of the reduction at one tap; its names carry the tap's number."""
        out = self.out
        if isinstance(step, Load):
            operand = self.nest.operands[step.operand]
            if operand.guards:
                last = self.outputs[-1]
                stride = operand.strides[last]
                moved = (
                    ""
                    if not stride
                    else f" + i{last}" + ("" if stride == 1 else f" * {self.view(operand)}_{last}")
                )
                read = f"{self.view(operand)}[{step.name}_at{tap}{moved}]"
                out.line(
                    f"{step.name}_{tap} = where({step.name}_ok{tap}, {read}, "
                    f"{operand.dtype}({operand.outside!r}))"
                )
            else:
                out.line(f"{step.name}_{tap} = {self.view(operand)}[{self.linear(step.operand)}]")
            self.tapped.add(step.name)
        elif isinstance(step, Statement):
            args = tuple(f"{a}_{tap}" if a in self.tapped else a for a in step.args)
            out.line(f"{step.name}_{tap} = {wrapped(replace(step, args=args))}")
            self.tapped.add(step.name)
        elif isinstance(step, Position):
            out.line(f"{step.name}_{tap} = {step.dtype}({self.numeric(step.index)})")
            self.tapped.add(step.name)
        elif isinstance(step, Fold):
            value = f"{step.value}_{tap}" if step.value in self.tapped else step.value
            out.line(f"{step.name} = {folded(replace(step, value=value), step.name)}")
        elif isinstance(step, Put):
            value = f"{step.value}_{tap}" if step.value in self.tapped else step.value
            out.line(f"{self.element(step.operand)} = {value}")

    def column(self) -> None:
        """Reductions outside, a block of columns inside, so that all loops run over memory as it
        lies.

        What is known per column, accumulators above all, stands on the stack between loops. Sums go
        in two levels, a chunk of the reduction and the total, which keeps float32 sums of many
        elements accurate.
        """
        out, last, block = self.out, self.outputs[-1], self.nest.block
        loops: list[list[Step]] = [
            list(part) for stage in self.nest.stages for part in (stage.outer, stage.inner)
        ]
        shared = shared_names(loops)
        for name, dtype in shared.items():
            out.line(f"{name}_block = stack_{dtype}({block})")
        folds = [s for steps in loops for s in steps if isinstance(s, Fold)]
        for fold in folds:
            out.line(f"{fold.name}_chunk = stack_{fold.dtype}({block})")
        whole = self.nest.axes[last] % block == 0
        self.width = str(block) if whole else "width"  # a literal: accumulators stay in registers
        self.open_columns(self.outputs[:-1], last, block)
        for number, steps in enumerate(loops):
            if number % 2 == 0 or not steps:
                self.column_loop(last, steps, shared)
            else:
                self.column_reduction(last, steps, shared)

    def open_columns(self, rows: list[int], last: int, block: int) -> None:
        """Loops over rows and blocks of columns; parts share out the rows, or the blocks if there
        are no rows.
        """
        out, size = self.out, self.sizes[last]
        if rows:
            self.open_outputs(rows)
            out.line(f"for block in range(0, {size}, {block}):")
        else:
            out.line(f"blocks = ({size} + {block - 1}) // {block}")
            out.line("first = part * blocks // parts")
            out.line("last = (part + 1) * blocks // parts")
            out.line(f"for block in range(first * {block}, min(last * {block}, {size}), {block}):")
        out.depth += 1
        if self.width == "width":
            out.line(f"width = min({block}, {size} - block)")

    def column_reduction(self, last: int, steps: list[Step], shared: dict[str, str]) -> None:
        """One pass over the reduction axes, the first of them in chunks."""
        out = self.out
        folds = [s for s in steps if isinstance(s, Fold)]
        first, *rest = self.nest.reduce
        depth = out.depth
        self.each_column([f"{f.name}_block[c] = {initial(f)}" for f in folds])
        out.line(f"for chunk in range(0, {self.sizes[first]}, {CHUNK}):")
        out.depth += 1
        self.each_column([f"{f.name}_chunk[c] = {initial(f)}" for f in folds])
        out.line(f"for i{first} in range(chunk, min(chunk + {CHUNK}, {self.sizes[first]})):")
        out.depth += 1
        for axis in rest:
            out.line(f"for i{axis} in range({self.sizes[axis]}):")
            out.depth += 1
        self.column_loop(last, steps, shared, "_chunk[c]")
        out.depth = depth + 1
        merges = [(replace(f, value=f"{f.name}_chunk[c]"), f"{f.name}_block[c]") for f in folds]
        self.each_column([f"{total} = {folded(fold, total)}" for fold, total in merges])
        out.depth = depth

    def each_column(self, lines: list[str]) -> None:
        if lines:
            self.out.line(f"for c in range({self.width}):")
            for line in lines:
                self.out.line("    " + line)

    def column_loop(
        self, last: int, steps: list[Step], shared: dict[str, str], suffix: str = ""
    ) -> None:
        """The steps for each column of the block, with names that other loops define fetched and
        kept.
        """
        if not steps:
            return
        out = self.out
        defined = {name for name, _ in map(defines, steps) if name}
        fetched = [
            n
            for n in dict.fromkeys(n for s in steps for n in uses(s))
            if n in shared and n not in defined
        ]
        out.line(f"for c in range({self.width}):")
        out.depth += 1
        out.line(f"i{last} = block + c")
        for name in fetched:
            out.line(f"{name} = {name}_block[c]")
        for step in steps:
            self.step(step, suffix)
            name, _ = defines(step)
            if name in shared and not isinstance(step, Fold):
                out.line(f"{name}_block[c] = {name}")
        out.depth -= 1

    # ------------------------------------------------------------------ steps

    def step(self, step: Step, suffix: str = "") -> None:
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
            if guard.stride:
                stride = (
                    ""
                    if guard.stride == 1
                    else " * " + self.out.argument(f"{name}_s", guard.stride)
                )
                place += f" + {name}{stride}"
        read = f"{self.view(operand)}[{place}]"
        if conditions:
            outside = repr(operand.outside)
            read = f"{read} if {' and '.join(conditions)} else {operand.dtype}({outside})"
        self.out.line(f"{step.name} = {read}")

    def guard(self, name: str, guard: Guard) -> str | None:
        """Defines a guarded axis' position; returns the condition under which it lies inside."""
        size = self.out.argument(f"{name}_n", guard.size)
        index = self.affine(replace_divisor(guard.index), f"{name}_c")
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

    def element(self, number: int) -> str:
        """An operand's element at the loops' axes, as text that reads or writes it."""
        return f"{self.view(self.nest.operands[number])}[{self.linear(number)}]"

    def linear(self, number: int, skip: int = -1) -> str:
        """An operand's element at the loops' axes."""
        operand = self.nest.operands[number]
        view = self.view(operand)
        terms = [
            f"{self.fixed.get(axis, f'i{axis}')} * {view}_{axis}"
            if stride != 1
            else f"{self.fixed.get(axis, f'i{axis}')}"
            for axis, stride in enumerate(operand.strides)
            if stride and axis != skip
        ]
        return " + ".join(terms) or "0"

    def affine(self, index: Index, name: str) -> str:
        terms = []
        for axis, coefficient in index.terms:
            if coefficient in (1, -1):
                terms.append(f"{'-' if coefficient < 0 else ''}i{axis}")
            else:
                terms.append(f"i{axis} * {self.out.argument(f'{name}{axis}', coefficient)}")
        if index.constant or not terms:
            terms.append(self.out.argument(name, index.constant))
        return " + ".join(terms).replace("+ -", "- ")


def defines(step: Step) -> tuple[str, str]:
    """The name that a step defines, and its dtype; empty for a store."""
    return ("", "") if isinstance(step, Put) else (step.name, getattr(step, "dtype", "float32"))


def uses(step: Step) -> tuple[str, ...]:
    """The names that a step reads."""
    if isinstance(step, Statement):
        return step.args
    if isinstance(step, (Fold, Put)):
        return (step.value,)
    return ()


def shared_names(loops: list[list[Step]]) -> dict[str, str]:
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
            found.update({n: dtypes[n] for n in uses(step) if home.get(n, number) != number})
    return found


def view_key(operand: Access) -> tuple:
    """What accesses share that see the same memory in the same way."""
    return (id(operand.buffer), operand.offset, operand.strides, operand.dtype, operand.step)


def replace_divisor(index: Index) -> Index:
    return Index(index.constant, index.terms)


def initial(fold: Fold) -> str:
    if fold.fold == "sum" or fold.dtype.startswith("float"):
        return f"{fold.dtype}({INITIAL[fold.fold]})"
    limit = LIMITS[fold.dtype] // (2 if fold.dtype.startswith("int") else 1)
    least = -limit if fold.dtype.startswith("int") else 0
    constructor = CONSTRUCTOR.get(fold.dtype, fold.dtype)
    return f"{constructor}({least if fold.fold == 'max' else limit - 1})"


def folded(fold: Fold, name: str) -> str:
    if fold.fold == "sum":
        if fold.dtype.startswith("float"):
            return f"accumulate({name}, {fold.value})"
        return f"{fold.dtype}({name} + {fold.value})"
    if fold.dtype.startswith("float"):
        return f"{'maximum' if fold.fold == 'max' else 'minimum'}({name}, {fold.value})"
    sign = ">" if fold.fold == "max" else "<"
    return f"{fold.value} if {fold.value} {sign} {name} else {name}"


def wrapped(step: Statement) -> str:
    """A statement's text; integers are brought back to their width after each operation."""
    if step.dtype in ("int32", "int64", "uint8", "uint32"):
        return f"{step.dtype}({step.text()})"
    return step.text()
