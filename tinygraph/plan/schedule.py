"""schedule(graph) -> Plan: groups become launches, values get places, launches an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..graph.ir import Graph, Node, Parameter
from ..graph.op import Kind
from ..graph.record import parts
from .contraction.tiling import Target
from .empty import without_empty
from .fusion.absorb import absorb
from .fusion.form import form
from .fusion.group import Group, Slot, Store
from .fusion.recompute import recompute
from .fusion.siblings import join_siblings
from .fusion.state import Fusion
from .indexing.accesses import is_row_major, ordered_strides, resolve
from .indexing.index import Leaf, own
from .indexing.phases import Heavy, Unsuitable
from .launches.ahead import fetch_ahead
from .launches.bundle import bundle
from .launches.devices import crossings, device_names
from .launches.order import order_groups, waits
from .launches.side_by_side import side_by_side
from .lower.contraction import Anchors, label
from .lower.loop import Frame
from .memory.arena import place_buffers
from .memory.updates import order_updates
from .nests.arrange import arrange, copy_nest
from .nests.builder import NestBuilder
from .records.plan import Launch, Loop, Place, Plan, Repeat, Special, Transfer
from .records.reason import Reason


def schedule(
    graph: Graph,
    updates: Sequence[Parameter] = (),
    parameters: Sequence[Parameter] | None = None,
    target: Target | None = None,
    without: frozenset[str] = frozenset(),
    conv: Mapping[str, str] | None = None,
) -> Plan:
    """Plans a graph whose last ``len(updates)`` outputs are the new values of these parameters.

    Buffers of parameters are numbered as in ``parameters``, by default the graph's own. ``conv``
    overrules how convolutions are computed: by name, "" for all others.
    """
    numbered = tuple(
        dict.fromkeys((*(graph.parameters if parameters is None else parameters), *updates))
    )
    return Scheduler(
        without_empty(graph), tuple(updates), numbered, target or Target(), without, conv or {}
    ).plan()


def spread(launches: Sequence[Launch]) -> tuple[list[Launch], list[Loop]]:
    """The launches one after the other, and which of them are repeated."""
    flat: list[Launch] = []
    loops: list[Loop] = []
    for launch in launches:
        if isinstance(launch.work, Repeat):
            first = len(flat)
            flat += launch.work.launches
            loops.append(Loop(first, len(flat), launch.work.length))
        else:
            flat.append(launch)
    return flat, loops


class Scheduler(Anchors):
    """Lowers every group, then orders and places."""

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Node, ...],
        parameters: tuple[Parameter, ...],
        target: Target,
        without: frozenset[str],
        conv: Mapping[str, str],
        places: Mapping[Node | Slot, Place] | None = None,
    ):
        given = places or {}
        fusion = Fusion(
            graph,
            enabled="fuse" not in without,
            contract="contract" not in without,
            scattered={
                n for n, p in given.items() if isinstance(n, Node) and not is_row_major(p, n.shape)
            },
        )
        form(fusion)
        if fusion.enabled:
            absorb(fusion)
            recompute(fusion)
            join_siblings(fusion)
        super().__init__(graph, updates, fusion, target, conv)
        self.parameters, self.without = parameters, without
        self.places.update(given)

    def plan(self) -> Plan:
        self.lower_all()
        self.prepare = bundle(self.prepare)
        arranged = side_by_side if self.fusion.devices else bundle
        launches, loops = spread(arranged(self.launches))
        waits(launches, loops)
        plan = Plan(
            self.graph.name, self.buffers, self.prepare, launches, loops, constants=self.constants
        )
        plan.remarks, plan.refused = self.remarks, self.fusion.refused
        plan.devices, plan.transfers = device_names(self.graph), self.transfers()
        plan.stored = self.stored()
        place_buffers(plan)
        fetch_ahead(plan)
        return plan

    def stored(self) -> list[tuple[Node, Place]]:
        """The values that are in memory once the launches have run; for ``Plan.stored``."""
        outputs, count = self.graph.outputs, len(self.graph.outputs) - len(self.updates)
        found = []
        for n, place in self.places.items():
            if isinstance(n, Slot):
                found.append((outputs[n.number + count * (n.kind == "update")], place))
            elif place.buffer.home in ("arena", "prepared", "output"):  # no view of a source
                found.append((n, place))
        return [*found, *((n, self.of(n)) for n in self.fusion.housed)]

    def lower_all(self) -> None:
        """Launches for all groups, in an order in which they may run."""
        self.sources(self.parameters)
        self.store_outputs()
        order = order_updates(self.fusion, self.updates)
        self.store_values()
        self.fixed = self.fixed_nodes()
        for group in order_groups(self.fusion, order):
            self.device, first = group.device, len(self.launches)
            self.lower(group)
            for launch in self.launches[first:]:
                launch.put(group.device)

    def loop(self, n: Node) -> None:
        """A loop's body is planned once, by a scheduler of its own that knows where the values lie
        that come in and go out.
        """
        frame = Frame.of(self, n)
        body = Scheduler(
            frame.graph, frame.updates, (), self.target, self.without, self.conv, frame.places
        )
        body.buffers, body.constants = self.buffers, self.constants
        body.invariant = frame.invariant
        body.lower_all()
        self.places.update(frame.results)
        self.remarks += body.remarks
        self.fusion.refused += body.fusion.refused
        frame.hoist(self, body.prepare)
        self.launches += frame.initial
        step = tuple(bundle(body.launches))
        self.launches.append(Launch(n.op.name, Repeat(step, frame.length), (n,)))

    def transfers(self) -> list[Transfer]:
        """What crosses from one device to another."""
        found = crossings(self.fusion, self.fixed)
        return [
            Transfer(x, self.of(self.fusion.root(x)).buffer, source, target)
            for (x, target), source in found.items()
        ]

    def lower(self, group: Group) -> None:
        if group.opaque is not None and group.opaque.op.kind is Kind.LOOP:
            self.loop(group.opaque)
            return
        group.stores = [s for s in group.stores if s.value.type.size]
        if not group.stores:
            return
        stores = [(s, self.destination(group, s)) for s in group.stores]
        launches = self.prepare if self.is_fixed(group) else self.launches
        if group.anchor is not None and self.contracted(group, stores, launches):
            return
        if group.opaque is not None:
            launches += self.special(group, stores)
            return
        nest = arrange(NestBuilder(self.fusion, group, self).build(stores))
        launches.append(self.launch(label(group), nest, tuple(group.index)))

    def contracted(
        self,
        group: Group,
        stores: list[tuple[Store, Place]],
        launches: list[Launch],
        heavy: bool = False,
    ) -> bool:
        """The group as contractions, with its epilogue or apart from it; False for plain loops."""
        try:
            launches += self.contraction(group, stores, heavy)
        except Unsuitable as why:
            if self.detached(group, stores, launches, why):
                return True
            if isinstance(why, Heavy):
                return self.contracted(group, stores, launches, heavy=True)
            self.remarks.append(f"{label(group)}: plain loops, because {why}")
            return False
        return True

    def detached(
        self,
        group: Group,
        stores: list[tuple[Store, Place]],
        launches: list[Launch],
        why: Unsuitable,
    ) -> bool:
        """The contraction into memory of its own, and its epilogue as a kernel behind it; False for
        plain loops.
        """
        anchor = group.anchor
        assert anchor is not None
        alone = replace(
            group, index={anchor: group.index[anchor]}, stores=[], swapped=isinstance(why, Heavy)
        )
        store = Store(anchor, anchor, group.index[anchor])
        kept = self.places.get(anchor)
        fresh = kept is None or alone.swapped
        if fresh:
            self.places[anchor] = self.memory_for(alone, store, anchor)
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
            launches.append(self.epilogue_alone(group, anchor, others))
            rest = (n for n in group.index if n is not anchor)
            self.fusion.refused += [(anchor, n, Reason.DETACHED) for n in rest]
            self.remarks.append(
                f"{label(group)}: its epilogue is a kernel of its own, because {why}"
            )
        return True

    def memory_for(self, group: Group, store: Store, anchor: Node) -> Place:
        """Memory of an anchor's own, in the order in which it is computed."""
        home = "prepared" if self.is_fixed(group) else "arena"
        strides = ordered_strides(anchor.shape, self.physical_order(group, store, anchor))
        name = anchor.name or anchor.op.name
        buffer = self.buffer(name, anchor.type.size, anchor.dtype, home)
        return Place(buffer, 0, strides, anchor.dtype)

    def epilogue_alone(
        self, group: Group, anchor: Node, stores: list[tuple[Store, Place]]
    ) -> Launch:
        """A group's epilogue, which reads the anchor from memory."""
        after = replace(group, axes=anchor.shape, reduce=frozenset())
        builder = NestBuilder(self.fusion, after, self)
        loaded = builder.load(Leaf(anchor, group.index[anchor]))
        nest = arrange(builder.build(stores, accumulator=loaded))
        nodes = tuple(n for n in group.index if n is not anchor) or (anchor,)
        return self.launch("_".join(dict.fromkeys(n.op.name for n in nodes)), nest, nodes)

    def special(self, group: Group, stores: list[tuple[Store, Place]]) -> list[Launch]:
        """A kernel with its own template reads whole values and writes one, which is copied to
        where else it belongs.
        """
        n = group.opaque
        assert n is not None
        operands = []
        for x in n.inputs:
            leaf = self.fusion.pull(x, own(x.shape), x.shape)
            assert leaf is not None and not leaf.guards
            operands.append(resolve(self.of(leaf.root), leaf, len(x.shape)))
        targets = [resolve(place, Leaf(n, store.indices), len(n.shape)) for store, place in stores]
        operands.append(targets[0])
        shapes = tuple(x.shape for x in (*n.inputs, n))
        copies = [
            self.launch("copy", copy_nest(n.shape, targets[0], other), (n,))
            for other in targets[1:]
        ]
        work = Special(n.op, n.attrs, shapes, tuple(operands))
        return [Launch(n.op.name, work, (n,), parts(n)), *copies]
