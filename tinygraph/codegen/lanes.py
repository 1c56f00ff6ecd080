"""Nests whose reduction ends in short rows: each step of a row has accumulators of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..plan.records.work import Fold, NestStatement
from .chunks import ChunkWriter
from .steps import folded, initial


class LaneWriter(ChunkWriter):
    """Writes nests of the style 'lanes'."""

    def in_lanes(self) -> None:
        """A row is the innermost loop, its length a literal, so that it is a few whole vectors;
        their sums are folded into one when the reduction is over.

        Without it, each short row would be folded by itself. Sums go in two levels, as in columns.
        """
        out, width = self.out, self.nest.block
        folds = [s for stage in self.nest.stages for s in stage.inner if isinstance(s, Fold)]
        for fold in folds:
            out.line(f"{fold.name}_lanes = stack_{fold.dtype}({width})")
            out.line(f"{fold.name}_chunk = stack_{fold.dtype}({width})")
        self.open_outputs(self.outputs)
        for stage in self.nest.stages:
            for step in stage.outer:
                self.step(step)
            if stage.inner:
                self.lane_reduction(stage.inner)

    def lane_reduction(self, steps: Sequence[NestStatement]) -> None:
        """One pass over the reduction axes, whose last is a row, then the sums of its lanes."""
        out, width = self.out, self.nest.block
        folds = [s for s in steps if isinstance(s, Fold)]
        *outer, last = self.nest.reduce

        def row() -> None:
            out.line(f"for i{last} in range({width}):")
            out.depth += 1
            for step in steps:
                self.step(step, f"_chunk[i{last}]")

        self.in_chunks(folds, outer, "_lanes", width, row)
        for fold in folds:
            out.line(f"{fold.name} = {initial(fold)}")
        ends = [replace(f, value=f"{f.name}_lanes[c]") for f in folds]
        self.each(width, [f"{end.name} = {folded(end, end.name)}" for end in ends])
