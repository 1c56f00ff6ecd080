"""What lowering gives: launches, or a reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...graph.ir import Node
from .plan import Launch


@dataclass(slots=True)
class Launches:
    """The launches of every run, and those that run before, when parameters have changed; ``late``
    are those at the end of a run that follow from sums over shards, a list for the latest of each.
    """

    run: list[Launch] = field(default_factory=list)
    prepare: list[Launch] = field(default_factory=list)
    late: list[list[Launch]] = field(default_factory=list)

    def add(self, launch: Launch, fixed: bool = False) -> None:
        """``fixed``: it depends on nothing that changes between runs."""
        (self.prepare if fixed else self.run).append(launch)

    def naming(self, values: Mapping[str, Node]) -> Launches:
        """These, with what the names in their kernels' texts are elements of."""
        for launch in self.run:
            launch.values = tuple(values.items())
        return self

    def extend(self, other: Launches, fixed: bool = False) -> None:
        self.prepare += other.prepare
        (self.prepare if fixed else self.run).extend(other.run)


@dataclass(frozen=True, slots=True)
class Declined:
    """A lowering does not suit a group; ``repack``: it would have to repack a large operand every
    time it runs; ``stored``: only where its result is stored is in the way.
    """

    reason: str
    repack: bool = False
    stored: bool = False
