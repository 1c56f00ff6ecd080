"""Nests whose windows slide along the innermost axis, as over images that are stored channels
first.

Away from the edges every tap is inside, and its elements are a few literal steps apart: vectors
that are taken apart by shuffles. Where a window's transpose divides positions, as many elements as
the divisor are computed in turn, each with the taps that can meet it. Edges are walked element by
element.
"""

from __future__ import annotations

from itertools import product
from math import gcd, lcm, prod

from ..plan.records.work import Access, Guard, Load, Nest
from .windows import Tap, WindowWriter

NEAR = 8  # elements between neighbours that one load of vectors still spans
MOST = 64  # taps of all elements that are computed in turn


class SlidingWriter(WindowWriter):
    """Writes nests of the style 'literal' that test edges along the innermost axis, or step there.

    Attributes:
        turns: elements of the innermost axis that are computed in turn.
        turn: which of them is being written.
        places: for each load, turn and tap, the element as text, and the mask of its test.
    """

    def __init__(self, nest: Nest, parts: int):
        super().__init__(nest, parts)
        self.turns = 1
        self.places: dict[tuple[str, int, int], tuple[str, str]] = {}

    def slides(self) -> bool:
        """True if the innermost loop can go in steps of literal length away from the edges."""
        nest = self.nest
        if nest.style != "literal" or len(self.outputs) < 2:
            return False
        for _, guard in self.across():
            if guard.load is not None or not self.is_along(guard):
                return False
            coefficient, divisor = dict(guard.index.terms)[self.outputs[-1]], guard.index.divisor
            self.turns = lcm(self.turns, divisor // gcd(coefficient, divisor))
        if any(g.load is not None for o in nest.operands for g in o.guards):
            return False
        steps = [self.pace(operand) for operand in nest.operands]
        moves = any(step not in (0, self.turns) for step in steps) or any(self.across())
        taps = self.turns * prod(nest.axes[axis] for axis in nest.reduce)
        return moves and taps <= MOST and all(0 <= step <= NEAR for step in steps)

    def across(self) -> list[tuple[Access, Guard]]:
        """The guards that depend on the innermost axis, with their operands."""
        last = self.outputs[-1]
        return [(o, g) for o in self.nest.operands for g in o.guards if last in dict(g.index.terms)]

    def is_along(self, guard: Guard) -> bool:
        """True if a guard moves forward with the innermost axis, and else with taps only."""
        terms = dict(guard.index.terms)
        if terms.pop(self.outputs[-1]) < 1 or not set(terms) <= set(self.nest.reduce):
            return False
        if guard.index.divisor == 1:
            return True
        return len(terms) == 1 and self.strided(next(iter(terms))) is not None

    def pace(self, operand: Access) -> int:
        """How far an operand moves from one round of turns to the next."""
        last = self.outputs[-1]
        return self.turns * operand.strides[last] + sum(
            g.stride * self.reach(g, {}, 0)[1]
            for g in operand.guards
            if last in dict(g.index.terms)
        )

    def reach(self, guard: Guard, taps: dict[int, int], turn: int) -> tuple[int, int]:
        """(a, b): in round q a guarded position is a + b * q."""
        terms = dict(guard.index.terms)
        coefficient = terms.pop(self.outputs[-1])
        start = guard.index.constant + coefficient * turn
        start += sum(c * taps.get(a, 0) for a, c in terms.items())
        return start // guard.index.divisor, coefficient * self.turns // guard.index.divisor

    def moved(self, position: str, name: str, stride: int) -> str:
        """Along the innermost axis, steps are literal."""
        if self.places and position == f"i{self.outputs[-1]}" and 1 < stride <= NEAR:
            return f" + {position} * {stride}"
        return super().moved(position, name, stride)

    # ------------------------------------------------------------------ text

    def sliding(self) -> None:
        out, nest, last = self.out, self.nest, self.outputs[-1]
        self.open_outputs(self.outputs[:-1])
        self.stems, self.signs = {}, {}
        self.bases: dict[str, str] = {}  # where a round begins, as text -> its name
        paired = {a for _, g in self.across() for a, _ in g.index.terms if g.index.divisor > 1}
        walked = {a: [] if a in paired else self.taps_along(a) for a in nest.reduce}
        self.turned = [self.texts_of(walked, turn) for turn in range(self.turns)]
        loads = [s for stage in nest.stages for s in stage.inner if isinstance(s, Load)]
        bounds = [(0, nest.axes[last] // self.turns)]
        tests: dict[str, None] = {}
        masks: dict[str, str] = {}
        for turn in range(self.turns):
            self.take(turn)
            for tap, step in product(self.taps, loads):
                place, names, inside = self.find(step, tap)
                bounds += inside
                signs = "" if self.repeats(step) else " | ".join(self.signs[n] for n in names)
                tests |= dict.fromkeys(n for n in names if signs)
                mask = masks.setdefault(signs, f"out{len(masks)}") if signs else ""
                self.places[step.name, turn, self.number(tap)] = (place, mask)
        first = min(max(low for low, _ in bounds), nest.axes[last] // self.turns)
        end = max(first, min(high for _, high in bounds))
        self.low, self.high = out.argument("low", first), out.argument("high", end)
        self.branch(tests, lambda: self.rounds(tested=False), lambda: self.masked(masks))
        if self.across():
            self.edges(first * self.turns, (end - first) * self.turns)

    def texts_of(self, walked: dict[int, list[str]], turn: int) -> dict[int, list[str]]:
        """The taps along each reduction axis that can meet the element of a turn."""
        found = dict(walked)
        for _, guard in self.across():
            divisor = guard.index.divisor
            for axis, c in guard.index.terms:
                if divisor > 1 and axis != self.outputs[-1]:
                    ahead = dict(guard.index.terms)[self.outputs[-1]] * turn + guard.index.constant
                    every = range(self.nest.axes[axis])
                    found[axis] = [str(t) for t in every if (ahead + c * t) % divisor == 0]
        return found

    def take(self, turn: int) -> None:
        """Writes the element of a turn from now on."""
        self.turn, self.texts = turn, self.turned[turn]
        self.number_taps()

    def find(self, step: Load, tap: Tap) -> tuple[str, list[str], list[tuple[int, int]]]:
        """Where a load reads at a tap; the positions that are tested before the loop; the rounds in
        which the others are inside.
        """
        self.fix(tap)
        operand, last = self.nest.operands[step.operand], self.outputs[-1]
        taps = {a: int(t) for a, t in self.fixed.items() if t.isdigit()}
        near, base, names, inside = self.turn * operand.strides[last], "", [], []
        for axis, stride in enumerate(operand.strides):
            if axis in taps and abs(stride) <= NEAR:
                near += stride * taps[axis]
            elif axis != last:
                view = f"{self.view(operand)}_{axis}"
                base += self.moved(self.fixed.get(axis, f"i{axis}"), view, stride)
        for k, guard in enumerate(operand.guards):
            if last in dict(guard.index.terms):
                start, pace = self.reach(guard, taps, self.turn)
                near += guard.stride * start
                inside.append((-(start // pace), (guard.size - 1 - start) // pace + 1))
            else:
                names.append(self.position(guard, tap))
                base += self.moved(f"{names[-1]}_in", f"j{step.operand}_{k}_s", guard.stride)
        self.fixed = {}
        return self.near(operand, base.removeprefix(" + ") or "0", near), names, inside

    def near(self, operand: Access, base: str, steps: int) -> str:
        """The element so many steps from where a round begins."""
        if base not in self.bases:
            self.bases[base] = f"at{len(self.bases)}"
            self.out.line(f"{self.bases[base]} = {base}")
        pace = self.pace(operand)
        moved = f" + q * {pace}" if pace > 1 else " + q" if pace else ""
        beside = f"{'+-'[steps < 0]} {abs(steps)}"
        return f"{self.view(operand)}[{self.bases[base]}{moved}{f' {beside}' if steps else ''}]"

    def masked(self, masks: dict[str, str]) -> None:
        for signs, name in masks.items():
            self.out.line(f"{name} = opaque(({signs}) >> 63)")
        self.rounds(tested=bool(masks))

    def rounds(self, tested: bool) -> None:
        out, depth, last = self.out, self.out.depth, self.outputs[-1]
        self.tested = tested
        out.line(f"for q in range({self.low}, {self.high}):")
        out.depth += 1
        for turn in range(self.turns):
            self.take(turn)
            out.line(f"i{last} = q{f' * {self.turns} + {turn}' if self.turns > 1 else ''}")
            self.element_of_windows()
        out.depth = depth

    def edges(self, first: int, skipped: int) -> None:
        """The elements before and after the rounds, with tests along all axes."""
        out, last = self.out, self.outputs[-1]
        count = out.argument("edges", self.nest.axes[last] - skipped)
        before, over = out.argument("before", first), out.argument("skipped", skipped)
        self.places.clear()
        out.line(f"for edge in range({count}):")
        out.depth += 1
        # opaque, so that no vectors are made of these few
        out.line(f"i{last} = opaque(edge + ({over} if edge >= {before} else 0))")
        self.texts = {axis: self.taps_along(axis) for axis in self.nest.reduce}
        self.number_taps()
        self.mask(self.located())
        self.tested = True
        self.element_of_windows()

    def read(self, step: Load, number: int) -> str:
        if not self.places:
            return super().read(step, number)
        text, mask = self.places[step.name, self.turn, number]
        if not self.tested or not mask:
            return text
        operand = self.nest.operands[step.operand]
        return f"exchanged({text}, {self.outside(operand)}, {mask})"
