"""schedule(graph) -> Plan: nodes become groups, groups launches, launches a plan, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from ..graph.ir import Graph, Node, Parameter
from ..graph.placement import rank_of
from .chains import find_chains
from .empty import without_empty
from .fusion import absorb as absorbing
from .fusion import form as forming
from .fusion import recompute as recomputing
from .fusion import siblings
from .fusion.group import Group, Slot
from .fusion.state import Fusion
from .indexing.accesses import is_row_major
from .launches import ahead
from .launches import bundle as bundling
from .launches.devices import crossings, device_names
from .launches.order import order_groups, waits
from .launches.side_by_side import side_by_side
from .launches.sums import at_sums, note_sums
from .lower.groups import lower as lower_group
from .lower.lowerer import Lowerer
from .memory.arena import place_buffers
from .memory.fixed import fixed_nodes, is_fixed, make_temporary, unchanging
from .memory.layout import Layout
from .memory.memory import Memory
from .memory.stores import sources, store_outputs, store_values
from .memory.updates import order_updates
from .messages import Exchange
from .records.lowered import Launches
from .records.plan import Chain, Launch, Loop, Plan, Repeat, Transfer
from .records.steps import OPTIONAL
from .records.target import PlainTarget, Target
from .records.work import Location

Watch = Callable[[str, "Planning"], None]


def schedule(
    graph: Graph,
    updates: Sequence[Parameter] = (),
    parameters: Sequence[Parameter] | None = None,
    target: Target | None = None,
    without: Set[str] = frozenset(),
    conv: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Plan:
    """Plans a graph whose last ``len(updates)`` outputs are the new values of these parameters.

    Args:
        parameters: buffers of parameters are numbered in this order, by default the graph's own.
        target: the processor; by default one about which nothing is known.
        without: steps that are left out, of ``OPTIONAL``; ``fuse``: no two nodes share a kernel;
            ``contract``: products are plain loops.
        conv: overrules how convolutions are computed: by name, "" for all others.
        watch: called after every step, with its name and the planning so far.
    """
    numbered = graph.parameters if parameters is None else parameters
    planning = Planning(
        without_empty(graph),
        tuple(updates),
        tuple(dict.fromkeys((*numbered, *updates))),
        target or PlainTarget(),
        frozenset(without),
        conv or {},
    )
    planning.run(STEPS, watch)
    return planning.plan


@dataclass(eq=False)
class Planning:
    """A graph that is being planned: what the steps read and write.

    Attributes:
        graph: its last outputs are the new values of ``updates``.
        parameters: in the order in which their buffers are numbered.
        memory: buffers, and where values are stored.
        invariant: inputs of a loop's body that are the same in every step.
        fusion: the groups, once they are formed.
        order: of the groups, in which they may run.
        fixed: nodes whose values stay between runs.
        launches: of a run and of its preparation; ``loops``: which of them are repeated,
            ``chains``: which may run slice by slice.
        messages: between ranks, where devices are of ranks.
        plan: the result.
    """

    graph: Graph
    updates: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    target: Target
    without: frozenset[str]
    conv: Mapping[str, str]
    memory: Memory = field(default_factory=Memory)
    invariant: Set[Node] = frozenset()
    remarks: list[str] = field(default_factory=list)
    fusion: Fusion = field(init=False)
    order: list[Group] = field(default_factory=list)
    fixed: Set[Node] = frozenset()
    launches: Launches = field(default_factory=Launches)
    loops: list[Loop] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    messages: Exchange | None = None
    plan: Plan = field(init=False)

    def run(self, steps: Sequence[Callable[[Planning], None]], watch: Watch | None = None) -> None:
        """Runs the steps that are not left out."""
        left_out = self.without.intersection(OPTIONAL)
        for step in steps:
            if step.__name__ not in left_out:
                step(self)
                if watch is not None:
                    watch(step.__name__, self)

    def layout(self) -> Layout:
        return Layout(self.graph, self.fusion, self.memory, self.fixed, self.target)

    def body(
        self,
        graph: Graph,
        updates: Sequence[Node],
        locations: Mapping[Node | Slot, Location],
        invariant: Set[Node],
    ) -> Launches:
        """The launches of a loop's body; ``locations`` are those of its inputs and outputs."""
        memory = self.memory.of_body(locations)
        inner = Planning(
            graph, tuple(updates), (), self.target, self.without, self.conv, memory, invariant
        )
        inner.run(BODY)
        self.remarks += inner.remarks
        self.fusion.refused += inner.fusion.refused
        return inner.launches


# ---------------------------------------------------------------------- the steps


def form_groups(p: Planning) -> None:
    given = p.memory.locations.items()
    p.fusion = Fusion(
        p.graph,
        enabled="fuse" not in p.without,
        contract="contract" not in p.without,
        bytes=p.target.packs,
        scattered={n for n, at in given if isinstance(n, Node) and not is_row_major(at, n.shape)},
    )
    forming.form(p.fusion)


def absorb(p: Planning) -> None:
    if p.fusion.enabled:
        absorbing.absorb(p.fusion, unchanging(p.graph, p.fusion, set(p.updates), p.invariant))


def recompute(p: Planning) -> None:
    if p.fusion.enabled:
        recomputing.recompute(p.fusion)


def join_siblings(p: Planning) -> None:
    if p.fusion.enabled:
        siblings.join_siblings(p.fusion)


def store(p: Planning) -> None:
    sources(p.memory, p.graph, p.parameters)
    fixed = unchanging(p.graph, p.fusion, set(p.updates), p.invariant)
    store_outputs(p.memory, p.graph, p.updates, p.fusion, fixed)
    before = order_updates(p.fusion, p.updates)
    store_values(p.fusion)
    p.fixed = fixed_nodes(p.graph, p.fusion, p.updates, p.invariant)
    p.order = order_groups(p.fusion, before)


def lower(p: Planning) -> None:
    lowerer = Lowerer(
        p.graph,
        p.updates,
        p.fusion,
        p.layout(),
        p.memory,
        p.fixed,
        p.target,
        p.conv,
        p.body,
        p.remarks,
    )
    for group in p.order:
        made, fixed = lower_group(lowerer, group), is_fixed(group, p.fixed)
        for launch in () if fixed else made.run:
            launch.put(group.device)
        p.launches.extend(made, fixed)
    p.launches.run, p.launches.late = at_sums(p.launches.run)


def release(p: Planning) -> None:
    make_temporary(p.memory.buffers, [*p.launches.run, *itertools.chain(*p.launches.late)])


def bundle(p: Planning) -> None:
    p.launches.prepare = bundling.bundle(p.launches.prepare, p.target)
    p.launches.run = [bundled_step(x, p.target) for x in p.launches.run]
    if not p.fusion.devices:
        p.launches.run = bundling.bundle(p.launches.run, p.target)
        p.launches.late = [bundling.bundle(x, p.target) for x in p.launches.late]


def bundled_step(launch: Launch, target: Target) -> Launch:
    """A loop with the launches of its step bundled; any other launch itself."""
    if isinstance(launch.work, Repeat):
        step = bundling.bundle(list(launch.work.launches), target)
        launch.work = Repeat(tuple(step), launch.work.length)
        launch.put(launch.device)
    return launch


def exchange(p: Planning) -> None:
    devices = device_names(p.graph)
    if devices and rank_of(devices[0]) is not None:
        p.messages = Exchange(devices, p.memory)
        p.launches.run = p.messages.among([*p.launches.run, *itertools.chain(*p.launches.late)])
        p.launches.late = []


def order(p: Planning) -> None:
    p.launches.run += itertools.chain(*p.launches.late)
    if p.fusion.devices:
        p.launches.run = side_by_side(p.launches.run, p.target)
    p.launches.run, p.loops = spread(p.launches.run)
    waits(p.launches.prepare)
    waits(p.launches.run, p.loops)
    note_sums(p.launches.run, p.target)


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


def chain(p: Planning) -> None:
    if not p.fusion.devices and not p.loops:
        p.chains = find_chains(p.launches.run, p.target.near)


def allocate(p: Planning) -> None:
    made = p.launches
    p.plan = Plan(
        p.graph.name,
        p.memory.buffers,
        made.prepare,
        made.run,
        p.loops,
        p.chains,
        constants=p.memory.constants,
        devices=device_names(p.graph),
        transfers=p.messages.transfers if p.messages else transfers(p),
        holders={n: tuple(sorted(r)) for n, r in p.messages.holders.items()} if p.messages else {},
        stored=stored(p),
        remarks=p.remarks,
        refused=p.fusion.refused,
    )
    place_buffers(p.plan)


def transfers(p: Planning) -> list[Transfer]:
    """The values that cross from one device to another."""
    layout = p.layout()
    return [
        Transfer(x, layout.of(p.fusion.root(x)).buffer, source, target)
        for (x, target), source in crossings(p.fusion, p.fixed).items()
    ]


def stored(p: Planning) -> list[tuple[Node, Location]]:
    """The values that are in memory once the launches have run."""
    outputs, count = p.graph.outputs, len(p.graph.outputs) - len(p.updates)
    found = []
    for n, at in p.memory.locations.items():
        if isinstance(n, Slot):
            found.append((outputs[n.number + count * (n.kind == "update")], at))
        elif at.buffer.home in ("arena", "prepared", "temporary", "output"):  # no view of a source
            found.append((n, at))
    layout = p.layout()
    return [*found, *((n, layout.of(n)) for n in p.fusion.housed)]


def fetch_ahead(p: Planning) -> None:
    ahead.fetch_ahead(p.plan, p.target.prefetch)


STEPS: tuple[Callable[[Planning], None], ...] = (
    form_groups,  # each node joins the group of one of its inputs, or has one of its own
    absorb,  # element-wise groups move into the only other group that reads them
    recompute,  # cheap values are computed again in every reader where that moves fewer bytes
    join_siblings,  # groups that read the same values over the same axes become one
    store,  # what each group stores; parameters are overwritten after all that read them
    lower,  # groups become launches: contractions, nests, templates, loops
    release,  # values that only prepare others do not stay
    bundle,  # small independent launches go out as one
    exchange,  # what crosses from rank to rank goes in messages
    order,  # side by side on several devices; what each launch waits for
    chain,  # launches that treat images apart may run one image after the other
    allocate,  # buffers of the arena share memory where they are not live at once
    fetch_ahead,  # launches fetch weights for later ones into the cache
)
BODY = STEPS[: STEPS.index(lower) + 1]  # of a loop's body, whose launches its loop orders
assert {*OPTIONAL} <= {step.__name__ for step in STEPS}
