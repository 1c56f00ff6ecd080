"""A group: nodes that share a loop nest, with an index for each; what fusion makes of a graph."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...graph.ir import Node
from ..indexing.index import Indices

LIMIT = 128  # nodes of a kernel: what LLVM takes for one grows faster than its size


@dataclass(frozen=True, slots=True)
class Slot:
    """A destination outside of the graph: a program's output or the new value of a parameter."""

    kind: str  # 'output' or 'update'
    number: int


@dataclass(frozen=True, eq=False, slots=True)
class Write:
    """``value`` goes to ``dest`` at ``indices`` of its axes."""

    value: Node
    dest: Node | Slot
    indices: Indices


@dataclass(eq=False)
class Group:
    """Nodes in one loop nest.

    Attributes:
        axes: sizes of the nest's axes; output axes and, in ``reduce``, reduction axes.
        index: for each node, in order of evaluation, the index of each of its axes.
        anchor: the contraction, if there is one; all other nodes are its epilogue.
        windows: the reduction reads overlapping windows.
        opaque: the one node of a group with a template of its own.
        copy: the nodes are in memory already and are only copied.
        swapped: the anchor's first operand gives the columns of the contraction.
        device: the number of the device that runs it.
    """

    number: int
    axes: tuple[int, ...]
    index: dict[Node, Indices] = field(default_factory=dict)
    reduce: frozenset[int] = frozenset()
    anchor: Node | None = None
    windows: bool = False
    opaque: Node | None = None
    copy: bool = False
    swapped: bool = False
    device: int = 0
    stores: list[Write] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)  # numbers of the groups it reads from
