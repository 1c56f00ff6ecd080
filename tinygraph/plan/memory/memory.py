"""The buffers of a plan, and where its values are stored in them: with one way to undo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...graph.dtype import DTYPES
from ...graph.ir import Node
from ..fusion.group import Slot
from ..records.work import SLACK, Access, Buffer, Location


@dataclass(frozen=True, slots=True)
class Mark:
    """The contents of a memory at some time."""

    buffers: int
    locations: dict[Node | Slot, Location]
    copies: dict[tuple, Access]


@dataclass(slots=True)
class Memory:
    """Grows while groups become launches.

    Attributes:
        buffers: in order of creation.
        constants: whose buffers are numbered in this order.
        locations: where values, outputs and new values of parameters are stored.
        copies: of operands that exist already, by what they are copies of, and how.
    """

    buffers: list[Buffer] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)
    locations: dict[Node | Slot, Location] = field(default_factory=dict)
    copies: dict[tuple, Access] = field(default_factory=dict)

    def of_body(self, locations: Mapping[Node | Slot, Location]) -> Memory:
        """The memory of a loop's body: the same buffers, but its own values are stored in
        ``locations``.
        """
        return Memory(self.buffers, self.constants, dict(locations))

    def buffer(self, name: str, elements: int, dtype: str, home: str, number: int = 0) -> Buffer:
        """A new buffer for this many elements."""
        buffer = Buffer(name, elements * DTYPES[dtype].bytes + SLACK, home, number)
        self.buffers.append(buffer)
        return buffer

    def scratch(self) -> Buffer:
        """Every thread's scratch memory, which grows to what kernels need."""
        found = next((b for b in self.buffers if b.home == "scratch"), None)
        return found or self.buffer("scratch", 0, "uint8", "scratch")

    def mark(self) -> Mark:
        """For ``rollback``."""
        return Mark(len(self.buffers), dict(self.locations), dict(self.copies))

    def rollback(self, mark: Mark) -> None:
        """Forgets what came after the mark."""
        del self.buffers[mark.buffers :]
        self.locations, self.copies = mark.locations, mark.copies
