"""From a group of nodes to a loop nest with every access resolved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

from ..ir import Node
from ..op import Index, Kind
from .body import Statement
from .group import Fusion, Group, Store, element_reads, is_gather, loops_of
from .index import Guard as Condition
from .index import Indices, Leaf, is_view, pull, read, substitute
from .plan import Access, Fold, Guard, Load, Nest, Place, Position, Put, Stage, Step


class Places(Protocol):
    def of(self, n: Node) -> Place: ...


@dataclass(slots=True)
class Scope:
    """Steps at one level of the nest, and the names that are known there."""

    steps: list[Step]
    names: dict[Node, str]


def depths(fusion: Fusion, group: Group) -> dict[Node, int]:
    """How many reductions of the group must be complete before a node is."""
    depth: dict[Node, int] = {}
    for n in group.index:
        below = (
            [depth.get(fusion.root(i), 0) for i in n.inputs] if n.op.kind is not Kind.SOURCE else []
        )
        depth[n] = max(below, default=0) + (n in fusion.reduction_axes and not group.copy)
    return depth


class NestBuilder:
    """Evaluates the nodes of a group within its axes; each value once per level and stage."""

    def __init__(self, fusion: Fusion, group: Group, places: Places):
        self.fusion, self.group, self.places = fusion, group, places
        self.operands: list[Access] = []
        self.outer, self.inner = Scope([], {}), Scope([], {})
        self.counter = 0

    def build(self, stores: list[tuple[Store, Place]], accumulator: str | None = None) -> Nest:
        """The nest, its axes still in the group's order; ``accumulator`` names an anchor's sum that
        others compute.
        """
        group = self.group
        depth = depths(self.fusion, group)
        stages = []
        for level in range(max(depth.values()) + 1):
            self.outer = Scope([] if level else self.outer.steps, self.outer.names)
            self.inner = Scope([], {})
            for n in group.index:
                if n is group.anchor and accumulator:
                    self.outer.names[n] = accumulator
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
        """The name of ``n``'s element at ``indices``, computed or loaded where it is not known yet.
        """
        leaf = self.fusion.pull(n, indices, self.group.axes)
        assert leaf is not None, f"{n!r} cannot be read here"
        root = leaf.root
        if root not in self.group.index or self.group.copy:
            return self.load(leaf)
        scope = self.level(self.group.index[root])
        if root in self.outer.names:
            return self.outer.names[root]
        if root not in scope.names:
            scope.names[root] = self.compute(root, scope)
        return scope.names[root]

    def compute(self, n: Node, scope: Scope) -> str:
        indices = self.group.index[n]
        if is_gather(n):
            return self.gather(n, indices)
        if is_view(n):
            leaf = pull(n, indices, self.group.axes, self.fusion.held - {n})
            assert leaf is not None
            return (
                self.value(leaf.root, leaf.indices)
                if leaf.root in self.group.index
                else self.load(leaf)
            )
        args = tuple(self.value(x, at) for x, at in element_reads(n, indices, self.group.axes))
        name = self.name()
        scope.steps.append(Statement(name, n.op.element(**dict(n.attrs)), args, n.dtype))
        return name

    def fold(self, n: Node) -> None:
        """One step of a reduction; its result is known in the outer level from the next stage on.
        """
        reads = loops_of(n).reads
        args = tuple(
            self.value(x, self.fusion.read_at(n, self.group, number))
            if reads[number].outside is None
            else self.guarded(n, number)
            for number, x in enumerate(n.inputs)
        )
        text = n.op.element(**dict(n.attrs))
        value = args[0]
        if text != "{0}":
            value = self.name()
            if "{r}" in text:
                text = text.replace("{r}", "{" + str(len(args)) + "}")
                args = (*args, self.position(self.flat_reduction(n), "int32", self.inner))
            self.inner.steps.append(Statement(value, text, args, n.dtype))
        result = self.name("acc")
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

    def gather(self, n: Node, indices: Indices) -> str:
        """Data at a position that is itself loaded: the position acts as one more axis of the nest.
        """
        (axis, _), *_ = loops_of(n).reads[0].gather
        ((positions, at),) = element_reads(n, indices, self.group.axes)
        picked = self.value(positions, at)
        x, rank = n.inputs[0], len(self.group.axes)
        found = [
            substitute(i, indices, self.group.axes) or Index() for i in loops_of(n).reads[0].indices
        ]
        rest, found[axis] = found[axis], Index(0, ((rank, 1),))
        leaf = self.fusion.pull(x, tuple(found), (*self.group.axes, x.shape[axis]))
        assert leaf is not None and not leaf.guards, f"{x!r} must be in memory"
        access = resolve(
            self.places.of(leaf.root), replace(leaf, guards=(Condition(rest, x.shape[axis]),)), rank
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
        if n.op.name == "constant" and n.shape == () and not leaf.guards:
            return literal(n.attr("value").data.item(), n.dtype)
        if n.op.name == "iota" and not leaf.guards:
            return self.ramp(n, leaf)
        access = resolve(self.places.of(n), leaf, len(self.group.axes))
        return self.emit_load(access, self.level((*leaf.indices, *(g.index for g in leaf.guards))))

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

    def store(self, store: Store, place: Place, value: str) -> None:
        operand = self.operand(
            resolve(place, Leaf(store.value, store.indices), len(self.group.axes))
        )
        self.level(self.group.index[store.value]).steps.append(Put(operand, value))


def resolve(place: Place, leaf: Leaf, rank: int) -> Access:
    """An access in the ``rank`` axes of a nest: indices melt into offset and strides, guards keep
    their own stride.
    """
    offset, strides = place.offset, [0] * (rank + len(leaf.guards))
    for index, stride in zip(leaf.indices, place.strides, strict=True):
        offset += index.constant * stride
        for a, c in index.terms:
            strides[a] += c * stride
    guards = tuple(Guard(g.index, g.size, strides[rank + k]) for k, g in enumerate(leaf.guards))
    return Access(place.buffer, offset, tuple(strides[:rank]), place.dtype, guards, leaf.outside,
                  place.step)  # fmt: skip


def literal(value: float | int | bool, dtype: str) -> str:
    """A constant as kernel text."""
    text = repr(value)
    return f"bool_({value})" if dtype == "bool" else f"{dtype}({text})"


# ------------------------------------------------------------------ order and shape of the loops


def arrange(nest: Nest) -> Nest:
    """Orders the axes by the strides of what is read most, joins axes that all accesses run through
    as one.
    """
    rank = len(nest.axes)
    outputs = [a for a in range(rank) if a not in nest.reduce and nest.axes[a] > 1]
    reduces = [a for a in nest.reduce if nest.axes[a] > 1]
    key = stride_order(nest)
    outputs, reduces = sorted(outputs, key=key), sorted(reduces, key=key)
    pinned = pinned_axes(nest)
    outputs, sizes = collapse(outputs, nest, pinned)
    reduces, more = collapse(reduces, nest, pinned)
    sizes |= more
    order = outputs + reduces
    nest = permute(nest, order, sizes, len(outputs))
    nest = replace(nest, style=style(nest))
    return replace(nest, block=block_of(nest)) if nest.style == "column" else nest


def stride_order(nest: Nest) -> Callable[[int], tuple[int, int]]:
    """Sort key for axes, outermost first: as the operands lie whose contiguous axis most others
    share.
    """
    rank = len(nest.axes)
    strides = [full_strides(o, rank) for o in nest.operands]
    spans = [prod(n for n, s in zip(nest.axes, found, strict=True) if s) for found in strides]
    innermost = [contiguous_output(found, nest) for found in strides]

    def sharing(number: int) -> int:
        return sum(s[innermost[number]] == 1 for s in strides) if innermost[number] >= 0 else 0

    widest = max(spans, default=0)
    wide = {o for o, span in enumerate(spans) if span == widest or o in written_operands(nest)}
    ranked = sorted(range(len(strides)), key=lambda o: (o not in wide, -sharing(o), -spans[o], o))

    def key(axis: int) -> tuple[int, int]:
        main = next((abs(strides[o][axis]) for o in ranked if strides[o][axis]), 0)
        return (-main, axis)

    return key


def written_operands(nest: Nest) -> set[int]:
    return {
        s.operand
        for stage in nest.stages
        for s in (*stage.outer, *stage.inner)
        if isinstance(s, Put)
    }


def contiguous_output(strides: list[int], nest: Nest) -> int:
    """The output axis along which an operand is contiguous; -1 if there is none."""
    found = [
        a for a, s in enumerate(strides) if s == 1 and a not in nest.reduce and nest.axes[a] > 1
    ]
    return found[0] if found else -1


def full_strides(access: Access, rank: int) -> list[int]:
    """Strides including those of guarded axes."""
    strides = list(access.strides)
    for g in access.guards:
        for a, c in g.index.terms:
            if g.load is None:
                strides[a] += max(1, abs(c) * g.stride // g.index.divisor) if g.stride else 0
    return strides


def pinned_axes(nest: Nest) -> set[int]:
    """Axes that appear by themselves, in guards or positions, and so cannot be joined with others.
    """
    pinned = {a for o in nest.operands for g in o.guards for a, _ in g.index.terms}
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    return pinned | {a for s in steps if isinstance(s, Position) for a, _ in s.index.terms}


def collapse(order: list[int], nest: Nest, pinned: set[int]) -> tuple[list[int], dict[int, int]]:
    """Joins an axis with the next inner one where every access allows it; the inner axis stands for
    both.
    """
    sizes = {a: nest.axes[a] for a in order}
    kept: list[int] = []
    for inner in order:
        while (
            kept
            and not {kept[-1], inner} & pinned
            and all(o.strides[kept[-1]] == o.strides[inner] * sizes[inner] for o in nest.operands)
        ):
            sizes[inner] *= sizes.pop(kept.pop())
        kept.append(inner)
    return kept, sizes


def permute(nest: Nest, order: list[int], sizes: dict[int, int], outputs: int) -> Nest:
    """The nest over the axes ``order`` of its own."""
    new = {a: i for i, a in enumerate(order)}

    def moved(index: Index) -> Index:
        return replace(index, terms=tuple(sorted((new[a], c) for a, c in index.terms if a in new)))

    operands = tuple(
        replace(o, strides=tuple(o.strides[a] for a in order),
                guards=tuple(replace(g, index=moved(g.index)) for g in o.guards))
        for o in nest.operands
    )  # fmt: skip

    def moved_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(
            replace(s, index=moved(s.index)) if isinstance(s, Position) else s for s in steps
        )

    stages = tuple(Stage(moved_steps(s.outer), moved_steps(s.inner)) for s in nest.stages)
    axes = tuple(sizes[a] for a in order)
    return Nest(axes, tuple(range(outputs, len(order))), operands, stages)


LITERAL = 32  # steps; a shorter reduction is unrolled within a contiguous output axis


def style(nest: Nest) -> str:
    """Which loop is innermost: the reduction, or the last output axis around an unrolled or blocked
    reduction.
    """
    if not nest.reduce or len(nest.reduce) == len(nest.axes):
        return "row"
    last = nest.reduce[0] - 1
    rank = len(nest.axes)
    reads = [
        s for s in (full_strides(o, rank) for o in nest.operands) if any(s[a] for a in nest.reduce)
    ]
    main = max(
        reads, key=lambda s: prod(n for n, x in zip(nest.axes, s, strict=True) if x), default=None
    )
    if main is None or all(s[last] != 1 for s in reads):
        return "row"
    if prod(nest.axes[a] for a in nest.reduce) <= LITERAL:
        return "literal"
    return "column"


def block_of(nest: Nest) -> int:
    """Columns that are worked on at a time: whole vectors, blocks enough for several threads, and
    no remainder if that can be.
    """
    first = nest.reduce[0]
    columns = nest.axes[first - 1]
    most = 64 if first > 1 or columns >= 256 else 32 if columns >= 64 else 16
    return next((b for b in (64, 32, 16) if b <= most and columns % b == 0), min(most, 32))
