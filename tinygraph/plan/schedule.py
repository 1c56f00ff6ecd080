"""schedule(graph) -> Plan: groups become launches, values get places, launches an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from ..ir import Graph, Node, Parameter
from ..op import Index, Kind
from .body import Body
from .bundle import bundle
from .contract import (
    Axis,
    Heavy,
    Problem,
    Roles,
    Unsuitable,
    assign_roles,
    copy_nest,
    epilogue,
    make_tile,
    operand_indices,
    pack_nest,
    phases,
    reach,
)
from .group import Fusion, Group, Slot, Store, element_reads, loops_of
from .index import Indices, Leaf, own, read
from .memory import order_groups, place_buffers
from .nest import NestBuilder, arrange, full_strides, resolve
from .plan import SLACK, Access, Buffer, Launch, Nest, Place, Plan, Special, Tile
from .tiling import Target
from .updates import order_updates
from .winograd_launch import winograd_launches

ITEMSIZE = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint32": 4, "uint8": 1, "bool": 1}
HEAVY = 1 << 20  # bytes of an operand that is rather read as it lies than repacked every time,
FEW = 128  # if it is used for at most so many rows
GRAIN = 32_768  # elements that are worth a part of their own


def schedule(
    graph: Graph,
    updates: Sequence[Parameter] = (),
    parameters: Sequence[Parameter] | None = None,
    target: Target | None = None,
    without: frozenset[str] = frozenset(),
    conv: Mapping[str, str] | None = None,
) -> Plan:
    """Plans a graph whose last ``len(updates)`` outputs are the new values of these parameters.

    Buffers of parameters are numbered as in ``parameters``, by default the graph's own. ``conv`` overrules how
    convolutions are computed: by name, "" for all others.
    """
    numbered = tuple(dict.fromkeys((*(graph.parameters if parameters is None else parameters), *updates)))
    return Scheduler(graph, tuple(updates), numbered, target or Target(), without, conv or {}).plan()


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an array in row-major order."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def ordered_strides(shape: tuple[int, ...], order: Sequence[int]) -> tuple[int, ...]:
    """Strides of an array whose axes lie in ``order``, outermost first."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


class Scheduler:
    def __init__(
        self, graph: Graph, updates: tuple[Parameter, ...], parameters: tuple[Parameter, ...], target: Target,
        without: frozenset[str], conv: Mapping[str, str],
    ):
        self.graph, self.updates, self.parameters, self.target = graph, updates, parameters, target
        self.conv = conv
        self.fusion = Fusion(graph, enabled="fuse" not in without, contract="contract" not in without)
        self.buffers: list[Buffer] = []
        self.constants: list[Node] = []
        self.places: dict[Node | Slot, Place] = {}
        self.launches: list[Launch] = []
        self.prepare: list[Launch] = []
        self.remarks: list[str] = []
        self.fixed: set[Node] = set()
        self.packed: dict[tuple, Access] = {}
        self.padded: dict[tuple[Access, tuple[int, ...]], tuple[Buffer, tuple[int, ...]]] = {}

    def plan(self) -> Plan:
        self.sources()
        self.store_outputs()
        order = order_updates(self.fusion, self.updates)
        self.store_values()
        self.fixed = self.fixed_nodes()
        for group in order_groups(self.fusion, order):
            self.lower(group)
        self.prepare, self.launches = bundle(self.prepare), bundle(self.launches)
        plan = Plan(self.graph.name, self.buffers, self.prepare, self.launches, constants=self.constants)
        plan.remarks, plan.refused = self.remarks, self.fusion.refused
        place_buffers(plan)
        return plan

    # ------------------------------------------------------------------ values that stand still

    def fixed_nodes(self) -> set[Node]:
        """Nodes that depend on constants and on parameters that this program does not update.

        Without those whose kernel also does what must be done in every run.
        """
        changing: set[Node] = set(self.updates)
        while True:
            self.fixed = set()
            for n in (*self.graph.nodes, *(n for g in self.fusion.groups for n in g.index)):
                if n.op.name != "input" and n not in changing and all(i in self.fixed for i in n.inputs):
                    self.fixed.add(n)
            mixed = [g for g in self.fusion.groups if not self.is_fixed(g)]
            more = {n for g in mixed for n in g.index if n in self.fixed and n.op.kind is not Kind.SOURCE}
            if not more:
                return self.fixed
            changing |= more

    def is_fixed(self, group: Group) -> bool:
        return all(n in self.fixed for n in (*group.index, *(s.dest for s in group.stores)))

    # ------------------------------------------------------------------ sources, stores

    def buffer(self, name: str, elements: int, dtype: str, home: str, number: int = 0) -> Buffer:
        buffer = Buffer(name, elements * ITEMSIZE[dtype] + SLACK, home, number)
        self.buffers.append(buffer)
        return buffer

    def sources(self) -> None:
        for number, n in enumerate(self.graph.inputs):
            buffer = self.buffer(n.name or f"input{number}", n.type.size, n.dtype, "input", number)
            self.places[n] = Place(buffer, 0, row_major(n.shape), n.dtype)
        for number, p in enumerate(self.parameters):
            buffer = self.buffer(p.name or f"parameter{number}", p.type.size, p.dtype, "parameter", number)
            self.places[p] = Place(buffer, 0, ordered_strides(p.shape, p.state.order), p.dtype)
        for n in self.graph.nodes:
            if n.op.name == "constant":
                buffer = self.buffer(f"constant{len(self.constants)}", n.type.size, n.dtype, "constant", len(self.constants))
                self.constants.append(n)
                self.places[n] = Place(buffer, 0, row_major(n.shape), n.dtype)

    def store_outputs(self) -> None:
        count = len(self.graph.outputs) - len(self.updates)
        for number, n in enumerate(self.graph.outputs):
            slot = Slot("output", number) if number < count else Slot("update", number - count)
            if slot.kind == "output":
                buffer = self.buffer(n.name or f"output{number}", n.type.size, n.dtype, "output", number)
                self.places[slot] = Place(buffer, 0, row_major(n.shape), n.dtype)
            else:
                self.places[slot] = self.places[self.updates[slot.number]]
            group = self.fusion.group_for(n)
            group.stores.append(Store(n, slot, group.index[n]))

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

    # ------------------------------------------------------------------ places

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
            self.places[n] = Place(below.buffer, below.offset, row_major(n.shape), n.dtype)
            return self.places[n]
        raise KeyError(f"{n!r} is not in memory")

    def destination(self, group: Group, store: Store) -> Place:
        """The place of a store; chosen now, in the order of the loops that write it, if it is the first to go there."""
        dest = store.dest
        if isinstance(dest, Node) and dest in self.fusion.housed and dest is store.value:
            return self.of(dest)
        if dest not in self.places:
            assert isinstance(dest, Node)
            home = "prepared" if self.is_fixed(group) else "arena"
            buffer = self.buffer(dest.name or dest.op.name, dest.type.size, dest.dtype, home)
            order = self.physical_order(group, store, dest)
            self.places[dest] = Place(buffer, 0, ordered_strides(dest.shape, order), dest.dtype)
        return self.places[dest]

    def physical_order(self, group: Group, store: Store, dest: Node) -> list[int]:
        """The dest's axes, outermost first: as the group's main input lies, columns of a contraction innermost."""
        rank = len(dest.shape)
        if group.opaque is not None or dest in self.fusion.aliases.values():
            return list(range(rank))
        rankings = self.axis_ranking(group)
        key = [min((rankings.index(a) for a, _ in store.indices[d].terms), default=-1) for d in range(rank)]
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
            rest = sorted((x for x in range(rank) if x not in columns), key=lambda x: (-abs(a[x]), x))
            return rest + columns
        if group.windows and (image := self.image_axes(group)) is not None:
            return image
        best = [0] * rank
        for n in group.index:
            if n in self.fusion.reduction_axes and not group.copy:
                options = [self.main_strides(group, number, n) for number in range(len(n.inputs))]
            else:
                options = [self.read_strides(group, x, at) for x, at in self.element_leaves(group, n)]
            for strides in options:
                if sum(map(bool, strides)) > sum(map(bool, best)):
                    best = strides
        return sorted(range(rank), key=lambda a: (-abs(best[a]) if best[a] else 0, a))

    def image_axes(self, group: Group) -> list[int] | None:
        """Channels last, if the group's windows slide over the last two axes of images."""
        n = next(n for n in group.index if n in self.fusion.reduction_axes)
        slid = {a for r in loops_of(n).reads for i in r.indices if len(i.terms) > 1 for a, _ in i.terms}
        outputs = len(n.shape)
        if outputs < 4 or {a for a in slid if a < outputs} != {outputs - 2, outputs - 1}:
            return None
        return [0, outputs - 2, outputs - 1, *range(1, outputs - 2), *range(outputs, len(group.axes))]

    def element_leaves(self, group: Group, n: Node):
        if group.copy or n in self.fusion.held:
            return [(n, group.index[n])]
        return element_reads(n, group.index[n], group.axes)

    def main_strides(self, group: Group, number: int, n: Node | None = None) -> list[int]:
        n = group.anchor if n is None else n
        assert n is not None
        return self.read_strides(group, n.inputs[number], self.fusion.read_at(n, group, number))

    def read_strides(self, group: Group, x: Node, at) -> list[int]:
        below = x in group.index and not group.copy
        leaf = read(x, at, group.axes, 0.0, self.fusion.held - {x} if below else self.fusion.held)
        if leaf is None or (leaf.root in group.index and not group.copy) or leaf.root.op.name == "iota":
            return [0] * len(group.axes)
        return full_strides(resolve(self.of(leaf.root), leaf, len(group.axes)), len(group.axes))

    # ------------------------------------------------------------------ launches

    def lower(self, group: Group) -> None:
        if not group.stores:
            return
        stores = [(s, self.destination(group, s)) for s in group.stores]
        launches = self.prepare if self.is_fixed(group) else self.launches
        if group.anchor is not None:
            try:
                launches += self.contraction(group, stores)
                return
            except Unsuitable as reason:
                if self.detached(group, stores, launches, reason):
                    return
                if isinstance(reason, Heavy):
                    launches += self.contraction(group, stores, heavy=True)
                    return
                self.remarks.append(f"{label(group)}: plain loops, because {reason}")
        if group.opaque is not None:
            launches += self.special(group, stores)
            return
        nest = arrange(NestBuilder(self.fusion, group, self).build(stores))
        launches.append(self.launch(label(group), nest, tuple(group.index)))

    def detached(
        self, group: Group, stores: list[tuple[Store, Place]], launches: list[Launch], why: Unsuitable
    ) -> bool:
        """The contraction into memory of its own, and its epilogue as a kernel behind it; False for plain loops."""
        anchor, home = group.anchor, "prepared" if self.is_fixed(group) else "arena"
        assert anchor is not None
        alone = replace(group, index={anchor: group.index[anchor]}, stores=[], swapped=isinstance(why, Heavy))
        store = Store(anchor, anchor, group.index[anchor])
        kept = self.places.get(anchor)
        fresh = kept is None or alone.swapped
        if fresh:
            order = self.physical_order(alone, store, anchor)
            buffer = self.buffer(anchor.name or anchor.op.name, anchor.type.size, anchor.dtype, home)
            self.places[anchor] = Place(buffer, 0, ordered_strides(anchor.shape, order), anchor.dtype)
        try:
            launches += self.contraction(alone, [(store, self.places[anchor])])
        except Unsuitable:
            if fresh:
                self.buffers.remove(self.places.pop(anchor).buffer)
            if kept is not None:
                self.places[anchor] = kept
            return False
        if kept is not None and fresh:
            self.buffers.remove(kept.buffer)
        others = [(s, p) for s, p in stores if s.dest is not anchor]
        if others:
            after = replace(group, axes=anchor.shape, reduce=frozenset())
            builder = NestBuilder(self.fusion, after, self)
            loaded = builder.load(Leaf(anchor, group.index[anchor]))
            nest = arrange(builder.build(others, accumulator=loaded))
            nodes = tuple(n for n in group.index if n is not anchor) or (anchor,)
            launches.append(self.launch("_".join(dict.fromkeys(n.op.name for n in nodes)), nest, nodes))
            self.remarks.append(f"{label(group)}: its epilogue is a kernel of its own, because {why}")
        return True

    def launch(self, name: str, nest: Nest, nodes: tuple[Node, ...]) -> Launch:
        work = prod(nest.axes)
        outer = nest.axes[0] if 0 not in nest.reduce and nest.axes else 1
        if nest.style == "column" and len(nest.reduce) == len(nest.axes) - 1:
            outer = -(-outer // nest.block)
        return Launch(name, nest, nodes, parts=max(1, min(outer, 64, work // GRAIN)))

    def special(self, group: Group, stores: list[tuple[Store, Place]]) -> list[Launch]:
        """A kernel with its own template reads whole values and writes one, which is copied to where else it belongs."""
        n = group.opaque
        assert n is not None
        operands = []
        for x in n.inputs:
            leaf = self.fusion.pull(x, own(x.shape), x.shape)
            assert leaf is not None and not leaf.guards
            operands.append(resolve(self.of(leaf.root), leaf, len(x.shape)))
        targets = [resolve(place, Leaf(n, store.indices), len(n.shape)) for store, place in stores]
        operands.append(targets[0])
        sizes = tuple((f"{k}", v) for k, v in n.attrs if isinstance(v, int))
        shapes = tuple((f"n{i}_{a}", s) for i, x in enumerate((*n.inputs, n)) for a, s in enumerate(x.shape))
        copies = [self.launch("copy", copy_nest(n.shape, targets[0], other), (n,)) for other in targets[1:]]
        return [Launch(n.op.name, Special(n.op.name, sizes + shapes, tuple(operands)), (n,)), *copies]

    # ------------------------------------------------------------------ contractions

    def contraction(
        self, group: Group, stores: list[tuple[Store, Place]], heavy: bool = False
    ) -> list[Launch]:
        """The launches of a group with an anchor; nothing is left behind where it is unsuitable."""
        padded, packed, prepared, count = dict(self.padded), dict(self.packed), list(self.prepare), len(self.buffers)
        try:
            return self.tiles(group, stores, heavy)
        except Unsuitable:
            self.padded, self.packed, self.prepare[:] = padded, packed, prepared
            del self.buffers[count:]
            raise

    def tiles(
        self, group: Group, stores: list[tuple[Store, Place]], heavy: bool
    ) -> list[Launch]:
        n = group.anchor
        assert n is not None
        nest = NestBuilder(self.fusion, group, self).build(stores, accumulator="acc")
        body = epilogue(nest, "acc")
        if (found := winograd_launches(self, group, nest, body, label(group))) is not None:
            return found
        reads = [operand_indices(n, number) for number in (0, 1)]
        launches: list[Launch] = []
        places = [self.readable(group, x, at, launches) for x, at in zip(n.inputs, reads, strict=True)]
        for problem in phases(group.axes, len(n.shape), [at for _, at in places]):
            if 0 in problem.axes:
                raise Unsuitable("a phase of its stride has no taps")
            views = [resolve(p, Leaf(n, tuple(map(problem.at, at))), len(problem.axes)) for p, at in places]
            operands = [remap(o, problem) for o in nest.operands]
            self.tile(group, problem, views, operands, body, launches, heavy)
        return launches

    def readable(self, group: Group, x: Node, at: Indices, launches: list[Launch]) -> tuple[Place, Indices]:
        """An operand's place, and the indices of its axes; a padded copy, if it is read beyond its edges."""
        leaf = read(x, at, group.axes, 0.0, self.fusion.held)
        if leaf is not None and not leaf.guards:
            return self.of(leaf.root), leaf.indices
        box = reach(at, group.axes)
        shape = tuple(high - low + 1 for low, high in box)
        inside = tuple(Index(low, i.terms) for (low, _), i in zip(box, own(shape), strict=True))
        leaf = read(x, inside, shape, 0.0, self.fusion.held)
        if leaf is None:
            raise Unsuitable("an operand's views do not compose")
        source = resolve(self.of(leaf.root), leaf, len(shape))
        if (source, shape) not in self.padded:
            self.padded[source, shape] = self.pad(source, shape, x, leaf.root in self.fixed, launches)
        buffer, strides = self.padded[source, shape]
        offset = -sum(low * s for (low, _), s in zip(box, strides, strict=True))
        return Place(buffer, offset, strides, x.dtype), at

    def pad(
        self, source: Access, shape: tuple[int, ...], x: Node, fixed: bool, launches: list[Launch]
    ) -> tuple[Buffer, tuple[int, ...]]:
        """A copy with its edges around it, in the order of the original."""
        lie = full_strides(source, len(shape))
        strides = ordered_strides(shape, sorted(range(len(shape)), key=lambda a: (-abs(lie[a]), a)))
        home = "prepared" if fixed else "arena"
        buffer = self.buffer(f"{x.name or x.op.name}_padded", prod(shape), x.dtype, home)
        nest = copy_nest(shape, source, Access(buffer, 0, strides, x.dtype))
        (self.prepare if fixed else launches).append(self.launch("pad", nest, (x,)))
        return buffer, strides

    def tile(
        self, group: Group, problem: Problem, views: list[Access], operands: list[Access], body: Body,
        launches: list[Launch], heavy: bool,
    ) -> None:
        """One contraction, with whichever operand gives contiguous columns as B.

        A large operand that changes between runs is not repacked unless ``heavy`` says so.
        """
        failure: Unsuitable | None = None
        anchor = group.anchor
        assert anchor is not None
        for a, b, source in ((*views, anchor.inputs[1]), (*reversed(views), anchor.inputs[0])):
            axes = [
                Axis(size, a.strides[i], b.strides[i], tuple(o.strides[i] for o in operands))
                for i, size in enumerate(problem.axes)
            ]
            fixed = source in self.fixed
            try:
                roles = assign_roles(
                    axes, problem.outputs, [o for o, _ in body.stores], fixed or b.buffer.home == "input"
                )
            except Unsuitable as reason:
                failure = failure or reason
                continue
            made = make_tile(roles, body, a, b, operands, self.target)
            if roles.packed and not fixed and not heavy and is_heavy(roles):
                failure = Heavy("a large operand would be repacked every time")
                continue
            if roles.packed:
                made = replace(made, b=self.pack(roles, made, b, fixed, launches, source))
            if made.contraction.chunked:
                made = replace(made, partial=self.partial(made))
            parts = dict(made.sizes)["row_parts"] * dict(made.sizes)["column_parts"]
            launches.append(Launch(label(group), made, tuple(group.index), parts))
            return
        raise failure or Unsuitable("its axes have no roles")

    def partial(self, tile: Tile) -> Access:
        """Memory for the sums of every tile between chunks."""
        s, spec = dict(tile.sizes), tile.contraction
        tiles = s["g"] * s["z"] * s["y"] * -(-s["m"] // spec.rows) * -(-s["n"] // spec.width)
        buffer = self.buffer("partial_sums", tiles * spec.rows * spec.width, "float32", "arena")
        return Access(buffer, 0, (), "float32")

    def pack(self, roles, tile, b: Access, fixed: bool, launches: list[Launch], root: Node) -> Access:
        sizes, width = dict(tile.sizes), tile.contraction.width
        blocks = -(-sizes["n"] // width)
        depth = sizes["r"] * sizes["s"] * sizes["k"]
        key = (id(b.buffer), b.offset, roles.batch, roles.reduce, roles.column, width)
        if key not in self.packed:
            buffer = self.buffer(f"{root.name or root.op.name}_packed", sizes["g"] * blocks * depth * width, "float32",
                                 "prepared" if fixed else "arena")
            nest = pack_nest(roles, tile, b, buffer)
            (self.prepare if fixed else launches).append(self.launch("pack", nest, (root,)))
            self.packed[key] = Access(buffer, 0, (), "float32")
        return replace(tile.b, buffer=self.packed[key].buffer, offset=0)


def is_heavy(roles: Roles) -> bool:
    """Whether repacking B costs as much as multiplying with it: it is large, and used for few rows."""
    packed = 4 * prod(axis.size for axis in (*roles.batch, *roles.reduce, roles.column))
    return packed > HEAVY and prod(axis.size for axis in roles.rows) <= FEW


def remap(access: Access, problem: Problem) -> Access:
    """An epilogue operand over the axes of a problem."""
    strides, offset = [0] * len(problem.axes), access.offset
    for axis, stride in enumerate(access.strides):
        index = problem.mapping[axis]
        offset += stride * index.constant
        for a, c in index.terms:
            strides[a] += stride * c
    return replace(access, offset=offset, strides=tuple(strides))


def label(group: Group) -> str:
    """A kernel's name: its operators in order, the main one first."""
    names = [n.op.name for n in group.index]
    if group.anchor is not None:
        names = [group.anchor.op.name, *(x for x in names if x != group.anchor.op.name)]
    return "_".join(dict.fromkeys(names))[:60]
