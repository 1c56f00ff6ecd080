"""The nodes of all stages as numbered items; a node that a pass leaves as it was keeps its number.

An item is a line of a graph's dump: ``conv2d(x, w, b)`` is one, though it stands for six nodes. The
items of a loop's body are those of the graph around it, before the loop itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph.dump import SOURCES, inline, literal
from ..graph.ir import Graph, Node, Parameter, same, same_nodes
from ..graph.op import CONSTANT, INPUT
from ..graph.origins import Origin, origins
from ..graph.short import ShortCall, Written
from ..graph.twins import Changes, changes
from ..inspect.record import Snapshot
from ..inspect.words import is_update

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"


@same_nodes
@dataclass(frozen=True, slots=True)
class StageLine:
    """A node with a line of its own.

    Attributes:
        operands: as nodes of the graph around the loops that it is in.
        steps: how often it runs.
    """

    node: Node
    call: ShortCall
    operands: tuple[Node, ...]
    steps: int


def lines(
    graph: Graph, outer: Mapping[Node, Node] | None = None, steps: int = 1
) -> Iterator[tuple[StageLine, Mapping[Node, Node]]]:
    """The lines of a graph and of its loops' bodies, each with the nodes that it also stands for.

    ``outer``: what the inputs of a body stand for.
    """
    known = dict(outer or {})
    written = Written(graph)
    shown = written.shown
    for n, call in written.calls.items():
        made = tuple(resolved(x, shown, known) for x in call.operands)
        for body in n.bodies:
            around = dict(zip(body.inputs, (resolved(x, shown, known) for x in n.inputs),
                              strict=True))  # fmt: skip
            yield from lines(body, around, steps * n.attr("length", 1))
            made += tuple(resolved(o, Written(body).shown, around) for o in body.outputs)
        yield StageLine(n, call, made, steps), {m: n for m, line in shown.items() if line is n}


def resolved(n: Node, shown: Mapping[Node, Node], outer: Mapping[Node, Node]) -> Node:
    """The node whose line, or whose declaration, a node is found at."""
    n = shown.get(n, n)
    return outer.get(n, n)


def part(places: Sequence[Origin]) -> str:
    """Whether nodes of these origins belong to the forward or backward part, or to an update."""
    if places and all(is_update(o.call) for o in places):
        return UPDATE
    plain = [o for o in places if not is_update(o.call)]
    return BACKWARD if plain and all(o.how for o in plain) else FORWARD


class Items:
    """All items of a program, over all its stages.

    Attributes:
        table: what is known of each item, by number.
        stages: for each step of the compilation, its lines with their items' numbers.
        changes: for each step, what differs from the one before.
        known: the origins that items refer to, by number; ``places`` has their numbers.
        last: for each node of the optimized graph, the item that shows it.
    """

    def __init__(self, steps: Sequence[Snapshot]):
        self.table: list[dict[str, Any]] = []
        self.places: dict[Origin, int] = {}
        self.known: list[Origin] = []
        self.stages: list[dict[int, StageLine]] = []
        self.whole: list[dict[Node, int]] = []
        self.layers: dict[Node, str] = {}
        self.graph: Graph | None = None
        self.changes: list[Changes] = []
        self.parameters = {p.name for step in steps[:1] for p in step.graph.parameters}
        for step in steps:
            self.add(step.graph)
        self.last = self.whole[-1]
        self.forms: dict[Node, list[int]] = {}
        self.operands: dict[int, list[int]] = {}
        self.readers: dict[int, list[int]] = {}
        for number, line in self.stages[-1].items():
            for n in line.call.inner:
                self.forms.setdefault(n, []).append(number)
            self.operands[number] = [self.last[x] for x in line.operands if x in self.last]
            for k in self.operands[number]:
                self.readers.setdefault(k, []).append(number)
        self.written: dict[Origin, list[int]] = {}
        for number in self.stages[0]:
            for origin in self.origins(number):
                self.written.setdefault(origin, []).append(number)
        for number in set().union(*self.stages) - self.stages[0].keys():
            self.table[number]["from"] = self.ancestors(number)

    # ------------------------------------------------------------------ numbers

    def add(self, graph: Graph) -> None:
        """Numbers the lines of a stage: the number of a line's twin in the one before, else a new
        one.
        """
        if self.graph and same(graph.outputs, self.graph.outputs):  # equal graphs, the same nodes
            self.stages.append(self.stages[-1])
            self.whole.append(self.whole[-1])
            self.changes.append(self.changes[-1])
            return
        before = self.whole[-1] if self.whole else {}
        change = changes(self.graph or graph, graph)
        self.changes.append(change)
        self.graph = graph
        mine: dict[Node, int] = {}
        stage: dict[int, StageLine] = {}
        for line, others in lines(graph):
            n = line.node
            twin = change.twins.get(n) if before else None
            mine[n] = self.new(line) if twin is None else before[twin]
            if twin is not None:
                self.also(mine[n], n)
            self.layers[n] = self.table[mine[n]]["scope"]
            stage[mine[n]] = line
            mine |= dict.fromkeys(others, mine[n])
        for n in graph.everywhere:
            if n.op in SOURCES and n not in mine:
                mine[n] = before[n] if n in before else self.source(n)
        self.stages.append(stage)
        self.whole.append(mine)

    def new(self, line: StageLine) -> int:
        n = line.node
        attrs = ", ".join(f"{k}={literal(v)}" for k, v in line.call.attrs)
        record = self.described(n, line.call.name) | {"steps": line.steps}
        if record["part"] == UPDATE and not record["scope"]:
            record["scope"] = self.updated(line)
        return self.put(record | ({"attrs": attrs} if attrs else {}))

    def also(self, number: int, n: Node) -> None:
        """Notes where a node comes from that is the twin of an item."""
        record = self.table[number]
        record["places"] = list(dict.fromkeys((*record["places"], *map(self.place, origins(n)))))

    def updated(self, line: StageLine) -> str:
        """The layer of the parameter that an update is about, as far as its operands tell."""
        for x in line.operands:
            if isinstance(x, Parameter) and x.name and "." in x.name:
                name = x.name
                while "." in name and name.partition(".")[2] in self.parameters:
                    name = name.partition(".")[2]  # an optimizer's state, as momentum.conv1.weight
                return name.rpartition(".")[0]
        known = self.layers
        return next((known[x] for x in line.operands if known.get(x)), "")

    def source(self, n: Node) -> int:
        """An input, a parameter or a constant."""
        label = inline(n.attr("value")) if n.op is CONSTANT else n.name or "_"
        return self.put(self.described(n, n.op.name) | {"source": label})

    def described(self, n: Node, op: str) -> dict[str, Any]:
        found = () if n.op in SOURCES and n.op is not INPUT else origins(n)
        scope = next((o.scope for o in found if o.scope), "")
        record: dict[str, Any] = {"op": op, "type": str(n.type), "scope": scope}
        record |= {"part": part(found), "places": [self.place(o) for o in found]}
        call = next((o.call for o in found if o.call), "")
        return record | ({"call": call} if call not in ("", op) else {})

    def put(self, record: dict[str, Any]) -> int:
        self.table.append(record)
        return len(self.table) - 1

    def place(self, origin: Origin) -> int:
        if origin not in self.places:
            self.places[origin] = len(self.known)
            self.known.append(origin)
        return self.places[origin]

    # ------------------------------------------------------------------ relations

    def origins(self, number: int) -> list[Origin]:
        return [self.known[k] for k in self.table[number]["places"]]

    def ancestors(self, number: int) -> list[int]:
        """The items, as written, that come from the same lines by the same calls: those of the same
        operator if there are some.
        """
        found = dict.fromkeys(k for o in self.origins(number) for k in self.written.get(o, ()))
        alike = [k for k in found if self.table[k]["op"] == self.table[number]["op"]]
        return alike or list(found)

    def of(self, nodes: Sequence[Node]) -> list[int]:
        """The items that show nodes of the optimized graph, or that stand for them among others."""
        found: dict[int, None] = {}
        for n in nodes:
            mine = [self.last[n]] if n in self.last else self.forms.get(n, ())
            found |= dict.fromkeys(mine)
        if all("source" in self.table[k] for k in found):  # a copy of a parameter, for its readers
            found |= dict.fromkeys(r for k in found for r in self.readers.get(k, ()))
        return list(found)

    def nearest(self, computed: Container[int]) -> None:
        """Notes for each item of the optimized graph that no kernel names (views, parts of one
        value side by side, numbers that are counted) those near it that kernels do name: its
        readers, else what it is made of.
        """
        for number in self.stages[-1]:
            if number not in computed:
                ways = (self.readers, self.operands)
                found = next(filter(None, (reach(number, way, computed) for way in ways)), [])
                self.table[number]["near"] = found


def reach(start: int, way: Mapping[int, Sequence[int]], computed: Container[int]) -> list[int]:
    """The first items on all ways from one that are computed."""
    found: list[int] = []
    stack, seen = [start], {start}
    while stack:
        for k in way.get(stack.pop(), ()):
            if k in computed:
                found.append(k)
            elif k not in seen:
                stack.append(k)
            seen.add(k)
    return list(dict.fromkeys(found))
