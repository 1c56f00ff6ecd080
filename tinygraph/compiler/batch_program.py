"""A program with an open batch size: a fixed program for each size that it meets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.batch import batch_axis, bind
from ..graph.html import preformatted
from ..graph.ir import Graph, Parameter
from ..ranks.shard_sum import ShardSums
from .fixed_program import FixedProgram
from .options import Options
from .program import Program

if TYPE_CHECKING:
    from ..inspect.inspection import Inspection
    from ..inspect.profile import Profile

MOST = 32  # sizes that are kept
MEMORY = 1 << 30  # bytes of their intermediate values together


class BatchProgram(Program):
    """A program whose batch size n is bound at the call, where a FixedProgram is made for an n that
    is first met, from the same parameters and mostly the same kernels.

    The sizes that were used last are kept, up to ``MOST`` and ``MEMORY``; one that comes back later
    is loaded from the store again. What is inspected is the size that was bound last.

    Attributes:
        sizes: the programs that are kept, by n, used last at the end.
        latest: the one that was bound last.
    """

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Parameter, ...],
        options: Options,
        check_nan: bool,
    ):
        super().__init__(graph, updates, options, check_nan)
        self.sizes: dict[int, FixedProgram] = {}
        self.latest: FixedProgram | None = None
        self._number, self._axis = batch_axis(graph) or (0, 0)

    def bind(self, n: int) -> FixedProgram:
        """The program for batches of n.

        Raises:
            ValueError: n is less than 0.
            ShapeError: an operator does not take the shapes that n gives.
        """
        found = self.latest
        if found is None or found is not self.sizes.get(n):
            found = self.sizes.pop(n, None) or FixedProgram(
                bind(self.graph, n), self.updates, self.options, self.check_nan
            )
            self.sizes[n] = self.latest = found
            self._drop()
        return found

    def _drop(self) -> None:
        """Lets go of the sizes unused for longest that are too many or take too much memory."""
        kept = list(self.sizes.items())
        used = 0
        for count, (n, program) in enumerate(reversed(kept)):
            used += program.built.code.arena
            if count >= MOST or (count > 0 and used > MEMORY):
                self.sizes.pop(n, None)

    def _bound_by(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> FixedProgram:
        shape = np.shape(self.arguments.in_order(arrays, named)[self._number])
        if len(shape) != self.graph.inputs[self._number].ndim:
            raise ValueError(self.arguments.misshapen(self._number, shape))
        return self.bind(shape[self._axis])

    def __call__(self, *arrays: Any, out: Any = None, **named: Any) -> tuple[np.ndarray, ...]:
        given = {**named, "out": out} if out is not None and self.arguments.takes_out else named
        return self._bound_by(arrays, given)(*arrays, out=out, **named)

    def run_shard(
        self, arrays: Sequence[Any], sums: ShardSums, shard: int, empty: bool
    ) -> tuple[np.ndarray, ...]:
        return self._bound_by(tuple(arrays), {}).run_shard(arrays, sums, shard, empty)

    def profile(self, *arrays: Any, repeat: int = 20, **named: Any) -> Profile:
        return self._bound_by(arrays, named).profile(*arrays, repeat=repeat, **named)

    @property
    def bound(self) -> FixedProgram:
        """The program that was bound last."""
        if self.latest is None:
            raise ValueError(
                f"the batch size of {self.graph.name} is bound at the call: call it, or bind(n), "
                "before inspecting it"
            )
        return self.latest

    @property
    def inspection(self) -> Inspection:
        return self.bound.inspection

    @property
    def source_path(self) -> str:
        return self.bound.source_path

    def cost(self, threads: int | None = None) -> dict[str, int]:
        return self.bound.cost(threads)

    def explain(self, name: str) -> str:
        return self.bound.explain(name)

    def page_record(self) -> tuple[Inspection, str, Profile | None]:
        return self.bound.page_record()

    def __str__(self) -> str:
        if self.latest is None:
            return f"{self!r}\n  its kernels are planned when it is first called, or by bind(n)"
        return super().__str__()

    def _repr_html_(self) -> str:
        if self.latest is not None:
            return super()._repr_html_()
        from ..page.notebook import graph_html

        return preformatted(str(self)) + graph_html(self.graph)

    def _repr_markdown_(self) -> str:
        if self.latest is not None:
            return super()._repr_markdown_()
        return f"```\n{self}\n\n{self.graph}\n```"

    def __repr__(self) -> str:
        bound = ", ".join(map(str, self.sizes)) or "none yet"
        return f"<program {self._signature()}, batch sizes bound: {bound}, {self.options.backend}>"
