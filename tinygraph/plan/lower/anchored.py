"""A group with a contraction while it is lowered: what a backend's own lowering is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...graph.ir import Node
from ..contraction.axes import epilogue
from ..contraction.pieces import add_up
from ..fusion.group import Group
from ..indexing.accesses import ordered_strides
from ..records.body import Body
from ..records.lowered import Launches
from ..records.plan import Launch
from ..records.reason import Reason
from ..records.work import Access, Nest
from .copies import Copies
from .lowerer import Lowerer, label


@dataclass(frozen=True, slots=True)
class Anchored:
    """A contraction and its epilogue, whose locations are known.

    A lowering of a backend (``Target.lowerings``) is a function of this. It returns the launches,
    ``made`` with what it adds, or None to leave the contraction to the next; whatever it did to the
    memory before it raises ``Unsuitable`` is undone.

    Attributes:
        s: the graph's planner: fusion, locations of values, the user's choices, remarks.
        group: what is lowered; its ``anchor`` is the contraction.
        nest: the group's loops, in which the contraction is ``acc``.
        body: the epilogue.
        copies: makes copies of operands.
        repack: whether a large operand that changes may be repacked in every run.
    """

    s: Lowerer
    group: Group
    nest: Nest
    body: Body
    copies: Copies
    repack: bool = False

    @property
    def anchor(self) -> Node:
        assert self.group.anchor is not None
        return self.group.anchor

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.group.index)

    @property
    def name(self) -> str:
        return label(self.group)

    @property
    def made(self) -> Launches:
        """The launches so far."""
        return self.copies.made

    def piece_sums(self, shape: Sequence[int], pieces: int) -> Access:
        """Memory for the sums of pieces of a reduction, each in the order of the result; the last
        axis is that of the pieces.
        """
        number, _ = epilogue(self.nest, "acc").stores[0]
        stored = self.nest.operands[number].strides
        order = sorted(range(len(shape)), key=lambda axis: (-abs(stored[axis]), axis))
        buffer = self.s.memory.buffer("pieces", prod(shape) * pieces, "float32", "arena")
        strides = ordered_strides(tuple(shape), order)
        return Access(buffer, 0, (*strides, prod(shape)), "float32")

    def added_up(self, sums: Access, pieces: int) -> Launch:
        """The nest that adds up pieces and runs the epilogue."""
        rest = tuple(n for n in self.nodes if n is not self.anchor)
        self.s.fusion.refused += [(self.anchor, n, Reason.PIECES) for n in rest]
        names = dict.fromkeys(("sum", *(n.op.name for n in rest)))
        nest = add_up(self.nest, "acc", pieces, sums)
        return self.s.nest("_".join(names), nest, rest or (self.anchor,))
