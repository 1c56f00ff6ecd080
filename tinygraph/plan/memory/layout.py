"""Where values are stored: buffers, and the order of each value's axes in memory."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from ...graph.dtype import DTYPES
from ...graph.ir import Graph, Node, among
from ...graph.op import Kind
from ...ops.source import IOTA
from ..fusion.group import Group, Write
from ..fusion.held import is_leading
from ..fusion.state import Fusion
from ..indexing.accesses import full_strides, ordered_strides, resolve, row_major
from ..indexing.index import Indices, own, read
from ..indexing.reads import element_reads, gathered_as_slice, is_gather, loops_of
from ..records.target import NEVER, Copying, Target
from ..records.work import Location
from .fixed import is_fixed
from .memory import Memory
from .stores import is_aliased


def row_gap(shape: tuple[int, ...], dtype: str, copying: Copying) -> int:
    """Elements to leave after each row: a cache line, if a column would otherwise fall into a few
    sets of the caches.
    """
    several = len(shape) > 1 and shape[-2] > 1
    item = DTYPES[dtype].bytes
    return copying.gap // item if several and copying.crowds(shape[-1] * item) else 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Chooses where values are stored, and in which order of their axes, as launches are made.

    Attributes:
        fixed: nodes whose values stay between runs (``fixed_nodes``).
    """

    graph: Graph
    fusion: Fusion
    memory: Memory
    fixed: Set[Node]
    target: Target

    def of(self, n: Node) -> Location:
        """Where a value is that is in memory already."""
        if n in self.memory.locations:
            return self.memory.locations[n]
        fusion = self.fusion
        if n in fusion.housed:
            home, axis, offset = fusion.housed[n]
            place = self.of(home)
            return replace(place, offset=place.offset + offset * place.strides[axis])
        if n in fusion.narrowed:
            return self.of(fusion.narrowed[n])
        if n in fusion.aliases:
            below = self.of(fusion.aliases[n])
            self.memory.locations[n] = replace(below, strides=row_major(n.shape))
            return self.memory.locations[n]
        if is_leading(n):
            below = self.of(n.inputs[0])
            return replace(below, offset=below.offset + n.attr("start")[0] * below.strides[0])
        raise KeyError(f"{n!r} is not in memory")

    def destination(self, group: Group, store: Write) -> Location:
        """The place of a store; chosen now, in the order of the loops that write it, if it is the
        first to go there.
        """
        dest = store.dest
        if isinstance(dest, Node) and dest in self.fusion.housed and dest is store.value:
            return self.of(dest)
        if dest not in self.memory.locations:
            assert isinstance(dest, Node)
            home = "prepared" if is_fixed(group, self.fixed) else "arena"
            order = self.physical_order(group, store, dest)
            gap = self.gap(dest, order) if home == "arena" else 0
            size = dest.type.size
            if gap:
                size += size // dest.shape[order[-1]] * gap
            buffer = self.memory.buffer(dest.name or dest.op.name, size, dest.dtype, home)
            buffer.gap = gap * DTYPES[dest.dtype].bytes
            strides = ordered_strides(dest.shape, order, gap)
            self.memory.locations[dest] = Location(buffer, 0, strides, dest.dtype)
        return self.memory.locations[dest]

    def gap(self, n: Node, order: Sequence[int]) -> int:
        """Elements to leave after each row of a value that a loop goes through."""
        through = any(user.op.kind is Kind.LOOP for user in self.graph.users.get(n, ()))
        if not through or is_aliased(self.fusion, n) or n in self.fusion.housed:
            return 0
        return row_gap(tuple(n.shape[axis] for axis in order), n.dtype, self.target.copying)

    def physical_order(self, group: Group, store: Write, dest: Node) -> list[int]:
        """The dest's axes, outermost first: as those of the group's main input, columns of a
        contraction innermost.
        """
        rank = len(dest.shape)
        aliased = among(dest, self.fusion.aliases.values())
        if dest is group.opaque and not aliased:
            if dest.op.kind is Kind.COMPOSITE:
                return self.order_of_first(dest, rank - 1)
            if dest.op.keeps_order:
                return self.order_of_first(dest, rank)
        if group.opaque is not None or aliased:
            return list(range(rank))
        rankings = self.axis_ranking(group)
        key = [
            min((rankings.index(a) for a, _ in store.indices[d].terms), default=-1)
            for d in range(rank)
        ]
        return sorted(range(rank), key=lambda d: (key[d], d))

    def order_of_first(self, n: Node, free: int) -> list[int]:
        """A result's axes, the first ``free`` of them in the order of those of the first input,
        which has as many, and the others innermost: heads that are parts of rows stay so.
        """
        x, rank = n.inputs[0], len(n.shape)
        leaf = self.fusion.pull(x, own(x.shape), x.shape)
        if len(x.shape) != rank or leaf is None:
            return list(range(rank))
        strides = full_strides(resolve(self.of(leaf.root), leaf, rank), rank)
        apart = [abs(step) or NEVER for step in strides]
        return [*sorted(range(free), key=lambda d: (-apart[d], d)), *range(free, rank)]

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
        """Channels last, if the group's windows slide over the last two axes of images; where their
        rows are contiguous already, windows slide along them.
        """
        n = next(n for n in group.index if n in self.fusion.reduction_axes)
        slid = {
            a for r in loops_of(n).reads for i in r.indices if len(i.terms) > 1 for a, _ in i.terms
        }
        outputs = len(n.shape)
        if outputs < 4 or {a for a in slid if a < outputs} != {outputs - 2, outputs - 1}:
            return None
        reads = [self.main_strides(group, number, n) for number in range(len(n.inputs))]
        if all(0 < s[outputs - 1] < min(s[1 : outputs - 1]) for s in reads):
            return None
        rest = range(outputs, len(group.axes))
        within = [s for s in reads if any(0 < step < s[outputs - 1] for step in s[1 : outputs - 2])]
        if within:  # channels are last already; slices of volumes are not channels
            return [*sorted(range(outputs), key=lambda a: (-abs(within[0][a]), a)), *rest]
        return [0, outputs - 2, outputs - 1, *range(1, outputs - 2), *rest]

    def element_leaves(self, group: Group, n: Node) -> list[tuple[Node, Indices]]:
        """The values that an element-wise node reads, and where."""
        if group.copy or n in self.fusion.held:
            return [(n, group.index[n])]
        reads = element_reads(n, group.index[n], group.axes)
        if is_gather(n):
            reads.append(gathered_as_slice(n, group.index[n], group.axes))
        return reads

    def main_strides(self, group: Group, number: int, n: Node | None = None) -> list[int]:
        n = group.anchor if n is None else n
        assert n is not None
        return self.read_strides(group, n.inputs[number], self.fusion.read_at(n, group, number))

    def read_strides(self, group: Group, x: Node, at: Indices) -> list[int]:
        """How far apart in memory a read's elements are along each axis of the group."""
        below = x in group.index and not group.copy
        leaf = read(x, at, group.axes, 0.0, self.fusion.held - {x} if below else self.fusion.held)
        if leaf is None or (leaf.root in group.index and not group.copy) or leaf.root.op is IOTA:
            return [0] * len(group.axes)
        return full_strides(resolve(self.of(leaf.root), leaf, len(group.axes)), len(group.axes))
