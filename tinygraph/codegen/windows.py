"""Nests that unroll short reductions, windows above all, within an innermost output loop.

The elements that a tap reads are at the same distance all along that loop. So positions, edge tests
and the numbers of taps are computed before it, and its body is straight-line code: vectors, no
branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from math import ceil

from ..graph.dtype import DTYPES, is_float
from ..graph.op import Index
from ..plan.records.body import Statement
from ..plan.records.names import uses
from ..plan.records.work import Fold, Guard, Load, NestStatement, Put
from .elements import ElementWriter
from .steps import folded, initial, wrapped

Tap = tuple[int, ...]  # the number of a tap along each reduction axis


class WindowWriter(ElementWriter):
    """Writes nests of the style 'literal' whose edge tests do not depend on the innermost axis.

    A window's transpose reads a window's element where a division has no remainder. Along such an
    axis only every ``divisor``-th tap can: these are walked, from the first, which depends on the
    position.
    """

    def hoistable(self) -> bool:
        """True if a window's edge tests can be outside of the innermost output loop, and there
        are some, or maxima.
        """
        if self.nest.style != "literal":
            return False
        guards = [g for o in self.nest.operands for g in o.guards]
        last = self.outputs[-1]
        if any(g.load is not None or last in dict(g.index.terms) for g in guards):
            return False
        folds = [s for stage in self.nest.stages for s in stage.inner if isinstance(s, Fold)]
        return bool(guards) or any(map(is_extremum, folds))

    def windows(self) -> None:
        self.open_outputs(self.outputs[:-1])
        self.texts = {axis: self.taps_along(axis) for axis in self.nest.reduce}
        self.number_taps()
        self.stems: dict[tuple[Index, int], str] = {}  # of the names of guards' positions
        self.signs: dict[str, str] = {}  # position -> what is negative where it is outside
        tested = self.located()

        def masked() -> None:
            self.mask(tested)
            self.unrolled(tested=bool(tested))

        every = dict.fromkeys(name for _, _, names in tested for name in names)
        self.branch(every, lambda: self.unrolled(tested=False), masked)

    def branch(
        self, names: Iterable[str], inside: Callable[[], None], masked: Callable[[], None]
    ) -> None:
        """Two loops: ``inside`` for where all named positions are inside, else the ``masked`` one,
        and that alone if nothing is tested, or a position is divided and has no sign that tells.
        """
        out, signs = self.out, " | ".join(self.signs[n] for n in names)
        depth, guards = out.depth, [g for o in self.nest.operands for g in o.guards]
        if signs and all(g.index.divisor == 1 for g in guards):
            out.line(f"if ({signs}) >= 0:")
            out.depth += 1
            inside()
            out.depth = depth
            out.line("else:")
            out.depth += 1
        masked()
        out.depth = depth

    def number_taps(self) -> None:
        """All combinations of the taps along each reduction axis."""
        self.taps = list(product(*(range(len(texts)) for texts in self.texts.values())))

    def located(self) -> list[tuple[Load, Tap, list[str]]]:
        """Names the positions of all guarded reads; returns those that are tested, with them."""
        inner = [s for stage in self.nest.stages for s in stage.inner]
        loads = [s for s in inner if isinstance(s, Load) and self.nest.operands[s.operand].guards]
        places = [(step, tap, self.locate(step, tap)) for tap, step in product(self.taps, loads)]
        return [p for p in places if not self.repeats(p[0])]

    def mask(self, tested: list[tuple[Load, Tap, list[str]]]) -> None:
        """Names, for each read, what hides it where it is outside."""
        for step, tap, names in tested:
            signs = " | ".join(self.signs[n] for n in names)
            self.out.line(f"{step.name}_out{self.number(tap)} = opaque(({signs}) >> 63)")

    def unrolled(self, tested: bool) -> None:
        """The innermost loop; without tests where all that is read is inside."""
        out, last = self.out, self.outputs[-1]
        depth, self.tested = out.depth, tested
        if len(self.outputs) > 1:
            out.line(f"for i{last} in range({self.sizes[last]}):")
            out.depth += 1
        else:
            self.open_outputs([last])
        self.element_of_windows()
        out.depth = depth

    def element_of_windows(self) -> None:
        """The steps for one element of the results, straight-line code."""
        self.tapped: set[str] = set()  # names that exist once a tap
        for stage in self.nest.stages:
            for step in stage.outer:
                self.step(step)
            for step in stage.inner:
                if isinstance(step, Fold) and not is_extremum(step):
                    self.out.line(f"{step.name} = {initial(step)}")
            for tap, step in product(self.taps, stage.inner):
                self.fix(tap)
                self.tap(step, tap)
            self.fixed = {}

    def fix(self, tap: Tap) -> None:
        """Writes the reduction axes' positions as those of a tap from now on."""
        self.fixed = {a: self.texts[a][i] for a, i in zip(self.nest.reduce, tap, strict=True)}

    # ------------------------------------------------------------------ before the innermost loop

    def taps_along(self, axis: int) -> list[str]:
        """The numbers of the taps along a reduction axis, as text."""
        guard = self.strided(axis)
        if guard is None:
            return [str(tap) for tap in range(self.nest.axes[axis])]
        divisor, ahead = guard.index.divisor, [(a, c) for a, c in guard.index.terms if a != axis]
        self.out.line(f"d{axis} = {self.numeric(Index(guard.index.constant, tuple(ahead)))}")
        texts = [f"d{axis}_{k}" for k in range(ceil(self.nest.axes[axis] / divisor))]
        for k, text in enumerate(texts):
            self.out.line(f"{text} = d{axis} % {divisor}{f' + {k * divisor}' if k else ''}")
        return texts

    def strided(self, axis: int) -> Guard | None:
        """The guard by which all operands are read along a reduction axis, if it has a divisor."""
        found = {
            replace(g, stride=0)
            for o in self.nest.operands
            for g in o.guards
            if any(a == axis for a, _ in g.index.terms)
        }
        if len(found) != 1 or any(o.strides[axis] for o in self.nest.operands):
            return None
        (guard,) = found
        terms = dict(guard.index.terms)
        alone = terms.pop(axis) == -1 and not any(a in self.nest.reduce for a in terms)
        return guard if alone and guard.index.divisor > 1 else None

    def locate(self, step: Load, tap: Tap) -> list[str]:
        """Names a guarded read's position at a tap, kept to the inside; returns its positions."""
        self.fix(tap)
        operand = self.nest.operands[step.operand]
        place, names = self.linear(step.operand, skip=self.outputs[-1]), []
        for k, guard in enumerate(operand.guards):
            names.append(self.position(guard, tap))
            place += self.moved(f"{names[-1]}_in", f"j{step.operand}_{k}_s", guard.stride)
        self.fixed = {}
        self.out.line(f"{step.name}_at{self.number(tap)} = {place.removeprefix('0 + ')}")
        return names

    def number(self, tap: Tap) -> int:
        return self.taps.index(tap)

    def position(self, guard: Guard, tap: Tap) -> str:
        """The name of a guarded axis' position at a tap; with _in, as kept to the inside."""
        out, index, divisor = self.out, guard.index, guard.index.divisor
        stem = self.stems.setdefault((index, guard.size), f"j{len(self.stems)}")
        moving = {a for a, _ in index.terms}
        along = [(a, t) for a, t in zip(self.nest.reduce, tap, strict=True) if a in moving]
        name = "_".join([stem, *(str(t) for _, t in along)])
        if name in self.signs:
            return name
        size = out.argument(f"{stem}_n", guard.size)
        signs = [name, f"({size} - 1 - {name})"]
        stepped = [(a, t) for a, t in along if self.strided(a) is not None]
        if stepped:
            ((axis, t),) = stepped
            out.line(f"{name} = d{axis} // {divisor}{f' - {t}' if t else ''}")
            if self.nest.axes[axis] % divisor:
                signs.append(f"({self.nest.axes[axis] - 1} - {self.texts[axis][t]})")
        elif divisor > 1:
            out.line(f"{name}_q = {self.numeric(index)}")
            out.line(f"{name} = {name}_q // {divisor}")
            signs.append(f"(0 - {name}_q % {divisor})")
        else:
            out.line(f"{name} = {self.numeric(index)}")
        out.line(f"{name}_in = min(max({name}, 0), {size} - 1)")
        self.signs[name] = " | ".join(signs)
        return name

    def numeric(self, index: Index) -> str:
        """An index whose divisor is left aside, with the positions that are known worked out."""
        constant, terms = index.constant, []
        for axis, coefficient in index.terms:
            position = self.fixed.get(axis, f"i{axis}")
            if position.isdigit():
                constant += coefficient * int(position)
            else:
                terms.append(position if coefficient == 1 else f"{position} * {coefficient}")
        return " + ".join([*terms, str(constant)] if constant or not terms else terms).replace(
            "+ -", "- "
        )

    def repeats(self, step: Load) -> bool:
        """True if a read beyond the edge may yield the nearest element instead: it is one of the
        window's own, and a maximum is the same if it sees an element twice.
        """
        operand = self.nest.operands[step.operand]
        (stage,) = (s for s in self.nest.stages if step in s.inner)
        steps, operands = (*stage.outer, *stage.inner), self.nest.operands
        readers = [s for s in steps if step.name in uses(s, operands)]
        folds = {s.fold for s in readers if isinstance(s, Fold)}
        neutral = {"max": DTYPES[operand.dtype].least, "min": DTYPES[operand.dtype].greatest}
        axes = [a for g in operand.guards for a, _ in g.index.terms if a in self.nest.reduce]
        return (
            all(isinstance(s, Fold) for s in readers)
            and [neutral.get(f) for f in folds] == [operand.outside]
            and len(axes) == len(set(axes)) == len(operand.guards)
            and all(map(self.touches, operand.guards))
        )

    def touches(self, guard: Guard) -> bool:
        """True if every window along a guarded axis has an element inside; its steps are of 1."""
        if guard.index.divisor > 1:
            return False
        first = low = guard.index.constant
        length = 0
        for axis, coefficient in guard.index.terms:
            reach = coefficient * (self.nest.axes[axis] - 1)
            if axis not in self.nest.reduce:
                first, low = first + max(reach, 0), low + min(reach, 0)
            elif coefficient != 1:
                return False
            else:
                length = reach
        return first < guard.size and low + length >= 0

    # ------------------------------------------------------------------ in the innermost loop

    def tap(self, step: NestStatement, tap: Tap) -> None:
        """A step of the reduction at one tap; its names carry the tap's number."""
        number = self.number(tap)

        def named(name: str) -> str:
            return f"{name}_{number}" if name in self.tapped else name

        if isinstance(step, Fold):
            self.fold(step, named(step.value), number)
        elif isinstance(step, Put):
            self.out.line(f"{self.element(step.operand)} = {named(step.value)}")
        else:
            if isinstance(step, Load):
                text = self.read(step, number)
            elif isinstance(step, Statement):
                text = wrapped(replace(step, args=tuple(map(named, step.args))))
            else:
                text = f"{step.dtype}({self.numeric(step.index)})"
            self.out.line(f"{step.name}_{number} = {text}")
            self.tapped.add(step.name)

    def read(self, step: Load, number: int) -> str:
        operand = self.nest.operands[step.operand]
        if not operand.guards:
            return self.element(step.operand)
        last, view = self.outputs[-1], self.view(operand)
        moved = self.moved(f"i{last}", f"{view}_{last}", operand.strides[last])
        text = f"{view}[{step.name}_at{number}{moved}]"
        if not self.tested or self.repeats(step):
            return text
        outside = f"{operand.dtype}({operand.outside!r})"
        return f"exchanged({text}, {outside}, {step.name}_out{number})"

    def fold(self, step: Fold, value: str, number: int) -> None:
        """Extrema of floats compare once a tap; whether one was NaN is asked at the end."""
        out, name, last = self.out, step.name, number == len(self.taps) - 1
        if not is_extremum(step):
            out.line(f"{name} = {folded(replace(step, value=value), name)}")
            return
        sign = ">" if step.fold == "max" else "<"
        out.line(f"{name} = {f'{value} if {value} {sign} {name} else {name}' if number else value}")
        out.line(f"{name}_nan = {f'{name}_nan or ' if number else ''}{value} != {value}")
        if last:
            out.line(f"{name} = {step.dtype}(nan) if {name}_nan else {name}")


def is_extremum(fold: Fold) -> bool:
    """True if a fold is a maximum or minimum of floats, which may be NaN."""
    return fold.fold != "sum" and is_float(fold.dtype)
