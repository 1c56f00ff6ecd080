"""From a group of nodes to a loop nest with every access resolved."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...graph.dtype import DTYPES, widened
from ...graph.ir import Node
from ...graph.op import CONSTANT, Index
from ...ops.source import IOTA
from ..fusion.group import Group, Write
from ..fusion.state import Fusion
from ..indexing.accesses import resolve
from ..indexing.index import Condition, Indices, Leaf, is_view, pull, read, substitute
from ..indexing.reads import element_reads, is_gather, loops_of
from ..records.body import Statement
from ..records.work import Access, Fold, Load, Location, Nest, NestStatement, Position, Put, Stage

Asks = Generator[tuple[Node, Indices], str, str]  # asks for values, and gives a name


class Locations(Protocol):
    def of(self, n: Node) -> Location: ...


@dataclass(slots=True)
class Scope:
    """Steps at one level of the nest, and the names that are known there."""

    steps: list[NestStatement]
    names: dict[Node, str]


class NestBuilder:
    """Evaluates the nodes of a group within its axes; each value once per level and stage."""

    def __init__(self, fusion: Fusion, group: Group, locations: Locations):
        self.fusion, self.group, self.locations = fusion, group, locations
        self.operands: list[Access] = []
        self.outer, self.inner = Scope([], {}), Scope([], {})
        self.counter = 0
        self.values: dict[str, Node] = {}  # what the names of the nest are elements of

    def build(
        self, stores: Sequence[tuple[Write, Location]], accumulator: str | None = None
    ) -> Nest:
        """The nest, its axes still in the group's order; ``accumulator`` names an anchor's sum that
        others compute.
        """
        group = self.group
        depth = self.fusion.depths(group)
        stages = []
        for level in range(max(depth.values()) + 1):
            self.outer = Scope([] if level else self.outer.steps, self.outer.names)
            self.inner = Scope([], {})
            for n in group.index:
                if n is group.anchor and accumulator:
                    self.outer.names[n] = accumulator
                    self.values[accumulator] = n
                elif n in self.fusion.reduction_axes and not group.copy and depth[n] == level + 1:
                    self.fold(n)
            due = [(store, place) for store, place in stores if depth[store.value] == level]
            values = [self.value(store.value, group.index[store.value]) for store, _ in due]
            for (store, place), value in zip(
                due, values, strict=True
            ):  # all loads come before the first store
                self.store(store, place, value)
            stages.append(Stage(tuple(self.outer.steps), tuple(self.inner.steps)))
        return Nest(group.axes, tuple(sorted(group.reduce)), tuple(self.operands), tuple(stages))

    def level(self, indices: Indices) -> Scope:
        inner = any(a in self.group.reduce for i in indices for a, _ in i.terms)
        return self.inner if inner else self.outer

    def name(self, prefix: str = "t") -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    # ------------------------------------------------------------------ values

    def value(self, n: Node, indices: Indices) -> str:
        """The name of ``n``'s element at ``indices``, computed or loaded if it is not known yet.

        What it is made of is asked for by a stack of its own: chains may be long.
        """
        stack, name = [self.valued(n, indices)], ""
        while stack:
            try:
                asked = stack[-1].send(name) if name else next(stack[-1])
            except StopIteration as done:
                stack.pop()
                name = done.value
            else:
                stack.append(self.valued(*asked))
                name = ""
        return name

    def valued(self, n: Node, indices: Indices) -> Asks:
        """As ``value``; yields the values that it needs before."""
        leaf = self.fusion.pull(n, indices, self.group.axes)
        assert leaf is not None, f"{n!r} cannot be read here"
        root = leaf.root
        if root not in self.group.index or self.group.copy:
            return self.load(leaf)
        scope = self.level(self.group.index[root])
        if root in self.outer.names:
            return self.outer.names[root]
        if root not in scope.names:
            scope.names[root] = yield from self.computed(root, scope)
        return scope.names[root]

    def computed(self, n: Node, scope: Scope) -> Asks:
        indices = self.group.index[n]
        if is_gather(n):
            ((positions, at),) = element_reads(n, indices, self.group.axes)
            return self.gather(n, indices, (yield positions, at), at)
        if is_view(n):
            leaf = pull(n, indices, self.group.axes, self.fusion.held - {n})
            assert leaf is not None
            if leaf.root in self.group.index:
                return (yield leaf.root, leaf.indices)
            return self.load(leaf)
        args = []
        for x, at in element_reads(n, indices, self.group.axes):
            args.append((yield x, at))
        name = self.name()
        self.values[name] = n
        scope.steps.append(Statement(name, n.op.element(n), tuple(args), n.dtype))
        return name

    def fold(self, n: Node) -> None:
        """One step of a reduction; the outer level knows its result from the next stage on."""
        reads = loops_of(n).reads
        args = tuple(
            self.value(x, self.fusion.read_at(n, self.group, number))
            if reads[number].outside is None
            else self.guarded(n, number)
            for number, x in enumerate(n.inputs)
        )
        text = n.op.element(n)
        value = args[0]
        if text != "{0}":
            value = self.name()
            if "{r}" in text:
                text = text.replace("{r}", "{" + str(len(args)) + "}")
                args = (*args, self.position(self.flat_reduction(n), "int32", self.inner))
            self.inner.steps.append(Statement(value, text, args, n.dtype))
        result = self.name("acc")
        self.values |= {result: n, value: n} if text != "{0}" else {result: n}
        self.inner.steps.append(Fold(result, n.op.fold or "sum", value, n.dtype))
        self.outer.names[n] = result

    def guarded(self, n: Node, number: int) -> str:
        """A reduction's input that it reads beyond the edges."""
        outside, x = loops_of(n).reads[number].outside, n.inputs[number]
        leaf = read(
            x,
            self.fusion.read_at(n, self.group, number),
            self.group.axes,
            outside,
            self.fusion.held,
        )
        assert leaf is not None, f"{x!r} cannot be read here"
        return self.load(leaf)

    def flat_reduction(self, n: Node) -> Index:
        """The row-major position within a reduction's own axes."""
        stride, terms = 1, []
        sizes = loops_of(n).reduce
        for size, index in zip(
            reversed(sizes), reversed(self.fusion.reduction_axes[n]), strict=True
        ):
            terms += [(a, c * stride) for a, c in index.terms]
            stride *= size
        return Index(0, tuple(sorted(terms)))

    def gather(self, n: Node, indices: Indices, picked: str, at: Indices) -> str:
        """Data at a position that is itself loaded, as ``picked`` from ``at``: it acts as one more
        axis of the nest.
        """
        (axis, _), *_ = loops_of(n).reads[0].gather
        x, rank = n.inputs[0], len(self.group.axes)
        found = [
            substitute(i, indices, self.group.axes) or Index() for i in loops_of(n).reads[0].indices
        ]
        rest, found[axis] = found[axis], Index(0, ((rank, 1),))
        leaf = self.fusion.pull(x, tuple(found), (*self.group.axes, x.shape[axis]))
        assert leaf is not None and not leaf.guards, f"{x!r} must be in memory"
        access = resolve(
            self.locations.of(leaf.root),
            replace(leaf, guards=(Condition(rest, x.shape[axis]),)),
            rank,
        )
        (guard,) = access.guards
        access = replace(access, guards=(replace(guard, load=picked),))
        return self.emit_load(access, self.level((*indices, *at)))

    def position(self, index: Index, dtype: str, scope: Scope) -> str:
        name = self.name()
        scope.steps.append(Position(name, index, dtype))
        return name

    # ------------------------------------------------------------------ memory

    def load(self, leaf: Leaf) -> str:
        n = leaf.root
        if n.op is CONSTANT and n.shape == () and not leaf.guards:
            return literal(widened(n.attr("value").data).item(), n.dtype)
        if n.op is IOTA and not leaf.guards:
            return self.ramp(n, leaf)
        access = resolve(self.locations.of(n), leaf, len(self.group.axes))
        name = self.emit_load(access, self.level((*leaf.indices, *(g.index for g in leaf.guards))))
        self.values.setdefault(name, n)
        return self.rounded(name, n, leaf) if access.dtype != n.dtype else name

    def rounded(self, name: str, n: Node, leaf: Leaf) -> str:
        """A parameter's element as the conversion that nothing stores."""
        made = self.name()
        step = Statement(made, n.op.element(n), (name,), n.dtype)
        self.level((*leaf.indices, *(g.index for g in leaf.guards))).steps.append(step)
        return made

    def ramp(self, n: Node, leaf: Leaf) -> str:
        """An index ramp is arithmetic on the loops' axes."""
        terms: dict[int, int] = {}
        constant = 0
        for index, stride in zip(leaf.indices, n.attr("strides"), strict=True):
            constant += stride * index.constant
            for a, c in index.terms:
                terms[a] = terms.get(a, 0) + c * stride
        return self.position(
            Index(constant, tuple(sorted(terms.items()))), n.dtype, self.level(leaf.indices)
        )

    def emit_load(self, access: Access, scope: Scope) -> str:
        operand = self.operand(access)
        for step in (*self.outer.steps, *scope.steps):
            if isinstance(step, Load) and step.operand == operand:
                return step.name
        name = self.name("x")
        scope.steps.append(Load(name, operand, access.dtype))
        return name

    def operand(self, access: Access) -> int:
        if access not in self.operands:
            self.operands.append(access)
        return self.operands.index(access)

    def store(self, store: Write, place: Location, value: str) -> None:
        operand = self.operand(
            resolve(place, Leaf(store.value, store.indices), len(self.group.axes))
        )
        self.level(self.group.index[store.value]).steps.append(Put(operand, value))


def literal(value: float | int | bool, dtype: str) -> str:
    """A constant as kernel text."""
    return f"{DTYPES[dtype].constructor}({value!r})"
