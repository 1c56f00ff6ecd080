"""What a program is made from, and how it is made into code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..graph.ir import Graph, Parameter
from ..plan.records.target import Hasty
from .backend import Backend, check_devices
from .options import Options

if TYPE_CHECKING:
    from ..inspect.record import Compiled
    from .pipeline import Check


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a program: its graph, whose last outputs are new values of ``updates``."""

    graph: Graph
    updates: tuple[Parameter, ...]
    parameters: tuple[Parameter, ...]
    options: Options
    backend: Backend
    runtime: str

    def translate(self, check: Check | None = None) -> Compiled:
        """Passes, planning, code: the same in every process."""
        from .pipeline import translate

        o, target = self.options, self.backend.target(self.runtime)
        graph, updates, parameters = self.graph, self.updates, self.parameters
        check_devices(graph, o.backend, target.devices)
        without = o.without | target.without if isinstance(target, Hasty) else o.without
        return translate(
            graph, updates, parameters, target, self.backend.assemble,
            o.passes, without, dict(o.conv), check, o.precision,
        )  # fmt: skip
