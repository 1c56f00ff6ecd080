"""From an anchor's loops to problems whose indices have no divisors.

A transpose with a stride, as the gradient to the image of a convolution, reads its operand at
quotients: only some taps meet an element, which ones depends on the output's remainder. For each
remainder, a phase, the quotients are affine again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

from ...graph.ir import Node
from ...graph.op import Index
from .index import Indices, affine, span, substitute
from .reads import loops_of


class Unsuitable(Exception):
    """A contraction cannot be laid out as tiles; the message is the remark.

    ``repack``: it can, but a large operand would have to be repacked in every run; ``stored``: it
    can, but for where its result is stored.
    """

    def __init__(self, reason: str, repack: bool = False, stored: bool = False):
        super().__init__(reason)
        self.repack = repack
        self.stored = stored


@dataclass(frozen=True, slots=True)
class Problem:
    """An anchor, or one phase of it: the sizes of its axes, and each original axis over them."""

    axes: tuple[int, ...]
    mapping: Indices
    outputs: int

    def at(self, index: Index) -> Index:
        found = substitute(index, self.mapping, self.axes)
        if found is None or found.divisor != 1:
            raise Unsuitable("an index is not affine")
        return found


def operand_indices(n: Node, number: int) -> Indices:
    """Where the anchor's nest reads an input: possibly beyond its edges."""
    loops = loops_of(n)
    axes = (*n.shape, *loops.reduce)
    indices = loops.reads[number].indices
    return tuple(
        Index(i.constant, affine(0, dict(i.terms), axes).terms, i.divisor) for i in indices
    )


@dataclass(frozen=True, slots=True)
class Strided:
    """An index with a divisor: the output axis and the reduction axis that it runs over."""

    index: Index
    output: int | None
    tap: int | None

    @staticmethod
    def of(index: Index, outputs: int) -> Strided:
        moving = [a for a, _ in index.terms if a < outputs]
        taps = [a for a, _ in index.terms if a >= outputs]
        if len(moving) > 1 or len(taps) > 1:
            raise Unsuitable("a strided transpose runs over several axes at once")
        return Strided(index, moving[0] if moving else None, taps[0] if taps else None)

    def coefficient(self, axis: int | None) -> int:
        return dict(self.index.terms).get(axis, 0) if axis is not None else 0

    def first_tap(self, phase: int) -> tuple[int | None, int]:
        """The first tap that meets an element in this phase, if any, and the step to the next."""
        divisor, each = self.index.divisor, self.coefficient(self.tap)
        step = divisor // gcd(each, divisor)
        at = self.index.constant + self.coefficient(self.output) * phase
        return next((t for t in range(step) if (at + each * t) % divisor == 0), None), step


def phases(axes: tuple[int, ...], outputs: int, reads: Sequence[Indices]) -> Iterator[Problem]:
    """Splits output and reduction axes so that every divisor goes away; one problem without
    divisors is the rule.
    """
    divided = dict.fromkeys(i for indices in reads for i in indices if i.divisor != 1)
    strided = [Strided.of(i, outputs) for i in divided]
    for pick in product(*(range(s.index.divisor if s.output is not None else 1) for s in strided)):
        problem = phase_problem(axes, outputs, strided, pick)
        if 0 not in problem.axes[:outputs]:
            yield problem


def phase_problem(
    axes: tuple[int, ...], outputs: int, strided: Sequence[Strided], pick: Sequence[int]
) -> Problem:
    """The outputs at one phase of each stride, and the taps that reach them; 0 where none do."""
    sizes, mapping = list(axes), [affine(0, {a: 1}, axes) for a in range(len(axes))]
    empty = False
    for s, phase in zip(strided, pick, strict=True):
        if s.output is not None:
            sizes[s.output] = max(0, -(-(axes[s.output] - phase) // s.index.divisor))
            mapping[s.output] = Index(phase, ((s.output, s.index.divisor),))
        first, step = s.first_tap(phase)
        if s.tap is not None and first is not None:
            sizes[s.tap] = max(0, -(-(axes[s.tap] - first) // step))
            mapping[s.tap] = Index(first, ((s.tap, step),))
        empty |= first is None or (s.tap is not None and sizes[s.tap] == 0)
    if empty:
        sizes = [n if a < outputs else 0 for a, n in enumerate(sizes)]
    clean = (Index(i.constant, affine(0, dict(i.terms), tuple(sizes)).terms) for i in mapping)
    return Problem(tuple(sizes), tuple(clean), outputs)


def reach(indices: Indices, axes: tuple[int, ...]) -> list[tuple[int, int]]:
    """The first and last position that is read on each axis of an operand."""
    box = []
    for index in indices:
        low, high = span(index, axes)
        box.append((-(-low // index.divisor), high // index.divisor))
    return box
