"""Nests that go through two axes in tiles, since operands are contiguous along either of them."""

from __future__ import annotations

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
            self.open_tile(across)
            self.open_tile(along)
            self.steps()

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
