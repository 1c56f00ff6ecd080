"""Where values lie: buffers, and the order of each value's axes in memory."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from ...graph.dtype import DTYPES
from ...graph.ir import Graph, Node, Parameter, among
from ...graph.op import CONSTANT, INPUT, Kind
from ...ops.source import IOTA
from ..contraction.tiling import LINE
from ..fusion.group import Group, Slot, Store
from ..fusion.held import is_leading, leading_root
from ..fusion.state import Fusion
from ..indexing.accesses import full_strides, is_row_major, ordered_strides, resolve, row_major
from ..indexing.index import Indices, read
from ..indexing.reads import element_reads, loops_of
from ..records.plan import SLACK, Buffer, Place

CROWDED = 2048  # rows that are a multiple of so many bytes apart share few sets of a cache


def row_gap(shape: tuple[int, ...], dtype: str) -> int:
    """Elements to leave behind each row: a cache line, if a column would otherwise fall into a few
    sets of the caches.
    """
    several = len(shape) > 1 and shape[-2] > 1
    item = DTYPES[dtype].bytes
    return LINE // item if several and shape[-1] * item % CROWDED == 0 else 0


class Layout:
    """Buffers and places of a graph's values, given as launches are made.

    Attributes:
        places: where values, outputs and new values of parameters lie.
        fixed: nodes that depend on constants and on parameters that the program does not update.
        invariant: inputs of a loop's body that are the same in every step; they count as fixed.
    """

    def __init__(self, graph: Graph, updates: tuple[Node, ...], fusion: Fusion):
        self.graph, self.updates, self.fusion = graph, updates, fusion
        self.buffers: list[Buffer] = []
        self.constants: list[Node] = []
        self.places: dict[Node | Slot, Place] = {}
        self.fixed: set[Node] = set()
        self.invariant: Set[Node] = frozenset()

    def fixed_nodes(self) -> set[Node]:
        """Nodes that depend on constants and on parameters that this program does not update.

        Without those whose kernel also does what must be done in every run.
        """
        changing: set[Node] = set(self.updates)
        while True:
            self.fixed = set()
            for n in (*self.graph.nodes, *(n for g in self.fusion.groups for n in g.index)):
                if (
                    (n.op is not INPUT or n in self.invariant)
                    and n.op.kind is not Kind.LOOP
                    and n not in changing
                    and all(i in self.fixed for i in n.inputs)
                ):
                    self.fixed.add(n)
            mixed = [g for g in self.fusion.groups if not self.is_fixed(g)]
            more = {
                n
                for g in mixed
                for n in g.index
                if n in self.fixed and n.op.kind is not Kind.SOURCE
            }
            if not more:
                return self.fixed
            changing |= more

    def is_fixed(self, group: Group) -> bool:
        return all(n in self.fixed for n in (*group.index, *(s.dest for s in group.stores)))

    def buffer(self, name: str, elements: int, dtype: str, home: str, number: int = 0) -> Buffer:
        buffer = Buffer(name, elements * DTYPES[dtype].bytes + SLACK, home, number)
        self.buffers.append(buffer)
        return buffer

    def sources(self, parameters: Sequence[Parameter]) -> None:
        """Places of inputs, parameters and constants."""
        for number, n in enumerate(self.graph.inputs):
            if n in self.places:
                continue
            buffer = self.buffer(n.name or f"input{number}", n.type.size, n.dtype, "input", number)
            self.places[n] = Place(buffer, 0, row_major(n.shape), n.dtype)
        for number, p in enumerate(parameters):
            buffer = self.buffer(
                p.name or f"parameter{number}", p.type.size, p.dtype, "parameter", number
            )
            self.places[p] = Place(buffer, 0, ordered_strides(p.shape, p.state.order), p.dtype)
        for n in self.graph.nodes:
            if n.op is CONSTANT:
                buffer = self.buffer(
                    f"constant{len(self.constants)}",
                    n.type.size,
                    n.dtype,
                    "constant",
                    len(self.constants),
                )
                self.constants.append(n)
                self.places[n] = Place(buffer, 0, row_major(n.shape), n.dtype)

    def store_outputs(self) -> None:
        count = len(self.graph.outputs) - len(self.updates)
        for number, n in enumerate(self.graph.outputs):
            slot = Slot("output", number) if number < count else Slot("update", number - count)
            if slot in self.places:
                if self.lives_in(n, slot):
                    continue
            elif slot.kind == "output":
                buffer = self.buffer(
                    n.name or f"output{number}", n.type.size, n.dtype, "output", number
                )
                self.places[slot] = Place(buffer, 0, row_major(n.shape), n.dtype)
            else:
                self.places[slot] = self.places[self.updates[slot.number]]
            group = self.fusion.group_for(n)
            group.stores.append(Store(n, slot, group.index[n]))

    def lives_in(self, n: Node, slot: Slot) -> bool:
        """Puts a value into the place that is known for it, if it is free to lie there."""
        fusion = self.fusion
        writers = fusion.writers.get(n, ())
        bound = n in self.places or n in fusion.aliases or n in fusion.housed
        bound |= self.is_aliased(n) and not is_row_major(self.places[slot], n.shape)
        if slot.kind != "output" or n.op.kind is Kind.SOURCE or bound:
            return False
        if n.op.kind is not Kind.JOIN:
            if len(writers) != 1 or n not in writers[0].index:
                return False
            writers[0].stores.append(Store(n, n, writers[0].index[n]))
        self.places[n] = self.places[slot]
        return True

    def is_aliased(self, n: Node) -> bool:
        """Whether another value's name stands for this one's memory, in row-major order."""
        return any(n is leading_root(x) for x in self.fusion.aliases.values())

    def store_values(self) -> None:
        """Every value that another group reads goes to memory, once."""
        fusion = self.fusion
        needed: dict[Node, None] = {}
        for group in fusion.groups:
            for n in group.index:
                for x in (n,) if group.copy else n.inputs:
                    root = fusion.root(x)
                    if root not in group.index or n is group.anchor or group.copy:
                        needed[root] = None
        for root in needed:
            for group in fusion.writers.get(root, ()) if root not in fusion.housed else ():
                if root in group.index and all(s.dest is not root for s in group.stores):
                    group.stores.append(Store(root, root, group.index[root]))

    def of(self, n: Node) -> Place:
        """Where a value lies that is in memory already."""
        if n in self.places:
            return self.places[n]
        fusion = self.fusion
        if n in fusion.housed:
            home, axis, offset = fusion.housed[n]
            place = self.of(home)
            return replace(place, offset=place.offset + offset * place.strides[axis])
        if n in fusion.aliases:
            below = self.of(fusion.aliases[n])
            self.places[n] = replace(below, strides=row_major(n.shape))
            return self.places[n]
        if is_leading(n):
            below = self.of(n.inputs[0])
            return replace(below, offset=below.offset + n.attr("start")[0] * below.strides[0])
        raise KeyError(f"{n!r} is not in memory")

    def destination(self, group: Group, store: Store) -> Place:
        """The place of a store; chosen now, in the order of the loops that write it, if it is the
        first to go there.
        """
        dest = store.dest
        if isinstance(dest, Node) and dest in self.fusion.housed and dest is store.value:
            return self.of(dest)
        if dest not in self.places:
            assert isinstance(dest, Node)
            home = "prepared" if self.is_fixed(group) else "arena"
            order = self.physical_order(group, store, dest)
            gap = self.gap(dest, order) if home == "arena" else 0
            size = dest.type.size
            if gap:
                size += size // dest.shape[order[-1]] * gap
            buffer = self.buffer(dest.name or dest.op.name, size, dest.dtype, home)
            buffer.gap = gap * DTYPES[dest.dtype].bytes
            strides = ordered_strides(dest.shape, order, gap)
            self.places[dest] = Place(buffer, 0, strides, dest.dtype)
        return self.places[dest]

    def gap(self, n: Node, order: Sequence[int]) -> int:
        """Elements to leave behind each row of a value that a loop goes through."""
        through = any(user.op.kind is Kind.LOOP for user in self.graph.users.get(n, ()))
        if not through or self.is_aliased(n) or n in self.fusion.housed:
            return 0
        return row_gap(tuple(n.shape[axis] for axis in order), n.dtype)

    def physical_order(self, group: Group, store: Store, dest: Node) -> list[int]:
        """The dest's axes, outermost first: as the group's main input lies, columns of a
        contraction innermost.
        """
        rank = len(dest.shape)
        if group.opaque is not None or among(dest, self.fusion.aliases.values()):
            return list(range(rank))
        rankings = self.axis_ranking(group)
        key = [
            min((rankings.index(a) for a, _ in store.indices[d].terms), default=-1)
            for d in range(rank)
        ]
        return sorted(range(rank), key=lambda d: (key[d], d))

    def axis_ranking(self, group: Group) -> list[int]:
        """The group's axes, outermost in memory first."""
        rank = len(group.axes)
        if group.anchor is not None:
            reads = loops_of(group.anchor).reads
            a, b = (self.main_strides(group, number) for number in range(len(reads)))
            if group.swapped:
                a, b = b, a
            columns = [x for x in range(rank) if b[x] and not a[x]]
            rest = sorted(
                (x for x in range(rank) if x not in columns), key=lambda x: (-abs(a[x]), x)
            )
            return rest + columns
        if group.windows and (image := self.image_axes(group)) is not None:
            return image
        best = [0] * rank
        for n in group.index:
            if n in self.fusion.reduction_axes and not group.copy:
                options = [self.main_strides(group, number, n) for number in range(len(n.inputs))]
            else:
                options = [
                    self.read_strides(group, x, at) for x, at in self.element_leaves(group, n)
                ]
            for strides in options:
                if sum(map(bool, strides)) > sum(map(bool, best)):
                    best = strides
        return sorted(range(rank), key=lambda a: (-abs(best[a]) if best[a] else 0, a))

    def image_axes(self, group: Group) -> list[int] | None:
        """Channels last, if the group's windows slide over the last two axes of images."""
        n = next(n for n in group.index if n in self.fusion.reduction_axes)
        slid = {
            a for r in loops_of(n).reads for i in r.indices if len(i.terms) > 1 for a, _ in i.terms
        }
        outputs = len(n.shape)
        if outputs < 4 or {a for a in slid if a < outputs} != {outputs - 2, outputs - 1}:
            return None
        return [
            0,
            outputs - 2,
            outputs - 1,
            *range(1, outputs - 2),
            *range(outputs, len(group.axes)),
        ]

    def element_leaves(self, group: Group, n: Node) -> list[tuple[Node, Indices]]:
        """What an element-wise node reads, and where."""
        if group.copy or n in self.fusion.held:
            return [(n, group.index[n])]
        return element_reads(n, group.index[n], group.axes)

    def main_strides(self, group: Group, number: int, n: Node | None = None) -> list[int]:
        n = group.anchor if n is None else n
        assert n is not None
        return self.read_strides(group, n.inputs[number], self.fusion.read_at(n, group, number))

    def read_strides(self, group: Group, x: Node, at: Indices) -> list[int]:
        """How far apart in memory a read's elements are along each axis of the group."""
        below = x in group.index and not group.copy
        leaf = read(x, at, group.axes, 0.0, self.fusion.held - {x} if below else self.fusion.held)
        if (
            leaf is None
            or (leaf.root in group.index and not group.copy)
            or leaf.root.op is IOTA
        ):
            return [0] * len(group.axes)
        return full_strides(resolve(self.of(leaf.root), leaf, len(group.axes)), len(group.axes))
