"""Nests whose reduction ends in short rows: each step of a row has accumulators of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..plan.records.work import Fold, NestStatement
from .columns import CHUNK
from .elements import ElementWriter
from .steps import folded, initial


class LaneWriter(ElementWriter):
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
        """One pass over the reduction axes, the first of them in chunks."""
        out, depth = self.out, self.out.depth
        folds = [s for s in steps if isinstance(s, Fold)]
        first, *middle, last = self.nest.reduce
        self.each_lane([f"{f.name}_lanes[c] = {initial(f)}" for f in folds])
        out.line(f"for chunk in range(0, {self.sizes[first]}, {CHUNK}):")
        out.depth += 1
        self.each_lane([f"{f.name}_chunk[c] = {initial(f)}" for f in folds])
        out.line(f"for i{first} in range(chunk, min(chunk + {CHUNK}, {self.sizes[first]})):")
        out.depth += 1
        for axis in middle:
            out.line(f"for i{axis} in range({self.sizes[axis]}):")
            out.depth += 1
        out.line(f"for i{last} in range({self.nest.block}):")
        out.depth += 1
        for step in steps:
            self.step(step, f"_chunk[i{last}]")
        out.depth = depth + 1
        merges = [(replace(f, value=f"{f.name}_chunk[c]"), f"{f.name}_lanes[c]") for f in folds]
        self.each_lane([f"{total} = {folded(fold, total)}" for fold, total in merges])
        out.depth = depth
        for fold in folds:
            out.line(f"{fold.name} = {initial(fold)}")
        ends = [replace(f, value=f"{f.name}_lanes[c]") for f in folds]
        self.each_lane([f"{end.name} = {folded(end, end.name)}" for end in ends])

    def each_lane(self, lines: Sequence[str]) -> None:
        if lines:
            self.out.line(f"for c in range({self.nest.block}):")
            for line in lines:
                self.out.line("    " + line)
