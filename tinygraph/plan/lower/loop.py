"""Where the values of a loop are stored: what its body reads and writes, from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...graph.dtype import DTYPES
from ...graph.ir import Graph, Node
from ...graph.op import Kind
from ...ops.loop import LoopRoles
from ..fusion.group import Group, Slot
from ..indexing.accesses import row_major
from ..memory.layout import row_gap
from ..memory.stores import is_aliased
from ..nests.arrange import copy_nest
from ..records.lowered import Declined, Launches
from ..records.plan import Launch, Repeat
from ..records.work import Access, Location
from .lowerer import Lowerer, Stores


@dataclass
class Frame:
    """The surroundings of a loop's body.

    A history is an array of ``length + 1`` values: a step reads one and writes the next. A carry
    whose history is never read has one location, which is overwritten as parameters are.

    Attributes:
        graph: the body; its last outputs are new values of the carries ``updates``.
        locations: of the body's inputs and outputs.
        invariant: inputs that are the same in every step.
        results: where the loop's results are stored.
        initial: launches that bring the first values of the carries into place.
    """

    graph: Graph
    updates: tuple[Node, ...]
    length: int
    invariant: frozenset[Node]
    locations: dict[Node | Slot, Location] = field(default_factory=dict)
    results: dict[Node | Slot, Location] = field(default_factory=dict)
    initial: list[Launch] = field(default_factory=list)

    @staticmethod
    def of(s: Lowerer, n: Node) -> Frame:
        """The frame of loop ``n`` in the graph that ``s`` plans."""
        loop = LoopRoles.of(n)
        kept = [k for k, keep in enumerate(loop.kept) if keep]
        updated = [k for k, keep in enumerate(loop.kept) if not keep]
        outputs = (*loop.outs, *(loop.after[k] for k in (*kept, *updated)))
        takes = (*loop.carries, *loop.slices, *loop.captured)
        frame = Frame(
            Graph(loop.name, takes, outputs),
            tuple(loop.carries[k] for k in updated),
            loop.length,
            frozenset(loop.captured),
        )
        items = {user.attr("index"): user for user in s.graph.users[n]}
        histories = [frame.carry(s, loop, k, len(loop.outs)) for k in range(len(loop.carries))]
        stacks = [
            frame.out(s, loop, k, items.get(len(histories) + k)) for k in range(len(loop.outs))
        ]
        for index, user in items.items():
            frame.results[user] = (*histories, *stacks)[index]
        last = loop.length - 1 if loop.reverse else 0
        sign = -1 if loop.reverse else 1
        for inner, outer in zip(loop.slices, loop.sequences, strict=True):
            whole = s.located(outer)
            axis, *strides = whole.strides
            frame.locations[inner] = Location(
                whole.buffer, whole.offset + last * axis, tuple(strides), whole.dtype, sign * axis
            )
        for inner, outer in zip(loop.captured, loop.given, strict=True):
            whole = s.located(outer)
            frame.locations[inner] = Location(
                whole.buffer, whole.offset, whole.strides, whole.dtype
            )
        return frame

    def out(self, s: Lowerer, loop: LoopRoles, k: int, result: Node | None) -> Location:
        """Memory for out k of all steps, which is the loop's ``result``; the place of the whole."""
        n = loop.outs[k]
        dense = result is not None and is_aliased(s.fusion, result)
        gap = 0 if dense else row_gap(n.shape, n.dtype, s.target.copying)
        size, *inner = strides = row_major((loop.length, *n.shape), gap)
        buffer = s.memory.buffer(n.name or n.op.name, loop.length * size, n.dtype, "arena")
        buffer.gap = gap * DTYPES[n.dtype].bytes
        first = (loop.length - 1) * size if loop.reverse else 0
        step = -size if loop.reverse else size
        self.locations[Slot("output", k)] = Location(buffer, first, tuple(inner), n.dtype, step)
        return Location(buffer, 0, strides, n.dtype)

    def carry(self, s: Lowerer, loop: LoopRoles, k: int, outs: int) -> Location:
        """Memory for carry k, its first value in place; the place of the result."""
        n, size, keep = loop.carries[k], loop.carries[k].type.size, loop.kept[k]
        count = loop.length + 1 if keep else 1
        buffer = s.memory.buffer(loop.after[k].name or f"carry{k}", count * size, n.dtype, "arena")
        step = (-size if loop.reverse else size) if keep else 0
        first = loop.length * size if keep and loop.reverse else 0
        place = Location(buffer, first, row_major(n.shape), n.dtype, step)
        self.locations[n] = place
        if keep:
            slot = Slot("output", outs + sum(loop.kept[:k]))
            self.locations[slot] = Location(buffer, first + step, place.strides, n.dtype, step)
        source = s.located(loop.initial[k])
        target = Access(buffer, first, place.strides, n.dtype)
        if size:
            self.initial.append(s.nest("copy", copy_nest(n.shape, source, target), (n,)))
        return Location(buffer, 0, row_major((count, *n.shape) if keep else n.shape), n.dtype)


def loop(s: Lowerer, group: Group, stores: Stores) -> Launches | Declined:
    """The launches of a step, planned once by a planner of the body's own, which knows where the
    values are that come in and go out.
    """
    n = group.opaque
    if n is None or n.op.kind is not Kind.LOOP:
        return Declined("it is not a loop")
    frame = Frame.of(s, n)
    body = s.plan_body(frame.graph, frame.updates, frame.locations, frame.invariant)
    s.memory.locations.update(frame.results)
    made = hoisted(s, body.prepare)
    made.run += frame.initial
    made.run.append(Launch(n.op.name, Repeat(tuple(body.run), frame.length), (n,)))
    return made


def hoisted(s: Lowerer, launches: list[Launch]) -> Launches:
    """Moves what is the same in every step before the loop; with the prepared values, if it depends
    on nothing else than they do.
    """
    changing = {id(s.memory.locations[p].buffer) for p in s.updates}
    made = Launches()
    for launch in launches:
        writes = launch.writes
        reads = [a.buffer for i, a in enumerate(launch.accesses) if i not in writes]
        fixed = all(
            b.home in ("constant", "prepared", "scratch")
            or (b.home == "parameter" and id(b) not in changing)
            for b in reads
        ) and all(launch.accesses[i].buffer.home == "prepared" for i in writes)
        for i in writes if not fixed else ():
            launch.accesses[i].buffer.home = "arena"
        made.add(launch, fixed)
    return made
