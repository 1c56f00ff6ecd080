"""Loop nests as Python text: one function per nest, the same for every backend that runs scalar
loops.

A kernel is ``kernel(part, tid, args)``; its first lines fetch sizes, strides and views from the
argument block ``args``, so that kernels of one form share one compiled function whatever their
sizes.
"""

from __future__ import annotations

from ..plan.records.work import Nest
from .columns import ColumnWriter
from .lanes import LaneWriter
from .sliding import SlidingWriter
from .tiles import TileWriter
from .writer import WrittenKernel

SHORT_ROWS = "short rows"  # what kernels are marked with whose innermost loops have few steps


def emit(nest: Nest, parts: int, short: int = 0) -> WrittenKernel:
    """The kernel of a nest that is cut into ``parts``: of its outermost axis, or of its tiles."""
    return NestWriter(nest, parts).kernel(short)


class NestWriter(ColumnWriter, LaneWriter, TileWriter, SlidingWriter):
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
        remark = [f"    # {SHORT_ROWS}"] if self.innermost() < short else []
        lines = ["def NAME(part, tid, args):", *remark, *self.out.prologue, *self.out.lines, ""]
        text = "\n".join(lines)
        return WrittenKernel(text, tuple(self.out.arguments))

    def innermost(self) -> int:
        """Steps of the innermost loop."""
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
