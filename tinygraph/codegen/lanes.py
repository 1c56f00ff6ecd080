"""Nests whose reduction ends in short rows: each step of a row has accumulators of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..plan.records.names import defines, uses
from ..plan.records.work import Fold, NestStatement
from .columns import ColumnWriter
from .steps import folded, initial, shared_names


class LaneWriter(ColumnWriter):
    """Writes nests of the style 'lanes'."""

    def in_lanes(self) -> None:
        """A row is the innermost loop, its length a literal, so that it is a few whole vectors;
        their sums are folded into one when the reduction is over.

        Without it, each short row would be folded by itself. Sums go in two levels, as in columns.
        The rows of several results, as those of groups of channels, lie side by side if each begins
        where the one before ends: they are one row then, and what there is of each result is copied
        to all of its lanes.
        """
        out, block, last = self.out, self.nest.block, self.outputs[-1]
        self.row = self.nest.axes[self.nest.reduce[-1]]
        loops = [list(part) for stage in self.nest.stages for part in (stage.outer, stage.inner)]
        self.shared = shared_names(loops, self.nest.operands)
        for name, dtype in self.shared.items():
            out.line(f"{name}_lanes = stack_{dtype}({block * self.row})")
        for fold in (s for steps in loops for s in steps if isinstance(s, Fold)):
            out.line(f"{fold.name}_chunk = stack_{fold.dtype}({block * self.row})")
        self.open_columns(self.outputs[:-1], last, block)
        for stage in self.nest.stages:
            self.each_result(stage.outer)
            if stage.inner:
                self.lane_reduction(stage.inner)

    def each_result(self, steps: Sequence[NestStatement]) -> None:
        """The steps for each of the results whose rows lie side by side."""
        if not steps:
            return
        out, last, depth = self.out, self.outputs[-1], self.out.depth
        known = {name for name, _ in map(defines, steps)}
        used = dict.fromkeys(n for s in steps for n in uses(s, self.nest.operands))
        out.line(f"for c in range({self.nest.block}):")
        out.depth += 1
        out.line(f"i{last} = block + c")
        for name in used:
            if name in self.shared and name not in known:
                out.line(f"{name} = {name}_lanes[c * {self.row}]")
        for step in steps:
            self.step(step)
        self.copy_to_lanes([name for name in self.shared if name in known])
        out.depth = depth

    def copy_to_lanes(self, names: Sequence[str]) -> None:
        """What there is of a result, to each of its lanes."""
        if names:
            self.out.line(f"for lane in range({self.row}):")
            for name in names:
                self.out.line(f"    {name}_lanes[c * {self.row} + lane] = {name}")

    def lane_reduction(self, steps: Sequence[NestStatement]) -> None:
        """One pass over the reduction axes, whose last is a row, then the sums of its lanes."""
        out, width, depth = self.out, self.nest.block * self.row, self.out.depth
        folds = [s for s in steps if isinstance(s, Fold)]
        *outer, inner = self.nest.reduce
        known = {name for name, _ in map(defines, steps)}
        used = dict.fromkeys(n for s in steps for n in uses(s, self.nest.operands))

        def row() -> None:
            out.line(f"for c in range({width}):")
            out.depth += 1
            for name in used:
                if name in self.shared and name not in known:
                    out.line(f"{name} = {name}_lanes[c]")
            self.fixed = {self.outputs[-1]: "block", inner: "c"}
            for step in steps:
                self.step(step, "_chunk[c]")
            self.fixed = {}

        self.in_chunks(folds, outer, "_lanes", width, row)
        if folds:
            out.line(f"for c in range({self.nest.block}):")
            out.depth += 1
            for fold in folds:
                out.line(f"{fold.name} = {initial(fold)}")
            out.line(f"for lane in range({self.row}):")
            for fold in folds:
                end = replace(fold, value=f"{fold.name}_lanes[c * {self.row} + lane]")
                out.line(f"    {fold.name} = {folded(end, end.name)}")
            self.copy_to_lanes([fold.name for fold in folds])
            out.depth = depth
