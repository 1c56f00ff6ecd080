"""Nests whose innermost loop runs along memory while a reduction runs outside of it."""

from __future__ import annotations

from ..plan.records.names import defines, uses
from ..plan.records.work import Fold, NestStatement
from .chunks import ChunkWriter
from .steps import shared_names


class ColumnWriter(ChunkWriter):
    """Writes nests of the style 'column'."""

    def column(self) -> None:
        """Reductions outside, a block of columns inside, so that all loops run over memory as it
        lies.

        What is known per column, accumulators above all, is kept on the stack between loops. Sums
        go in two levels, a chunk of the reduction and the total, which keeps float32 sums of many
        elements accurate.
        """
        out, last, block = self.out, self.outputs[-1], self.nest.block
        loops: list[list[NestStatement]] = [
            list(part) for stage in self.nest.stages for part in (stage.outer, stage.inner)
        ]
        shared = shared_names(loops, self.nest.operands)
        for name, dtype in shared.items():
            out.line(f"{name}_block = stack_{dtype}({block})")
        folds = [s for steps in loops for s in steps if isinstance(s, Fold)]
        for fold in folds:
            out.line(f"{fold.name}_chunk = stack_{fold.dtype}({block})")
        self.open_columns(self.outputs[:-1], last, block)

        def columns(width: int) -> None:
            self.width = str(width)
            for number, steps in enumerate(loops):
                if number % 2 == 0 or not steps:
                    self.column_loop(last, steps, shared)
                else:
                    self.column_reduction(last, steps, shared)

        # each width is a literal, so that accumulators stay in registers
        rest, depth = self.nest.axes[last] % block, out.depth
        if not rest:
            columns(block)
            return
        for line, width in ((f"if block + {block} <= {self.sizes[last]}:", block), ("else:", rest)):
            out.line(line)
            out.depth += 1
            columns(width)
            out.depth = depth

    def open_columns(self, rows: list[int], last: int, block: int) -> None:
        """Loops over rows and blocks of columns; parts share out the rows, or the blocks if there
        are no rows.
        """
        out, size = self.out, self.sizes[last]
        if rows:
            self.open_outputs(rows)
            out.line(f"for block in range(0, {size}, {block}):")
        else:
            out.line(f"blocks = ({size} + {block - 1}) // {block}")
            out.line("first = part * blocks // parts")
            out.line("last = (part + 1) * blocks // parts")
            out.line(f"for block in range(first * {block}, min(last * {block}, {size}), {block}):")
        out.depth += 1

    def column_reduction(
        self, last: int, steps: list[NestStatement], shared: dict[str, str]
    ) -> None:
        """One pass over the reduction axes, around the loop over columns."""
        self.in_chunks(
            [s for s in steps if isinstance(s, Fold)],
            self.nest.reduce,
            "_block",
            self.width,
            lambda: self.column_loop(last, steps, shared, "_chunk[c]"),
        )

    def column_loop(
        self, last: int, steps: list[NestStatement], shared: dict[str, str], suffix: str = ""
    ) -> None:
        """The steps for each column of the block, with names that other loops define fetched and
        kept.
        """
        if not steps:
            return
        out = self.out
        defined = {name for name, _ in map(defines, steps) if name}
        fetched = [
            n
            for n in dict.fromkeys(n for s in steps for n in uses(s, self.nest.operands))
            if n in shared and n not in defined
        ]
        out.line(f"for c in range({self.width}):")
        out.depth += 1
        out.line(f"i{last} = block + c")
        for name in fetched:
            out.line(f"{name} = {name}_block[c]")
        for step in steps:
            self.step(step, suffix)
            name, _ = defines(step)
            if name in shared and not isinstance(step, Fold):
                out.line(f"{name}_block[c] = {name}")
        out.depth -= 1
