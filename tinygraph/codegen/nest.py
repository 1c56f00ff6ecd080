"""Loop nests as Python text: one function per nest, the same for every backend that runs scalar
loops.

A kernel is ``kernel(part, tid, args)``; its first lines fetch sizes, strides and views from the
argument block ``args``, so that kernels of one form share one compiled function whatever their
sizes.
"""

from __future__ import annotations

import re

from ..plan.records.body import Statement
from ..plan.records.work import Nest
from .lanes import LaneWriter
from .library import FLOAT32
from .sliding import SlidingWriter
from .tiles import TileWriter
from .writer import WrittenKernel

FUNCTION = re.compile(rf"\b({'|'.join(FLOAT32)})\(")
SHORT_ROWS = "short rows"  # what kernels are marked with whose innermost loops have few steps


def emit(nest: Nest, parts: int, short: int = 0) -> WrittenKernel:
    """The kernel of a nest that is cut into ``parts``: of its outermost axis, or of its tiles."""
    return NestWriter(nest, parts).kernel(short)


class NestWriter(LaneWriter, TileWriter, SlidingWriter):
    """Writes nests of every style."""

    def kernel(self, short: int = 0) -> WrittenKernel:
        if self.nest.style == "column":
            self.column()
        elif self.nest.style == "lanes":
            self.in_lanes()
        elif self.nest.style in ("tiled", "unrolled"):
            self.tiles()
        elif self.slides():
            self.sliding()
        elif self.hoistable():
            self.windows()
        else:
            self.rows()
        remark = [f"    # {SHORT_ROWS}"] if self.has_short_rows(short) else []
        lines = ["def NAME(part, tid, args):", *remark, *self.out.prologue, *self.out.lines, ""]
        text = "\n".join(lines)
        return WrittenKernel(text, tuple(self.out.arguments))

    def has_short_rows(self, short: int) -> bool:
        """True if the innermost loop has few steps: fewer than ``short``, or so few more that what
        is left after whole vectors, a third of it long, is much of the time: where functions are
        computed, dozens of instructions.
        """
        steps, vector = self.innermost(), short // 3
        if steps < short:
            return True
        return steps < 2 * short and steps % vector != 0 and self.computes_functions()

    def computes_functions(self) -> bool:
        steps = (s for x in self.nest.stages for s in (*x.outer, *x.inner))
        return any(isinstance(s, Statement) and FUNCTION.search(s.expr) for s in steps)

    def innermost(self) -> int:
        """Steps of the innermost loop."""
        if self.nest.style == "lanes":
            return self.nest.block * self.nest.axes[self.nest.reduce[-1]]
        inner = self.nest.reduce and self.nest.style == "row"
        axes = self.nest.reduce if inner else self.outputs
        steps = self.nest.axes[axes[-1]] if axes else 1
        return min(steps, self.nest.block) if self.nest.block else steps

    def rows(self) -> None:
        out = self.out
        self.open_outputs(self.outputs)
        for stage in self.nest.stages:
            self.begin(stage)
            depth = out.depth
            if stage.inner:
                for axis in self.nest.reduce:
                    out.line(f"for i{axis} in range({self.sizes[axis]}):")
                    out.depth += 1
            for step in stage.inner:
                self.step(step)
            out.depth = depth
