"""Fusion in progress: the groups of a graph, what each reads, and what depends on what.

``form`` makes the groups, ``absorb``, ``recompute`` and ``join_siblings`` change them; the rest of
planning asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from ...graph.ir import Graph, Node
from ...graph.op import Kind
from ..indexing.index import Indices, Leaf, is_view, own, pull, push, read, substituted
from ..indexing.reads import element_reads, is_gather, loops_of
from ..records.reason import Reason
from .devices import assign
from .group import Group
from .held import held_nodes
from .narrowed import narrowed_nodes


class Fusion:
    """The groups of a graph.

    Attributes:
        groups: in order of creation; ``needs`` orders them for execution.
        writers: the groups that compute each value.
        refused: (producer, consumer, reason) of adjacent nodes that stayed apart.
        aliases: reshapes that reinterpret row-major memory, with what they reinterpret.
        housed: values that are inside of a concatenation: (concatenation, axis, offset).
        reduction_axes: the axes of its nest that each reduction runs over, as indices.
        devices: where nodes are placed.
        narrowed: parameters that are rounded where products pack them, by what they are rounded to.
        held: views that hold their value.
        results: what holds the values of the graph's outputs.
        scattered: inputs that are not in row-major order.
        enabled, contract: whether nodes may share a kernel, and anchors become contractions.
        bytes: whether those of bytes do, too.
    """

    def __init__(
        self,
        graph: Graph,
        enabled: bool = True,
        contract: bool = True,
        scattered: Set[Node] = frozenset(),
        bytes: bool = False,
    ):
        self.graph, self.bytes = graph, bytes
        self.enabled, self.contract, self.scattered = enabled, contract, scattered
        self.groups: list[Group] = []
        self.writers: dict[Node, list[Group]] = {}
        self.refused: list[tuple[Node, Node, Reason]] = []
        self.aliases: dict[Node, Node] = {}
        self.housed: dict[Node, tuple[Node, int, int]] = {}
        self.reduction_axes: dict[Node, Indices] = {}
        self.results: set[Node] = set()
        self.devices = assign(graph)
        self.held = held_nodes(graph)
        self.narrowed = narrowed_nodes(self) if bytes and enabled else {}

    def contracts(self, anchor: Node) -> bool:
        """Whether a product becomes a contraction; of bytes those whose signs differ."""
        factors = {i.dtype for i in anchor.inputs}
        wide = anchor.dtype not in factors
        suitable = (
            factors == {"float32"}
            or (factors == {"bfloat16"} and wide)
            or (factors == {"uint8", "int8"} and self.bytes and wide)
        )
        return self.contract and suitable

    # ------------------------------------------------------------------ groups

    def fresh(self, n: Node, axes: tuple[int, ...], indices: Indices) -> Group:
        """A group of n's own."""
        group = Group(len(self.groups), axes, device=self.device(n))
        self.groups.append(group)
        self.add(group, n, indices)
        return group

    def add(self, group: Group, n: Node, indices: Indices) -> None:
        group.index[n] = indices
        if n.op.kind is not Kind.SOURCE:
            self.writers[n] = [group]
        group.needs |= {g.number for g in self.sources(n)} - {group.number}

    def copy(self, n: Node, others: Group | None = None) -> Group:
        """A group that only copies what is in memory already: that of ``others``, which are of the
        same shape, if it can be.
        """
        group = others
        if group is None or group.device != self.device(n):
            group = Group(len(self.groups), n.shape, copy=True, device=self.device(n))
            self.groups.append(group)
        group.index[n] = own(n.shape)
        group.needs |= {g.number for g in self.writers.get(self.root(n), ())}
        return group

    def group_for(self, n: Node, copying: Group | None = None) -> Group:
        """The group that has ``n``'s value at hand to store it once more; if none has, a copy,
        together with those of ``copying``.
        """
        writers = self.writers.get(n, ())
        if n in self.aliases or n in self.housed or len(writers) != 1 or n not in writers[0].index:
            return self.copy(n, copying)
        return writers[0]

    def device(self, n: Node) -> int:
        """The number of a node's device; of a copy made while planning, that of its original."""
        return self.devices.get(n, self.devices.get(n.inputs[0], 0) if n.inputs else 0)

    # ------------------------------------------------------------------ dependences

    def sources(self, n: Node) -> Iterator[Group]:
        """The groups that compute a node's inputs."""
        for i in n.inputs:
            yield from self.writers.get(self.root(i), ())

    def users(self) -> dict[Node, set[Group]]:
        """The groups that read each value."""
        users: dict[Node, set[Group]] = {}
        for group in self.groups:
            for n in group.index:
                for x in (n,) if group.copy else n.inputs:
                    users.setdefault(self.root(x), set()).add(group)
        return users

    def cyclic(self, n: Node, group: Group) -> bool:
        """True if some input of n depends on the group through another group, or is whole only when
        the group is complete: a concatenation that it writes a part of.
        """
        roots = map(self.root, n.inputs)
        if any(group in self.writers.get(x, ()) and x not in group.index for x in roots):
            return True
        return self.depends({g.number for g in self.sources(n) if g is not group}, group)

    def depends(self, numbers: set[int], group: Group) -> bool:
        """True if some of the groups with these numbers is the group, or needs it."""
        stack, seen = list(numbers), set[int]()
        while stack:
            number = stack.pop()
            if number == group.number:
                return True
            if number not in seen:
                seen.add(number)
                stack.extend(self.groups[number].needs)
        return False

    def depths(self, group: Group) -> dict[Node, int]:
        """How many reductions of the group must be complete before a node is."""
        depth: dict[Node, int] = {}
        for n in group.index:
            inputs = n.inputs if n.op.kind is not Kind.SOURCE else ()
            below = max((depth.get(self.root(i), 0) for i in inputs), default=0)
            depth[n] = below + (n in self.reduction_axes and not group.copy)
        return depth

    # ------------------------------------------------------------------ what is read where

    def root(self, n: Node) -> Node:
        """The node that holds the value that ``n`` is a view of."""
        while n in self.aliases or n in self.narrowed or (is_view(n) and n not in self.held):
            n = self.aliases[n] if n in self.aliases else n.inputs[0]
        return n

    def pull(self, n: Node, indices: Indices, sizes: tuple[int, ...]) -> Leaf | None:
        """As ``index.pull``, down to what holds the value."""
        return pull(n, indices, sizes, self.held)

    def pushed(self, n: Node, group: Group) -> Indices | None:
        """The indices of ``n``, a node of the group or a view of one."""
        chain: list[Node] = []
        while n not in group.index:
            if not is_view(n) or n in self.aliases:
                return None
            chain.append(n)
            n = n.inputs[0]
        indices: Indices | None = group.index[n]
        for view in reversed(chain):
            indices = push(view, indices, group.axes) if indices is not None else None
        return indices

    def read_at(self, n: Node, group: Group, number: int = 0) -> Indices:
        """Where reduction ``n`` of a group reads an input, in the group's axes."""
        mapping = (*group.index[n], *self.reduction_axes[n])
        at = substituted(loops_of(n).reads[number].indices, mapping, group.axes)
        assert at is not None, f"{n!r} reads an input that is not affine"
        return at

    def leaves(self, group: Group) -> list[Leaf | None]:
        """Everywhere that a group reads; None where that is not known so simply."""
        found: list[Leaf | None] = []
        for n, at in group.index.items():
            if group.copy:
                found.append(self.pull(n, at, group.axes))
            elif n in self.reduction_axes:
                for number, (x, how) in enumerate(zip(n.inputs, loops_of(n).reads, strict=True)):
                    where = self.read_at(n, group, number)
                    found.append(read(x, where, group.axes, how.outside, self.held))
            elif n in self.held:
                found.append(pull(n, at, group.axes, self.held - {n}))
            else:
                if is_gather(n):
                    source = self.root(n.inputs[0]).op.kind is Kind.SOURCE
                    found.append(None if source else Leaf(n, at))
                found += [self.pull(x, i, group.axes) for x, i in element_reads(n, at, group.axes)]
        return found
