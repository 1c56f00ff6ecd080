"""Long reductions: sums that are put aside, so that they lose no digits.

One running sum over n products of one sign is off by about n / 2**25 of itself; sums of blocks,
added up, by that of a block and that of their number (N. J. Higham, The accuracy of floating point
summation, SIAM J. Sci. Comput. 14, 1993, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tinygraph.plan.records.contraction import BLOCK

from .tile import Shape, i64, repeat, zeros


@dataclass(frozen=True, slots=True)
class Aside:
    """The sums of a tile so far, in the thread's stack, while a long reduction goes on from zero.

    ``loop`` says where it is put aside, as ``blocked`` of the record; ``place`` holds the vectors.
    """

    loop: str
    place: ir.Value
    shape: Shape

    @staticmethod
    def begin(b: ir.IRBuilder, shape: Shape, loop: str) -> Aside:
        with b.goto_entry_block():
            place = b.alloca(ir.ArrayType(shape.vector, shape.rows * shape.vectors))
        for i, zero in enumerate(zeros(shape)):
            b.store(zero, b.gep(place, [i64(0), i64(i)]))
        return Aside(loop, place, shape)

    def total(self, b: ir.IRBuilder, sums: Sequence[ir.Value]) -> list[ir.Value]:
        places = [b.gep(self.place, [i64(0), i64(i)]) for i in range(len(sums))]
        return [b.fadd(b.load(at), x) for at, x in zip(places, sums, strict=True)]

    def add(self, b: ir.IRBuilder, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """Puts sums aside; returns the zeros to go on with."""
        for i, x in enumerate(self.total(b, sums)):
            b.store(x, b.gep(self.place, [i64(0), i64(i)]))
        return zeros(self.shape)

    def in_segments(
        self,
        b: ir.IRBuilder,
        count: ir.Value,
        state: Sequence[ir.Value],
        step: Callable[..., Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """A loop over steps, of which each BLOCK is added up by itself; sums end the state."""
        first = len(state) - self.shape.rows * self.shape.vectors
        segments = b.udiv(b.add(count, i64(BLOCK - 1)), i64(BLOCK))
        longest = b.sub(count, b.mul(b.sub(segments, i64(1)), i64(BLOCK)))

        def segment(steps: ir.Value, *state: ir.Value) -> list[ir.Value]:
            after = repeat(b, steps, state, step)
            return [i64(BLOCK), *after[:first], *self.add(b, after[first:])]

        return repeat(b, segments, [longest, *state], segment)[1:]
