"""Products in bfloat16: ``precision="bfloat16"`` of compile, for training and for inference.

What is rounded where is written into the graph, as ``cast(cast(x, bfloat16), float32)``, which
``narrow_products`` and the planner make use of: the operands of products, and what else kernels
store between two products. Sums, statistics, what a softmax normalizes, outputs, parameters and the
optimizer's state stay in float32. bfloat16 has the exponents of float32: losses need no scale.

P. Micikevicius et al., Mixed precision training, ICLR 2018; D. Kalamkar et al., A study of BFLOAT16
for deep learning training, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..graph.dtype import DTYPES
from ..graph.ir import Graph, Node, Parameter
from ..graph.op import CONSTANT, INPUT, Kind
from ..graph.origins import built_from, origins
from ..graph.rebuild import carry, with_inputs, with_outputs
from ..graph.rewrite import Event
from ..ops.indexing import CONCAT
from ..ops.logic import CAST, cast
from ..ops.view import PAD
from .narrow_products import WORD, is_wide_product

PRECISIONS = ("float32", "bfloat16")
SMALL = 4096  # elements: a value of fewer costs nothing to store as it is
# a value is stored in half of the bytes if all that read it are of these kinds
READERS = (Kind.ELEMENTWISE, Kind.REDUCE, Kind.VIEW, Kind.JOIN)


def mixed_precision(
    graph: Graph,
    precision: str | None = None,
    log: list[Event] | None = None,
    remarks: list[str] | None = None,
) -> Graph:
    """The graph with the operands of its products, and what is stored between them, rounded."""
    if precision in (None, "float32"):
        return graph
    roundings = Roundings(graph)
    made = rounded(graph, roundings, precision, [] if log is None else log)
    if remarks is not None:
        remarks += roundings.remarks()
    return made


class Roundings:
    """Which values of a graph are rounded.

    Attributes:
        products: those whose operands are.
        stored: values that are rounded for all that read them.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.outputs = graph, set(graph.outputs)
        self.products = [n for n in graph.nodes if is_wide_product(n) and pays(n)]
        self.set = set(self.products)
        self.before = before_products(graph, self.set)
        self.kept: dict[Node, str] = {}
        self.stored: set[Node] = set()
        for n in (r for p in self.products for x in p.inputs for r in roots(x)):
            self.store(n)
        for p in self.products:
            n = end_of_chain(p, graph)
            if n in self.before and n.type.size >= SMALL:
                self.store(n)
        for n in graph.nodes:
            if picks(n) and n.type.size >= SMALL and self.stored.issuperset(roots(n.inputs[0])):
                self.store(n)

    def store(self, n: Node) -> None:
        """Rounds a value for all that read it, unless something needs it as it is."""
        if n in self.stored or n in self.kept or isinstance(n, Parameter) or n.op is CONSTANT:
            return
        if picks(n):  # gradients ask which number was picked: all of them are rounded, or none
            for x in roots(n.inputs[0]):
                self.store(x)
        picked = picks(n) and not self.stored.issuperset(roots(n.inputs[0]))
        reason = "not all that it is picked from is rounded" if picked else self.refusal(n)
        if reason:
            self.kept[n] = reason
        else:
            self.stored.add(n)

    def refusal(self, n: Node) -> str:
        """Why a value is not rounded for all that read it; "" if it is."""
        if n.dtype != "float32":
            return f"it is of {n.dtype}"
        if n.op is INPUT or n.op.kind in (Kind.RESULT, Kind.LOOP):
            return "it comes from outside"
        if n not in self.before:
            return "no product depends on it"
        queue, seen = [n], {n}
        while queue:
            for reader in self.graph.users.get(x := queue.pop(), ()):
                if reader.op.kind in (Kind.VIEW, Kind.JOIN) and reader not in seen:
                    seen.add(reader)
                    queue.append(reader)
                elif reader not in self.set and reader.op.kind not in READERS:
                    return f"{reader.op.name} reads it in float32"
                elif reader.op.kind is Kind.REDUCE and is_softmax(reader, x):
                    return "a softmax normalizes it"
            if x in self.outputs:
                return "it is an output"
        return ""

    def remarks(self) -> list[str]:
        """What was chosen, for the compile's remarks."""
        count, size = len(self.stored), sum(n.type.size for n in self.stored)
        left = [n for n in self.graph.nodes if n.op.kind is Kind.ANCHOR and n not in self.set]
        found = [
            f"precision: {len(self.products)} products in bfloat16, {count} values of "
            f"{size / 1e6:.1f} M elements stored so; sums, statistics and parameters in float32"
        ]
        found += [f"precision: {name_of(n)} in float32, {why_not(n)}" for n in left]
        found += [f"precision: {name_of(n)} is kept in float32: {r}" for n, r in self.kept.items()]
        loops = (n for n in self.graph.nodes if n.bodies)
        found += [f"precision: what {name_of(n)} computes step by step is float32" for n in loops]
        return found


def rounded(graph: Graph, roundings: Roundings, precision: str, log: list[Event]) -> Graph:
    """The graph with these values rounded."""
    new: dict[Node, Node] = {}

    def narrow(x: Node) -> Node:
        """A value of the old graph, rounded; ``x`` is an operand, or a part of one."""
        if x.op is CONCAT:
            return carry(x.op(*(narrow(i) for i in x.inputs), **dict(x.attrs)), x)
        if moves(x):
            return carry(x.op(narrow(x.inputs[0]), *x.inputs[1:], **dict(x.attrs)), x)
        made = new[x]
        known = made.op is CAST and x in roundings.stored
        return made.inputs[0] if known else cast(made, precision)

    for n in graph.nodes:
        with built_from(origins(n)):
            if n in roundings.set:
                inputs = tuple(cast(narrow(x), n.dtype) for x in n.inputs)
            else:
                inputs = tuple(new[x] for x in n.inputs)
            made = carry(with_inputs(n, inputs), n)
            if n in roundings.stored:
                once = narrow(n) if n.op is CONCAT else cast(made, precision)
                made = cast(once, n.dtype)
                log.append(Event("mixed_precision", n, made))
            elif n in roundings.set:
                log.append(Event("mixed_precision", n, made))
            new[n] = made
    return with_outputs(graph, tuple(new[o] for o in graph.outputs))


# -- questions to a graph --------------------------------------------------------------------------


def pays(n: Node) -> bool:
    """Whether a product is large enough, and its operands move as they are."""
    return min(x.type.size for x in n.inputs) >= WORD * DTYPES[n.dtype].bytes


def moves(x: Node) -> bool:
    """Whether a node is a view whose elements are those of its input, or zeros."""
    return x.op.kind is Kind.VIEW and not (x.op is PAD and x.attr("value") != 0)


def roots(x: Node) -> Iterable[Node]:
    """The values that an operand shows, through views and concatenations; those, too."""
    if x.op is CONCAT:
        yield x
        for i in x.inputs:
            yield from roots(i)
    elif moves(x):
        yield from roots(x.inputs[0])
    else:
        yield x


def before_products(graph: Graph, products: set[Node]) -> set[Node]:
    """The nodes that some product depends on."""
    found: set[Node] = set()
    for n in reversed(graph.nodes):
        if n in products or n in found:
            found.update(n.inputs)
    return found


def end_of_chain(product: Node, graph: Graph) -> Node:
    """The last of the element-wise nodes after a product of which each has one reader: what the
    product's kernel stores.
    """
    n = product
    while len(users := graph.users.get(n, ())) == 1:
        (user,) = users
        grows = user.type.size > n.type.size
        if (user.op.kind is not Kind.ELEMENTWISE and not moves(user)) or grows:
            break
        if user.dtype != "float32":
            break
        n = user
    while moves(n):
        n = n.inputs[0]
    return n


def picks(n: Node) -> bool:
    """Whether a value is one of those that it is reduced from."""
    return n.op.kind is Kind.REDUCE and n.op.fold in ("max", "min")


def is_softmax(reduction: Node, x: Node) -> bool:
    """Whether a greatest element is taken out of x to be subtracted."""
    return reduction.op.name == "max" and len(reduction.shape) <= len(x.shape)


def name_of(n: Node) -> str:
    """A node as remarks name it."""
    where = origins(n)
    return f"{n.name or n.op.name}" + (f" ({where[0]})" if where else "")


def why_not(n: Node) -> str:
    if n.dtype != "float32":
        return f"its operands are of {n.dtype}"
    return "it has few channels" if not is_wide_product(n) else "it is small"
