"""Reductions whose accumulators are kept in memory: sums go in two levels, a chunk of the reduction
and the total, which keeps float32 sums of many elements accurate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..plan.records.work import Fold
from .elements import ElementWriter
from .steps import folded, initial

CHUNK = 256  # steps of a reduction that are summed before they join the total


class ChunkWriter(ElementWriter):
    """Writes a pass over reduction axes in chunks, for an accumulator at each c below ``width``."""

    def in_chunks(
        self,
        folds: Sequence[Fold],
        axes: Sequence[int],
        kept: str,
        width: int | str,
        innermost: Callable[[], None],
    ) -> None:
        """One pass over ``axes``, the first of them in chunks, around what ``innermost`` writes.

        Totals are in arrays whose names end in ``kept``, those of a chunk in "_chunk".
        """
        out, depth = self.out, self.out.depth
        first, *rest = axes
        self.each(width, [f"{f.name}{kept}[c] = {initial(f)}" for f in folds])
        out.line(f"for chunk in range(0, {self.sizes[first]}, {CHUNK}):")
        out.depth += 1
        self.each(width, [f"{f.name}_chunk[c] = {initial(f)}" for f in folds])
        out.line(f"for i{first} in range(chunk, min(chunk + {CHUNK}, {self.sizes[first]})):")
        out.depth += 1
        for axis in rest:
            out.line(f"for i{axis} in range({self.sizes[axis]}):")
            out.depth += 1
        innermost()
        out.depth = depth + 1
        merges = [(replace(f, value=f"{f.name}_chunk[c]"), f"{f.name}{kept}[c]") for f in folds]
        self.each(width, [f"{total} = {folded(fold, total)}" for fold, total in merges])
        out.depth = depth

    def each(self, width: int | str, lines: Sequence[str]) -> None:
        """The lines for each c."""
        if lines:
            self.out.line(f"for c in range({width}):")
            for line in lines:
                self.out.line("    " + line)
