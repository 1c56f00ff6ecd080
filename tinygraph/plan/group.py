"""Fusion: which nodes share a kernel.

A group is a loop nest with an index for each of its nodes. A node joins the group of one of its
inputs when it has an index there at which every input is either read from memory or stands in the
group at exactly that index, and when no path leads from the group to the node through another
group. So legality is not decided by rules for kinds of nodes: a group is legal if its loops can be
written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from enum import Enum

from ..ir import Graph, Node, Parameter
from ..op import Index, Kind
from ..ops.identity import STOP_GRADIENT
from .devices import assign
from .held import held_nodes, is_gather, is_leading, is_merge, loops_of
from .index import Indices, Leaf, aligned, is_view, own, pull, push, substitute


class Reason(Enum):
    """Why two adjacent nodes are not in one kernel: the closed list."""

    INDEX = "its elements are needed at other positions"
    EDGES = "it is read beyond its edges, so it must be in memory"
    ANCHOR = "a contraction reads its operands from memory"
    REDUCTION = "its reduction runs over other axes"
    WINDOW = "a window would compute it several times"
    CYCLE = "another kernel stands between them"
    TEMPLATE = "its kernel has a template of its own"
    STAGE = "a contraction's tile holds sums, not whole rows"
    JOINED = "its reader had joined another kernel"
    DEVICE = "they are on two devices"
    LEFT_OUT = "fusion is left out"


@dataclass(frozen=True, slots=True)
class Slot:
    """A destination outside of the graph: a program's output or the new value of a parameter."""

    kind: str  # 'output' or 'update'
    number: int


@dataclass(frozen=True, slots=True)
class Store:
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
        copy: the one node is in memory already and is only copied.
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
    stores: list[Store] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)  # numbers of the groups it reads from


class Fusion:
    """Builds the groups of a graph.

    Attributes:
        groups: in order of creation; ``needs`` orders them for execution.
        refused: (producer, consumer, reason) of adjacent nodes that stayed apart.
        aliases: reshapes that reinterpret row-major memory, with what they reinterpret.
        housed: values that lie inside of a concatenation: (concatenation, axis, offset).
        devices: where nodes are placed.
        scattered: inputs that do not lie in row-major order.
    """

    def __init__(
        self,
        graph: Graph,
        enabled: bool = True,
        contract: bool = True,
        scattered: Set[Node] = frozenset(),
    ):
        self.enabled, self.contract, self.scattered = enabled, contract, scattered
        self.groups: list[Group] = []
        self.writers: dict[Node, list[Group]] = {}
        self.refused: list[tuple[Node, Node, Reason]] = []
        self.aliases: dict[Node, Node] = {}
        self.housed: dict[Node, tuple[Node, int, int]] = {}
        self.reduction_axes: dict[Node, Indices] = {}
        self.devices = assign(graph)
        self.held = held_nodes(graph)
        for n in graph.nodes:
            if n.op.kind is not Kind.SOURCE or n in self.held:
                self.place(n)
        self.results = {self.root(n) for n in graph.outputs}

    # ------------------------------------------------------------------ one node

    def place(self, n: Node) -> None:
        if n.op.kind is Kind.SOURCE:
            self.writers[n] = [self.fresh_copy(n)]
        elif n.op.kind is Kind.LOOP:
            self.fresh(n, (), ()).opaque = n
        elif n.op.kind is Kind.RESULT:
            self.writers[n] = self.writers[n.inputs[0]]
        elif is_view(n):
            if n in self.held:
                self.place_view(n)
        elif n.op.name == "concat":
            self.place_concat(n)
        elif n.op.kind is Kind.OPAQUE:
            self.fresh(n, n.shape, own(n.shape)).opaque = n
        elif n.op.kind in (Kind.REDUCE, Kind.ANCHOR):
            self.place_reduction(n)
        elif not self.join(n, self.join_elementwise):
            self.fresh(n, n.shape, own(n.shape))

    def fresh(self, n: Node, axes: tuple[int, ...], indices: Indices) -> Group:
        """A group of n's own."""
        group = Group(len(self.groups), axes, device=self.device(n))
        self.groups.append(group)
        self.add(group, n, indices)
        return group

    def device(self, n: Node) -> int:
        """The number of a node's device; of a copy made while planning, that of its original."""
        return self.devices.get(n, self.devices.get(n.inputs[0], 0) if n.inputs else 0)

    def add(self, group: Group, n: Node, indices: Indices) -> None:
        group.index[n] = indices
        if n.op.kind is not Kind.SOURCE:
            self.writers[n] = [group]
        group.needs |= {g.number for g in self.sources(n)} - {group.number}

    def sources(self, n: Node) -> Iterator[Group]:
        """The groups that compute a node's inputs."""
        for i in n.inputs:
            yield from self.writers.get(self.root(i), ())

    def root(self, n: Node) -> Node:
        """What holds the value that ``n`` is a view of."""
        while n in self.aliases or (is_view(n) and n not in self.held):
            n = self.aliases[n] if n in self.aliases else n.inputs[0]
        return n

    def pull(self, n: Node, indices: Indices, sizes: tuple[int, ...]) -> Leaf | None:
        """As ``index.pull``, down to what holds the value."""
        return pull(n, indices, sizes, self.held)

    def join(self, n: Node, attempt: Callable[[Node, Group], Reason | None]) -> bool:
        """Tries the groups of n's inputs, those with sums first, then the latest."""
        refused: dict[int, Reason] = {}
        for group in sorted(set(self.sources(n)), key=preference):
            reason = self.closed(n, group) or attempt(n, group)
            if reason is None:
                break
            refused[group.number] = reason
        for i in dict.fromkeys(self.root(i) for i in n.inputs):
            for group in self.writers.get(i, ()):
                if group.number in refused:
                    self.refused.append((i, n, refused[group.number]))
        return n in self.writers

    def closed(self, n: Node, group: Group) -> Reason | None:
        """Why a group takes no node like n, whatever its loops are."""
        if not self.enabled:
            return Reason.LEFT_OUT
        if group.device != self.device(n):
            return Reason.DEVICE
        return Reason.TEMPLATE if group.opaque is not None or group.copy else None

    def cyclic(self, n: Node, group: Group) -> bool:
        """Whether some input of n depends on the group through another group."""
        return self.depends({g.number for g in self.sources(n) if g is not group}, group)

    def depends(self, numbers: set[int], group: Group) -> bool:
        """Whether some of the groups with these numbers is the group, or needs it."""
        stack, seen = list(numbers), set[int]()
        while stack:
            number = stack.pop()
            if number == group.number:
                return True
            if number not in seen:
                seen.add(number)
                stack.extend(self.groups[number].needs)
        return False

    def enter(self, n: Node, group: Group, indices: Indices) -> Reason | None:
        """Adds n to the group unless that closes a cycle."""
        if self.cyclic(n, group):
            return Reason.CYCLE
        self.add(group, n, indices)
        return None

    def users(self) -> dict[Node, set[Group]]:
        """The groups that read each value."""
        users: dict[Node, set[Group]] = {}
        for group in self.groups:
            for n in group.index:
                for x in (n,) if group.copy else n.inputs:
                    users.setdefault(self.root(x), set()).add(group)
        return users

    # ------------------------------------------------------------------ element-wise nodes

    def join_elementwise(self, n: Node, group: Group) -> Reason | None:
        reason: Reason | None = Reason.INDEX
        for indices in self.candidates(n, group):
            reason = self.misfit(n, indices, group)
            if reason is None:
                return self.enter(n, group, indices)
        return reason

    def candidates(self, n: Node, group: Group) -> Iterator[Indices]:
        """Indices that n could have: those of an input of its shape, or of what a reduction of the
        group reads.
        """
        for i in n.inputs:
            if i.shape == n.shape and (indices := self.pushed(i, group)) is not None:
                yield indices
        if not group.windows and group.anchor is None:
            for other in list(group.index):
                whole = other.op.kind is Kind.REDUCE and loops_of(other).reads[0].outside is None
                if whole and other.inputs[0].shape == n.shape:
                    yield self.read_at(other, group)

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
        """Where reduction ``n`` of a group reads its input, in the group's axes."""
        mapping = (*group.index[n], *self.reduction_axes[n])
        found = [substitute(i, mapping, group.axes) for i in loops_of(n).reads[number].indices]
        return tuple(i for i in found if i is not None)

    def misfit(self, n: Node, indices: Indices, group: Group) -> Reason | None:
        """None if n can be computed at ``indices``: every input in memory, or in the group at that
        very index.
        """
        if any(a in group.reduce for i in indices for a, _ in i.terms):
            if group.anchor is not None:
                return Reason.STAGE
            if group.windows:
                return Reason.WINDOW
        if is_gather(n) and self.root(n.inputs[0]) in group.index:
            return Reason.INDEX
        for x, at in element_reads(n, indices, group.axes):
            leaf = self.pull(x, at, group.axes)
            if leaf is None:
                return Reason.INDEX
            if leaf.root in group.index and leaf.guards:
                return Reason.EDGES
            if leaf.root in group.index and leaf.indices != group.index[leaf.root]:
                return Reason.INDEX
        return None

    # ------------------------------------------------------ views that hold their value, and copies

    def place_view(self, n: Node) -> None:
        """A view's value: in the group of what it is a view of, as another name for that memory, or
        copied.
        """
        x = n.inputs[0]
        if is_merge(n) and self.is_stored(x):
            self.aliases[n] = x
        elif not self.join(n, self.join_view):
            indices = push(n, own(x.shape), x.shape) if is_merge(n) else own(n.shape)
            if indices is None and (isinstance(x, Parameter) or x in self.scattered):
                self.aliases[n] = self.row_major(x)
            elif indices is None:
                self.aliases[n] = x
                self.housed.pop(x, None)  # its memory must be its own, in row-major order
            else:
                self.fresh(n, x.shape if is_merge(n) else n.shape, indices)

    def row_major(self, p: Node) -> Node:
        """A copy of a source whose own axes lie in an order of their own."""
        n = STOP_GRADIENT(p)
        if n not in self.held:
            self.held.add(n)
            self.fresh(n, n.shape, own(n.shape))
        return n

    def is_stored(self, x: Node) -> bool:
        """A source or a loop's result that lies in memory in row-major order."""
        if is_leading(x):
            return self.is_stored(x.inputs[0])
        source = x.op.kind is Kind.SOURCE and x.op.name != "iota" and not isinstance(x, Parameter)
        return (source and x not in self.scattered) or x.op.kind is Kind.RESULT

    def join_view(self, n: Node, group: Group) -> Reason | None:
        """A view held in the group of what it is a view of."""
        indices = self.pushed(n.inputs[0], group)
        indices = push(n, indices, group.axes) if indices is not None else None
        return Reason.INDEX if indices is None else self.enter(n, group, indices)

    def group_for(self, n: Node) -> Group:
        """The group that has ``n``'s value at hand to store it once more; a copy if there is none.
        """
        writers = self.writers.get(n, ())
        if n in self.aliases or n in self.housed or len(writers) != 1 or n not in writers[0].index:
            return self.fresh_copy(n)
        return writers[0]

    def fresh_copy(self, n: Node) -> Group:
        group = Group(len(self.groups), n.shape, copy=True, device=self.device(n))
        self.groups.append(group)
        group.index[n] = own(n.shape)
        group.needs |= {g.number for g in self.writers.get(self.root(n), ())}
        return group

    def place_concat(self, n: Node) -> None:
        """Every part is written where it belongs: by its producer if that is free to choose, by a
        copy otherwise.
        """
        axis, offset = n.attr("axis"), 0
        writers: list[Group] = []
        for x in n.inputs:
            group = self.group_for(x)
            at = list(group.index[x])
            at[axis] = Index(at[axis].constant + offset, at[axis].terms)
            group.stores.append(Store(x, n, tuple(at)))
            if self.writers.get(x) == [group] and x not in self.aliases.values():
                self.housed[x] = (n, axis, offset)
            writers.append(group)
            offset += x.shape[axis]
        self.writers[n] = list(dict.fromkeys(writers))

    # ------------------------------------------------------------------ reductions and contractions

    def place_reduction(self, n: Node) -> None:
        loops, rank = loops_of(n), len(n.shape)
        anchor = n.op.kind is Kind.ANCHOR and n.dtype == "float32" and self.contract
        if anchor:
            roots = dict.fromkeys(self.root(i) for i in n.inputs)
            self.refused += [(i, n, Reason.ANCHOR) for i in roots if i in self.writers]
        elif self.join(n, self.join_reduction):
            return
        axes = (*n.shape, *loops.reduce)
        self.reduction_axes[n] = own(loops.reduce, rank)
        group = self.fresh(n, axes, own(n.shape))
        group.reduce = frozenset(range(rank, len(axes)))
        group.anchor = n if anchor else None
        group.windows = any(
            len(i.terms) > 1 or i.divisor > 1 for r in loops.reads for i in r.indices
        )

    def join_reduction(self, n: Node, group: Group) -> Reason | None:
        """A reduction joins the nest that computes its input: some output axes become reduction
        axes.
        """
        if group.anchor is not None or n.op.kind is Kind.ANCHOR:
            return Reason.STAGE
        loops, rank = loops_of(n), len(n.shape)
        if group.windows:
            return self.join_window(n, group)
        at = self.pushed(n.inputs[0], group)
        if at is None:
            return Reason.INDEX
        mapping = match(loops.reads[0].indices, at, rank + len(loops.reduce))
        if mapping is None or loops.reads[0].outside is not None:
            return Reason.WINDOW
        reduce = {a for i in mapping[rank:] for a, _ in i.terms}
        reduces = bool(group.reduce) or any(m in self.reduction_axes for m in group.index)
        if (reduces and group.reduce != reduce) or not reduce:
            return Reason.REDUCTION
        if any(a in reduce for i in mapping[:rank] for a, _ in i.terms):
            return Reason.INDEX
        for x, read in list(zip(n.inputs, loops.reads, strict=True))[1:]:
            found = [substitute(i, mapping, group.axes) for i in read.indices]
            leaf = (
                self.pull(x, tuple(i for i in found if i is not None), group.axes)
                if None not in found
                else None
            )
            if leaf is None or (
                leaf.root in group.index and leaf.indices != group.index[leaf.root]
            ):
                return Reason.INDEX
        reason = self.enter(n, group, mapping[:rank])
        if reason is None:
            group.reduce = frozenset(reduce)
            self.reduction_axes[n] = mapping[rank:]
        return reason

    def join_window(self, n: Node, group: Group) -> Reason | None:
        """A reduction over the very windows of the group, as the positions of the maxima that it
        has just found.
        """
        loops, rank = loops_of(n), len(n.shape)
        if (*n.shape, *loops.reduce) != group.axes:
            return Reason.REDUCTION
        mapping = (*own(n.shape), *own(loops.reduce, rank))
        for x, read in zip(n.inputs, loops.reads, strict=True):
            if self.root(x) in group.index:
                found = tuple(substitute(i, mapping, group.axes) for i in read.indices)
                leaf = self.pull(x, found, group.axes) if None not in found else None  # type: ignore[arg-type]
                if leaf is None or leaf.guards or leaf.indices != group.index[leaf.root]:
                    return Reason.WINDOW
        reason = self.enter(n, group, mapping[:rank])
        if reason is None:
            self.reduction_axes[n] = mapping[rank:]
        return reason


def preference(group: Group) -> tuple[bool, int]:
    """Sort key: an epilogue costs nothing, and what prepares its operands can still move in."""
    return (not group.reduce, -group.number)


def element_reads(n: Node, indices: Indices, sizes: tuple[int, ...]) -> list[tuple[Node, Indices]]:
    """Where an element-wise node at ``indices`` reads its inputs; of a gather, where it reads the
    positions.
    """
    if is_gather(n):
        found = [substitute(i, indices, sizes) for i in loops_of(n).reads[1].indices]
        return [(n.inputs[1], tuple(i for i in found if i is not None))]
    return [(i, aligned(i, len(n.shape), indices)) for i in n.inputs]


def match(read: Indices, at: Indices, rank: int) -> Indices | None:
    """Solves read(mapping) == at for a reduction's own axes, if each stands alone."""
    mapping: dict[int, Index] = {}
    for index, value in zip(read, at, strict=True):
        if index.constant or index.divisor != 1 or len(index.terms) > 1:
            return None
        for axis, coefficient in index.terms:
            if coefficient != 1 or axis in mapping:
                return None
            mapping[axis] = value
    return tuple(mapping.get(a, Index()) for a in range(rank))
