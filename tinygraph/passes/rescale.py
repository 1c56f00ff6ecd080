"""What stands between an integer product and the next rounding, as one scale and one shift.

Rounded to integers is y / s, and y often (sums * a + b) * c + d, of which all but the sums depends
on parameters only. The division moves to the ends of y, where it joins the scales that are there:
sums * (a c / s) + (b c + d) / s, whose factors are prepared once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..graph.ir import Graph, Node, among
from ..graph.op import constant
from ..graph.origins import built_from, origins
from ..graph.rewrite import Event, filled, substitute
from ..ops.arithmetic import add, div, mul, neg, relu, sub
from ..ops.quantize import DEQUANTIZE, QUANTIZE
from ..ops.view import BROADCAST_TO, RESHAPE, reshape
from .fold_batch_norm import fixed_nodes


def rescaled(graph: Graph, log: list[Event]) -> Graph:
    """The graph, whose rounded values are divided by their scales where they are made."""
    walk, replacements = Rescaling(graph, fixed_nodes(graph)), dict[Node, Node]()
    for n in graph.nodes:
        if n.op is not QUANTIZE or n.inputs[1].type.size > 1 or filled(n.inputs[1]) == 1:
            continue
        with built_from(origins(n)):
            y, s, zero = n.inputs
            made = walk.scaled(y, 1.0 / reshape(s, ()), positive=True)
            if made is not None:
                replacements[n] = QUANTIZE(made, constant(1.0), zero, dtype=n.dtype)
                log.append(Event("rescale", n, replacements[n]))
    return substitute(graph, replacements)


@dataclass(frozen=True, slots=True)
class Rescaling:
    """The graph, and nodes that depend on parameters only: its own, and those that are made."""

    graph: Graph
    fixed: set[Node]

    def scaled(self, y: Node, by: Node, positive: bool) -> Node | None:
        """y * by, the factor in what y is made of; None if it stays outside somewhere.

        ``by`` broadcasts with y; ``positive``: it moves through relu.
        """
        if y in self.fixed:
            made = mul(y, by)
            self.fixed.add(made)
            return made
        if y.op is DEQUANTIZE:
            q, scale, zero = y.inputs
            made = mul(scale, by)
            return DEQUANTIZE(q, made, zero) if made.ndim <= y.ndim else None
        if len(self.graph.users[y]) > 1 or among(y, self.graph.outputs):
            return None
        if y.op in (mul, div):
            return self.product(y, by)
        if y.op in (add, sub):
            a, b = (self.scaled(i, by, positive) for i in y.inputs)
            if a is None or b is None:
                return None
            if b not in self.fixed:
                return y.op(a, b)
            if y.op is sub:
                b = neg(b)
                self.fixed.add(b)
            return self.shifted(a, b)
        if (y.op is relu and positive) or y.op is neg:
            x = self.scaled(y.inputs[0], by, positive)
            return None if x is None else y.op(x)
        if y.op is RESHAPE:
            factor = regrouped(by, y, back=True)
            x = None if factor is None else self.scaled(y.inputs[0], factor, positive)
            return None if x is None else reshape(x, y.shape)
        return None

    def shifted(self, x: Node, by: Node) -> Node:
        """x + by, which joins what is added to x already."""
        if x.op is RESHAPE and (inner := regrouped(by, x, back=True)) is not None:
            self.fixed.add(inner)
            return reshape(self.shifted(x.inputs[0], inner), x.shape)
        if x.op is add and x.inputs[1] in self.fixed:
            x, by = x.inputs[0], add(x.inputs[1], by)
            self.fixed.add(by)
        return add(x, by)

    def product(self, y: Node, by: Node) -> Node | None:
        """A factor, or a divisor, that is prepared joins ``by``."""
        a, b = y.inputs
        if y.op is mul and a in self.fixed:
            a, b = b, a
        if b not in self.fixed or a in self.fixed or a.shape != y.shape:
            return None
        while b.op is BROADCAST_TO:
            b = b.inputs[0]
        return self.scaled(a, mul(b, by) if y.op is mul else div(by, b), positive=False)


def regrouped(by: Node, reshaped: Node, back: bool = False) -> Node | None:
    """A factor of what is reshaped as one of the result, or of the result as one of what is.

    It is one number, or one for each index of an axis, as channels; None if it is otherwise.
    """
    shape, into = reshaped.inputs[0].shape, reshaped.shape
    shape, into = (into, shape) if back else (shape, into)
    aligned = (1,) * (len(shape) - by.ndim) + by.shape
    many = [a for a, size in enumerate(aligned) if size != 1]
    if len(many) != 1:
        return None if many else reshape(by, (1,) * len(into))
    before, size = prod(shape[: many[0]]), shape[many[0]]
    for first in range(len(into)):
        for end in range(first + 1, len(into) + 1):
            if prod(into[:first]) == before and prod(into[first:end]) == size:
                ones = (1,) * first, (1,) * (len(into) - end)
                return reshape(by, (*ones[0], *into[first:end], *ones[1]))
    return None
