"""Nests that go through two axes in tiles, since operands are contiguous along either of them."""

from __future__ import annotations

from ..plan.records.body import Statement
from ..plan.records.work import Fold, Load, Position, Put
from .elements import ElementWriter


class TileWriter(ElementWriter):
    """Writes nests of the styles 'tiled' and 'unrolled'."""

    def tiles(self) -> None:
        """A loop over tiles, of which parts have equal shares, around the loops within a tile.

        The tiles along an axis on which results are contiguous are outermost, so that what a line
        of the other operand has left is read next.
        """
        *outer, across, along = self.outputs
        if self.nest.style == "unrolled":
            self.open_tiles(outer, [along])
            self.open_tile(along)
            for position in range(self.nest.axes[across]):
                self.fixed = {across: str(position)}
                self.steps()
            self.fixed = {}
        else:
            self.open_tiles(outer, [along, across])
            if self.computes_across(across):
                self.aside(across, along)
                return
            self.open_tile(across)
            self.open_tile(along)
            self.steps()

    def computes_across(self, across: int) -> bool:
        """True if the one value that is stored is computed from operands that are all contiguous
        along the other axis: vectors of values along that, one by one along this.
        """
        steps = [step for stage in self.nest.stages for step in (*stage.outer, *stage.inner)]
        read = [self.nest.operands[x.operand] for x in steps if isinstance(x, Load)]
        return (
            sum(isinstance(x, Put) for x in steps) == 1
            and any(isinstance(x, Statement) for x in steps)
            and all(x.strides[across] in (0, 1) and not x.guards for x in read)
            and not any(isinstance(x, Fold | Position) for x in steps)
        )

    def aside(self, across: int, along: int) -> None:
        """A tile: its values on the stack, then their copy to where they are stored."""
        out, block, depth = self.out, self.nest.block, self.out.depth
        (put,) = (x for stage in self.nest.stages for x in stage.outer if isinstance(x, Put))
        place = f"aside[(i{along} - begin{along}) * {block} + i{across} - begin{across}]"
        out.line(f"aside = stack_{self.nest.operands[put.operand].dtype}({block * block})")
        self.open_tile(along)
        self.open_tile(across)
        for stage in self.nest.stages:
            for step in stage.outer:
                if step is put:
                    out.line(f"{place} = {put.value}")
                else:
                    self.step(step)
        out.depth = depth
        self.open_tile(across)
        self.open_tile(along)
        out.line(f"{self.element(put.operand)} = {place}")

    def steps(self) -> None:
        """All of one element; a reduction in tiles is over axes of size 1 only."""
        for stage in self.nest.stages:
            self.begin(stage)
            for step in stage.inner:
                self.step(step)

    def open_tiles(self, outer: list[int], within: list[int]) -> None:
        """One loop over the positions of the outer axes and the tiles within the other ones."""
        out, block = self.out, self.nest.block
        for axis in within:
            out.line(f"tiles{axis} = ({self.sizes[axis]} + {block - 1}) // {block}")
        counts = [*(self.sizes[a] for a in outer), *(f"tiles{a}" for a in within)]
        out.line(f"tiles = {' * '.join(counts)}")
        out.line("for tile in range(part * tiles // parts, (part + 1) * tiles // parts):")
        out.depth += 1
        rest = "tile"
        for axis in reversed(within):
            out.line(f"begin{axis} = {rest} % tiles{axis} * {block}")
            out.line(f"rest = {rest} // tiles{axis}")
            rest = "rest"
        for axis in reversed(outer):
            out.line(f"i{axis} = rest % {self.sizes[axis]}")
            out.line(f"rest = rest // {self.sizes[axis]}")

    def moved(self, position: str, name: str, stride: int) -> str:
        """Where an axis is unrolled, strides that may be those of its elements are in the text, so
        that LLVM loads and stores whole vectors of them and shuffles.
        """
        if self.nest.style == "unrolled" and 1 < stride <= self.nest.axes[self.outputs[-2]]:
            return f" + {position} * {stride}"
        return super().moved(position, name, stride)

    def open_tile(self, axis: int) -> None:
        """The loop over one axis within a tile."""
        end = f"min(begin{axis} + {self.nest.block}, {self.sizes[axis]})"
        self.out.line(f"for i{axis} in range(begin{axis}, {end}):")
        self.out.depth += 1
