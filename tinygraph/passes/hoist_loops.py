"""Products that no step waits for leave their loops: one contraction for all steps.

Before a loop, what depends on its slices only: ``x_t @ w`` of all t. Behind a loop, results that no
later step reads, such as the gradients of ``x_t``; and sums over steps, such as the gradients of
weights: sum over t of ``a_t.T @ b_t`` is one product over steps and rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph.ir import Graph, Node, among, position, same, same_nodes
from ..graph.op import Kind, Stacked
from ..graph.origins import built_from, origins
from ..graph.rebuild import carry
from ..graph.rewrite import Event, is_filled, substitute
from ..ops.arithmetic import add
from ..ops.linalg import MATMUL, OUTER_SUM, swap
from ..ops.loop import ITEM, LoopRoles, dependent, fresh, reached, replaced
from ..ops.reduce import SUM
from ..ops.view import RESHAPE, TRANSPOSE, reshape
from .vectorize import vectorized, vectorizes


@same_nodes
@dataclass(frozen=True)
class Hoisted:
    """A loop that does less, and the nodes that replace the results of the old one."""

    loop: Node
    replacements: Mapping[Node, Node]


def hoist_loops(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with products before and after its loops, where they fit."""
    for rule, hoist in (("before", before), ("behind", behind)):
        for n in [n for n in graph.nodes if n.op.kind is Kind.LOOP]:
            while n in graph.users and (made := hoist(graph, n)) is not None:
                if log is not None:
                    log.append(Event(f"{rule} the loop", n, made.loop))
                graph, n = substitute(graph, made.replacements), made.loop
    return graph


def results(graph: Graph, n: Node) -> dict[int, Node]:
    """The results of a loop that are read, by number."""
    return {user.attr("index"): user for user in graph.users[n]}


# -- before the loop -------------------------------------------------------------------------------


def before(graph: Graph, n: Node) -> Hoisted | None:
    """Makes what depends on slices only a sequence of its own, if it contains a product."""
    loop = LoopRoles.of(n)
    order = list(reached((*loop.after, *loop.outs)))
    waiting = dependent(order, loop.carries)
    values = known(loop)
    heavy = set[Node]()  # products, and what is made of them
    for m in order:
        if m in waiting or not (m in values or can_move(m, values)):
            continue
        move(m, values, loop.length)
        if values[m][1] and (m.op.kind is Kind.ANCHOR or any(i in heavy for i in m.inputs)):
            heavy.add(m)
    inside = {*loop.after, *(i for m in order if m not in values for i in m.inputs)}
    places = {m: fresh(m.type) for m in order if m in heavy and m in inside}
    early = [o for o in loop.outs if o in heavy]
    if not places and not early:
        return None
    left = [o for o in loop.outs if o not in heavy]
    less = replace(
        loop,
        sequences=(*loop.sequences, *(values[m][0] for m in places)),
        slices=(*loop.slices, *places.values()),
        after=replaced(loop.after, places),
        outs=replaced(left, places),
    )
    new, count = carry(less.node(), n), len(loop.carries)
    replacements = {}
    for index, item in results(graph, n).items():
        if index >= count and (out := loop.outs[index - count]) in heavy:
            replacements[item] = values[out][0]
        else:
            at = index if index < count else count + position(loop.outs[index - count], left)
            replacements[item] = ITEM(new, index=at)
    return Hoisted(new, replacements)


def known(loop: LoopRoles) -> dict[Node, Stacked]:
    """The values that exist outside already: sequences, and what every step reads."""
    given = {c: (g, False) for c, g in zip(loop.captured, loop.given, strict=True)}
    return given | {x: (s, True) for x, s in zip(loop.slices, loop.sequences, strict=True)}


def can_move(m: Node, values: Mapping[Node, Stacked]) -> bool:
    return (vectorizes(m) or not m.inputs) and all(i in values for i in m.inputs)


def move(m: Node, values: dict[Node, Stacked], steps: int) -> None:
    """Computes a node of the body outside, for all steps."""
    if m not in values:
        with built_from(origins(m)):
            inputs = [values[i] for i in m.inputs]
            values[m] = vectorized(m, inputs, steps) if inputs else (m, False)


# -- after the loop --------------------------------------------------------------------------------


def behind(graph: Graph, n: Node) -> Hoisted | None:
    """Sums over steps, and results with products that no later step reads."""
    return _Behind(graph, n).hoisted()


class _Behind:
    def __init__(self, graph: Graph, n: Node):
        self.graph, self.n, self.loop = graph, n, LoopRoles.of(n)
        loop = self.loop
        self.order = list(reached((*loop.after, *loop.outs)))
        self.moving = dependent(self.order, (*loop.carries, *loop.slices))
        self.sums = {k: g for k in range(len(loop.carries)) if (g := self.summand(k)) is not None}
        self.left = [k for k in range(len(loop.carries)) if k not in self.sums]
        self.needed = set(reached(loop.after[k] for k in self.left))  # by later steps
        self.late = [o for o in loop.outs if self.is_late(o)]
        self.emitted: dict[Node, None] = {}  # values that the loop must stack
        self.histories: set[int] = set()  # carries of which it must keep all values
        self.values = known(loop)

    def summand(self, k: int) -> Node | None:
        """The node that every step adds to carry k, if nothing else is done with the carry."""
        loop, total = self.loop, self.loop.after[k]
        if loop.kept[k] or total.op is not add or among(total, loop.outs):
            return None
        first, second = total.inputs
        other = second if first is loop.carries[k] else first
        readers = [m for m in self.order if among(loop.carries[k], m.inputs)]
        alone = same(readers, [total]) and not any(among(total, m.inputs) for m in self.order)
        mine = among(loop.carries[k], (first, second)) and other is not loop.carries[k]
        whole = other.type == total.type
        return other if alone and mine and whole and self.summable(other) else None

    def summable(self, g: Node) -> bool:
        """Whether the sum of g over steps is one of values that are stacked."""
        for m in summands(g):
            if m.op is SUM:
                fits = m.inputs[0] in self.moving
            else:
                fits = m.op is MATMUL and m.ndim == 2 and all(i in self.moving for i in m.inputs)
            if not fits:
                return False
        return True

    def is_late(self, out: Node) -> bool:
        """True if a product is made for this result only."""
        own = [m for m in reached((out,)) if m not in self.needed]
        return out in self.moving and any(m.op.kind is Kind.ANCHOR for m in own) and vectorizes(out)

    def hoisted(self) -> Hoisted | None:
        """None if nothing moves."""
        if not self.sums and not self.late:
            return None
        for g in self.sums.values():
            for m in summands(g):
                product = factors(m)
                for i in (m if product is None else product).inputs:
                    self.demand(i)
        for o in self.late:
            self.demand(o)
        loop = self.loop
        outs = [o for o in loop.outs if not among(o, self.late)]
        outs += [m for m in self.emitted if not among(m, outs)]
        less = replace(
            loop,
            initial=tuple(loop.initial[k] for k in self.left),
            carries=tuple(loop.carries[k] for k in self.left),
            after=tuple(loop.after[k] for k in self.left),
            kept=tuple(loop.kept[k] or k in self.histories for k in self.left),
            outs=tuple(outs),
        )
        new = carry(less.node(), self.n)
        for place, k in enumerate(self.left):
            if less.kept[place]:
                self.values[loop.carries[k]] = less.before(new, place), True
                self.values[loop.after[k]] = less.left(new, place), True
        for place, m in enumerate(outs):
            self.values.setdefault(m, (less.stacked(new, place), True))
        return Hoisted(new, self.replacements(less, new, outs))

    def replacements(self, less: LoopRoles, new: Node, outs: Sequence[Node]) -> dict[Node, Node]:
        loop, found = self.loop, dict[Node, Node]()
        count = len(loop.carries)
        for index, item in results(self.graph, self.n).items():
            if index in self.sums:
                first, total = loop.initial[index], self.total(self.sums[index])
                found[item] = total if is_filled(first, 0.0) else add(first, total)
            elif index < count:
                place = self.left.index(index)
                alike = loop.kept[index] == less.kept[place]
                found[item] = ITEM(new, index=place) if alike else less.last(new, place)
            elif among(out := loop.outs[index - count], self.late):
                found[item] = self.value(out)
            else:
                found[item] = less.stacked(new, position(out, outs))
        return found

    def demand(self, m: Node) -> None:
        """Notes what the loop must give so that ``value(m)`` can be computed after it."""
        loop, stack = self.loop, [m]
        seen = set[Node]()
        while stack:
            m = stack.pop()
            if m in seen or m in self.values or (not m.inputs and not among(m, loop.carries)):
                continue
            seen.add(m)
            if among(m, loop.carries):
                self.histories.add(position(m, loop.carries))
            elif any(m is loop.after[k] for k in self.left):
                self.histories.add(position(m, loop.after))
            elif m in self.needed or not vectorizes(m):
                self.emitted[m] = None
            else:
                stack += m.inputs

    def value(self, m: Node) -> Node:
        """A value of the body in all steps."""
        for x in reached((m,)):
            if can_move(x, self.values):
                move(x, self.values, self.loop.length)
        return self.values[m][0]

    def total(self, g: Node) -> Node:
        """The sum of ``g`` over all steps."""
        found: dict[Node, Node] = {}
        order = set(summands(g, between=True))
        for m in (m for m in reached((g,)) if m in order):
            with built_from(origins(m)):
                found[m] = self.summed(m, found)
        return found[g]

    def summed(self, m: Node, found: Mapping[Node, Node]) -> Node:
        """As ``total``, where that of what it is the sum of is known."""
        if is_linear(m):
            return m.op(*(found[i] for i in m.inputs), **dict(m.attrs))
        if (product := factors(m)) is not None:
            a, b = map(self.value, product.inputs)
            return OUTER_SUM(swap(a), b)
        axis = (0, *(a + 1 for a in m.attr("axis")))
        return reshape(SUM(self.value(m.inputs[0]), axis=axis, keepdims=False), m.shape)


def is_linear(m: Node) -> bool:
    """A sum of whole values, or a view of one."""
    whole = m.op is add and all(i.type == m.type for i in m.inputs)
    return whole or m.op in (TRANSPOSE, RESHAPE)


def summands(g: Node, between: bool = False) -> Iterator[Node]:
    """What g is a sum of, in order, and with ``between`` the sums in between."""
    stack, seen = [g], set[Node]()
    while stack:
        m = stack.pop()
        if m in seen:
            continue
        seen.add(m)
        if between or not is_linear(m):
            yield m
        stack += reversed(m.inputs) if is_linear(m) else ()


def factors(g: Node) -> Node | None:
    """The product of two values of one batch whose sum over the batch ``g`` is."""
    product = g.inputs[0] if g.op is SUM else g
    if product.op is not MATMUL:
        return None
    batch = tuple(range(product.ndim - 2))
    a, b = product.inputs
    whole = a.ndim == b.ndim and a.shape[:-2] == b.shape[:-2]
    folded = g is product or (g.attr("axis") == batch and not g.attr("keepdims"))
    return product if whole and folded and (batch == () or g is not product) else None
