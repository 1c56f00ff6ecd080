"""Attention written as products and a softmax becomes one operator, whose kernel goes through the
keys in blocks and never stores the scores.

What is recognized is softmax(scores) v with scores = q k^T, scaled, masked (``where``, or a mask
that is added) or neither, in any graph. Its gradient is found without a pattern of its own: nodes
are interned, so that differentiating the recognized nodes once more gives the very nodes that the
graph has. Nothing is replaced unless the scores are gone then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..autodiff import pull_back
from ..graph.ir import Graph, Node
from ..graph.op import CONSTANT
from ..graph.origins import built_from, origins
from ..graph.rebuild import with_bodies
from ..graph.rewrite import Event, filled, substitute
from ..ops.arithmetic import add, div, mul, sub
from ..ops.blockwise_attention import ATTENTION, ATTENTION_GRADIENT, with_gradients
from ..ops.linalg import MATMUL, swap
from ..ops.logic import WHERE, less_equal, logical_and, logical_not, where
from ..ops.math import exp
from ..ops.reduce import MAX, SUM
from ..ops.source import IOTA
from ..ops.view import RESHAPE, TRANSPOSE
from ..plan.records.target import Target
from ..plan.winograd.choice import place
from .expand_composites import refusal

Replacements = dict[Node, Node]


def fuse_attention(
    graph: Graph,
    *,
    target: Target | None = None,
    log: list[Event] | None = None,
    remarks: list[str] | None = None,
) -> Graph:
    """The graph with attentions, and their gradients, as one operator each, where the target has a
    kernel for it that pays. A remark for each says so, or why not.
    """
    log, remarks = [] if log is None else log, [] if remarks is None else remarks
    within = partial(fuse_attention, target=target, log=log, remarks=remarks)
    bodies = {n: with_bodies(n, within) for n in graph.nodes if n.bodies}
    graph = substitute(graph, bodies) if bodies else graph
    taken: dict[Recognized, Replacements] = {}
    nodes = frozenset(graph.nodes)
    for found in attentions(graph):
        with built_from(origins(found.out)):
            replaced = found.replacements(graph, nodes)
        why = next(filter(None, (refusal(n, target) for n in composites(replaced))), "")
        if why:
            remarks.append(f"{place(found.out)}: attention stores its scores, because {why}")
        else:
            taken[found] = replaced
    made = graph
    while taken:
        made = substitute(graph, {old: new for each in taken.values() for old, new in each.items()})
        left = set(made.nodes)
        kept = [found for found in taken if found.product in left]
        if not kept:
            break
        for found in kept:
            del taken[found]
            remarks.append(
                f"{place(found.out)}: attention stores its scores, because they, or the weights "
                "made of them, are used by more than it and its gradient"
            )
        made = graph
    for found, replaced in taken.items():
        new = replaced[found.out]
        log.append(Event("fuse_attention", found.out, new))
        also = " and its gradient" if len(replaced) > 1 else ""
        remarks.append(
            f"{place(found.out)}: attention{also} in one pass over blocks of keys, scores "
            f"{found.product.type} are not stored"
        )
    return made


def composites(replaced: Replacements) -> Iterator[Node]:
    """The operators that are put in the place of others: their results are views of them."""
    for n in replaced.values():
        while n.op not in (ATTENTION, ATTENTION_GRADIENT):
            n = n.inputs[0]
        yield n


@dataclass(frozen=True, eq=False)
class Recognized:
    """softmax(masked(scale * q k^T)) v.

    Attributes:
        out: the result.
        weights: the softmax.
        product: q k^T.
        mask: at most one; boolean where scores that it hides become ``fill``, else added.
    """

    out: Node
    weights: Node
    product: Node
    scale: float
    mask: tuple[Node, ...]
    fill: float
    causal: bool

    @property
    def operands(self) -> tuple[Node, Node, Node]:
        """q, k transposed, v."""
        q, kt = self.product.inputs
        return q, kt, self.out.inputs[1]

    @property
    def attrs(self) -> dict[str, Any]:
        return {"scale": self.scale, "causal": self.causal, "fill": self.fill}

    def operator(self) -> Node:
        q, kt, v = self.operands
        return ATTENTION(q, swap(kt), v, *self.mask, **self.attrs, stats=False)

    def replacements(self, graph: Graph, nodes: frozenset[Node]) -> Replacements:
        """What takes the place of the result, and of its gradients if they are among the nodes."""
        q, kt, v = self.operands
        for g in self.possible_gradients(graph):
            olds = pull_back([self.out], [g], self.operands)
            if not any(old in nodes for old in olds):
                continue
            out, dq, dk, dv = with_gradients(q, swap(kt), v, self.mask, g, self.attrs)
            pairs = zip(olds, (dq, swap(dk), dv), strict=True)
            return {self.out: out} | {old: new for old, new in pairs if old in nodes}
        return {self.out: self.operator()}

    def possible_gradients(self, graph: Graph) -> list[Node]:
        """What may be the gradient of the result: it is multiplied with the weights, or values."""
        weights, values = swap(self.weights), swap(self.operands[2])
        users = graph.users
        found = [n.inputs[1] for n in users.get(weights, ()) if is_product(n, weights)]
        found += [n.inputs[0] for n in users.get(values, ()) if n.op is MATMUL]
        return [g for g in dict.fromkeys(found) if g.type == self.out.type]


def attentions(graph: Graph) -> Iterator[Recognized]:
    """Each attention of a graph. Where only its gradient is left, its result need not be there."""
    for weights in graph.nodes:
        if weights.ndim < 2 or (scores := softmax_of(weights)) is None:
            continue
        values = [n.inputs[1] for n in graph.users[weights] if is_product(n, weights)]
        for v in values or [*values_of_gradient(graph, weights)][:1]:
            out = MATMUL(weights, v)
            found = recognized(out, weights, scores)
            if found is not None:
                yield found


def values_of_gradient(graph: Graph, weights: Node) -> Iterator[Node]:
    """The values of attentions with these weights, from the products of their gradients."""
    turned = swap(weights)
    for g in (n.inputs[1] for n in graph.users.get(turned, ()) if is_product(n, turned)):
        for other in (n.inputs[1] for n in graph.users[g] if is_product(n, g)):
            if other.op is TRANSPOSE and swap(other.inputs[0]) is other:
                yield other.inputs[0]


def is_product(n: Node, a: Node) -> bool:
    return n.op is MATMUL and n.inputs[0] is a


def recognized(out: Node, weights: Node, scores: Node) -> Recognized | None:
    """The attention that a product of weights, a softmax of scores, is the result of."""
    if out.shape[:-2] != weights.shape[:-2]:
        return None
    found = Recognized(out, weights, scores, 1.0, (), -math.inf, False)
    for step in (unmasked, unbiased, unscaled):
        found = step(found)
    found = unscaled(found)
    return found if found.product.op is MATMUL else None


def softmax_of(n: Node) -> Node | None:
    """x, if n is exp(x - max(x)) / sum(exp(x - max(x))) along the last axis."""
    if n.op is not div or n.inputs[0].op is not exp:
        return None
    e = n.inputs[0]
    if not is_fold(n.inputs[1], SUM, e) or e.inputs[0].op is not sub:
        return None
    x, top = e.inputs[0].inputs
    if top.op.transparent or top.op.name == "stop_gradient":
        top = top.inputs[0]
    return x if is_fold(top, MAX, x) and x.shape == n.shape else None


def is_fold(n: Node, op: object, x: Node) -> bool:
    """Is n the fold of x along its last axis, kept as 1?"""
    if n.op is RESHAPE and n.shape == (*n.inputs[0].shape, 1):
        n = n.inputs[0]
    return n.op is op and n.inputs[0] is x and n.attr("axis") == (x.ndim - 1,) and (
        n.ndim < x.ndim or n.shape[-1] == 1
    )  # fmt: skip


# -- what is done to the scores, outermost first: each takes one step off ``product`` --------------


def unmasked(found: Recognized) -> Recognized:
    """where(mask, x, number), or the other way round."""
    n = found.product
    if n.op is not WHERE:
        return found
    mask, x, other = n.inputs
    if (value := filled(other)) is None:
        mask, x, other = logical_not(mask), other, x
        value = filled(other)
    if value is None or value == 0 or math.isnan(value) or x.shape != n.shape:
        return found
    found = replace(found, product=x, fill=float(value))
    return with_mask(found, mask)


def with_mask(found: Recognized, mask: Node) -> Recognized:
    """The boolean mask as causality, and what else there is in it."""
    parts = list(conjuncts(mask))
    others = [m for m in parts if not is_past(m, found.product.shape)]
    if found.fill != -math.inf or len(others) == len(parts):
        return replace(found, mask=(mask,))
    kept = others[:1]
    for m in others[1:]:
        kept = [logical_and(kept[0], m)]
    return replace(found, mask=tuple(kept), causal=True)


def conjuncts(mask: Node) -> Iterator[Node]:
    """The masks all of which a mask asks for."""
    if mask.op is logical_and:
        for part in mask.inputs:
            yield from conjuncts(part)
    else:
        yield mask


def is_past(mask: Node, shape: tuple[int, ...]) -> bool:
    """Does a mask let query i see keys 0 to i, and no others?"""
    rows, columns = shape[-2:]
    if mask.shape[-2:] != (rows, columns) or any(n != 1 for n in mask.shape[:-2]):
        return False
    if mask.op is CONSTANT:
        data = mask.attr("value").data
        return np.array_equal(data.reshape(rows, columns), np.tri(rows, columns, dtype=bool))
    if mask.op is not less_equal or any(i.op is not IOTA for i in mask.inputs):
        return False
    own = [(0,) * (mask.ndim - 2) + last for last in ((0, 1), (1, 0))]
    return [i.attr("strides") for i in mask.inputs] == own and all(
        i.shape == mask.shape for i in mask.inputs
    )


def unbiased(found: Recognized) -> Recognized:
    """x + mask."""
    n = found.product
    if n.op is not add:
        return found
    for x, bias in (n.inputs, n.inputs[::-1]):
        if x.shape == n.shape and unscaled(replace(found, product=x)).product.op is MATMUL:
            if found.mask:  # one mask is left: both in one
                bias = where(found.mask[0], bias, found.fill)
            if found.mask and found.fill != -math.inf:
                return found
            return replace(found, product=x, mask=(bias,), fill=-math.inf)
    return found


def unscaled(found: Recognized) -> Recognized:
    """x * number, or x / number."""
    n = found.product
    if n.op not in (mul, div):
        return found
    for x, other in (n.inputs, n.inputs[::-1]):
        number = filled(other)
        if number and x.shape == n.shape and math.isfinite(number):
            if n.op is div and x is n.inputs[1]:
                return found
            factor = number if n.op is mul else 1 / number
            return replace(found, product=x, scale=found.scale * factor)
    return found
