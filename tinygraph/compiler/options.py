"""The options that a program depends on, apart from its graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..graph.ir import Graph

Pass = Callable[..., Graph]


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the code depends on, apart from the graph."""

    backend: str
    without: frozenset[str]
    passes: tuple[Pass, ...]
    verify: str | None
    conv: tuple[tuple[str, str], ...] = ()
    precision: str | None = None

    def text(self) -> str:
        names = [f"{p.__module__}.{p.__name__}" for p in self.passes]
        return (
            f"{self.backend} without {sorted(self.without)} passes {names} verify {self.verify} "
            f"conv {self.conv} precision {self.precision}"
        )
