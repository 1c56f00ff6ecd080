"""The gradient of a loop is a loop in the other direction.

Forward, an augmented loop also stacks the values that the gradient reads (a pass merges it with
the original, so it runs once). Backward, the carries are the gradients of the carries; gradients of
what every step reads are summed up in carries of their own (which a pass takes out of the loop: for
a matrix they are one product over all steps).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..graph.dtype import is_float
from ..graph.ir import Node, among, position
from ..graph.op import Kind
from ..graph.types import Type
from .arithmetic import add
from .indexing import getitem
from .loop import LoopRoles, dependent, fresh, is_number, reached, replaced
from .source import zeros
from .view import PAD, TRANSPOSE, transpose

Gradients = Sequence[Node | None]
PullBack = Callable[[Sequence[Node], Sequence[Node], Sequence[Node]], Gradients]


def loop_gradient(gs: Gradients, n: Node, *inputs: Node, pull_back: PullBack) -> Gradients:
    """The gradients of a loop's inputs from those of its results (None where there is none).

    ``pull_back(outputs, gs, wrt)`` differentiates straight-line code: the body.
    """
    return _Backward(gs, n, pull_back).gradients()


class _Backward:
    """The loop backward and, if it must keep more than it does, the loop forward."""

    def __init__(self, gs: Gradients, n: Node, pull_back: PullBack):
        self.n, self.pull_back = n, pull_back
        self.loop = loop = LoopRoles.of(n)
        if not all(loop.kept):
            raise ValueError("a loop is differentiated before passes drop its histories")
        count = len(loop.carries)
        parts = [_split(g, loop) for g in gs[:count]]
        self.final = [_sum(last) for last, _ in parts]
        self.others = [rest for _, rest in parts]
        self.stacks = gs[count:]
        self.sequences: dict[Node, Node] = {}  # what the body backward reads: its value, stacked
        self.given: dict[Node, Node] = {}  # what every step backward reads: its value

    def gradients(self) -> Gradients:
        loop = self.loop
        moved = [k for k, c in enumerate(loop.carries) if _real(c)]
        wrt = [i for i in (*loop.carries, *loop.slices, *loop.captured) if _real(i)]
        back = [fresh(loop.carries[k].type) for k in moved]
        outputs = [loop.after[k] for k in moved]
        arriving = [self.arriving(k, g) for k, g in zip(moved, back, strict=True)]
        for out, g in zip(loop.outs, self.stacks, strict=True):
            if g is not None:
                outputs.append(out)
                arriving.append(self.slice_of(g))
        pulled = self.pull_back(outputs, arriving, wrt)
        found = {w: g for w, g in zip(wrt, pulled, strict=True) if g is not None}
        return self.assemble(moved, back, found)

    def arriving(self, k: int, carried: Node) -> Node:
        """The gradient of what a step leaves in carry k: that of later steps and its own."""
        own = slice(0, -1) if self.loop.reverse else slice(1, None)
        total = carried
        for g in self.others[k]:
            total = add(total, self.slice_of(getitem(g, own)))
        return total

    def slice_of(self, stacked: Node) -> Node:
        """The node for a step's slice of a gradient in the body backward."""
        place = fresh(Type(stacked.shape[1:], stacked.dtype))
        self.sequences[place] = stacked
        return place

    def assemble(self, moved: list[int], back: list[Node], found: dict[Node, Node]) -> Gradients:
        """The loop backward, and its results as gradients of the inputs."""
        loop = self.loop
        totals = {c: fresh(c.type) for c in loop.captured if c in found}
        after = [found.get(c, zeros(c.shape, c.dtype)) for c in (loop.carries[k] for k in moved)]
        after += [add(total, found[c]) for c, total in totals.items()]
        outs = list(dict.fromkeys(found[s] for s in loop.slices if s in found))
        self.provide((*after, *outs), (*back, *totals.values(), *self.sequences))
        first = [self.final[k] for k in moved] + [None] * len(totals)
        carries = (*back, *totals.values())
        backward = LoopRoles(
            tuple(
                zeros(c.shape, c.dtype) if g is None else g
                for c, g in zip(carries, first, strict=True)
            ),
            tuple(self.sequences.values()), tuple(self.given.values()), carries,
            tuple(self.sequences), tuple(self.given),
            tuple(after), tuple(outs), loop.length, not loop.reverse, (True,) * len(after),
            f"gradient of {loop.name}",
        )  # fmt: skip
        n = backward.node()
        result: dict[Node, Node] = {
            loop.carries[k]: self.initial(k, backward.last(n, i)) for i, k in enumerate(moved)
        }
        for s in loop.slices:
            if s in found:
                result[s] = backward.stacked(n, position(found[s], outs))
        for i, c in enumerate(totals, len(moved)):
            result[c] = backward.last(n, i)
        return [result.get(i) for i in (*loop.carries, *loop.slices, *loop.captured)]

    def initial(self, k: int, last: Node) -> Node:
        """The gradient of a carry's first value."""
        loop, total = self.loop, last
        for g in self.others[k]:
            low, high = _beside(g) or (0, 0)
            if (high if loop.reverse else low) == 0:
                total = add(total, getitem(g, loop.length if loop.reverse else 0))
        return total

    # -- what the body backward reads of the way forward -------------------------------------------

    def provide(self, outputs: Sequence[Node], own: Sequence[Node]) -> None:
        """Fills ``sequences`` and ``given`` with all that these outputs need, except ``own``."""
        loop = self.loop
        order = reached(outputs)
        moving = dependent(order, (*loop.carries, *loop.slices))
        backward = dependent(order, own)
        kept: dict[Node, None] = {}
        reads = [i for n in order if n in backward for i in n.inputs]
        stack = [n for n in dict.fromkeys((*reads, *outputs)) if n not in backward]
        seen = set[Node]()
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            if n not in moving:
                if not is_number(n):
                    values = dict(zip(loop.captured, loop.given, strict=True))
                    (self.given[n],) = replaced((n,), values)
            elif among(n, loop.slices):
                self.sequences[n] = loop.sequences[position(n, loop.slices)]
            elif among(n, (*loop.carries, *loop.after, *loop.outs)) or _costly(n):
                kept[n] = None
            else:
                stack += n.inputs
        self.keep(list(kept))

    def keep(self, nodes: list[Node]) -> None:
        """Values of the way forward, stacked by the loop that computes them."""
        loop = self.loop
        known = {*loop.carries, *loop.after, *loop.outs}
        more = [n for n in nodes if n not in known]
        forward = replace(loop, outs=(*loop.outs, *more))
        n = forward.node() if more else self.n
        for value in nodes:
            if among(value, loop.carries):
                self.sequences[value] = forward.before(n, position(value, loop.carries))
            elif among(value, loop.after):
                self.sequences[value] = forward.left(n, position(value, loop.after))
            else:
                self.sequences[value] = forward.stacked(n, position(value, forward.outs))


def _real(n: Node) -> bool:
    return is_float(n.dtype)


def _costly(n: Node) -> bool:
    """True if storing a value is cheaper than computing it again from its inputs."""
    return n.op.kind not in (Kind.ELEMENTWISE, Kind.VIEW) or n.op.costly


def _split(g: Node | None, loop: LoopRoles) -> tuple[list[Node], list[Node]]:
    """The parts of a history's gradient: those of its last value only, and the others.

    What was read as the last value comes as a gradient that is padded with zeros.
    """
    last: list[Node] = []
    rest: list[Node] = []
    stack = [] if g is None else [g]
    while stack:
        part = _widened(stack.pop())
        if part.op is add and part.inputs[0].shape == part.inputs[1].shape:
            stack += reversed(part.inputs)
        elif _beside(part) == ((0, loop.length) if loop.reverse else (loop.length, 0)):
            last.append(getitem(part.inputs[0], 0))
        else:
            rest.append(part)
    return last, rest


def _widened(n: Node) -> Node:
    """Pads of pads, also below transposes, as one pad."""
    if n.op is TRANSPOSE and (below := _widened(n.inputs[0])).op is PAD:
        axes = n.attr("axes")
        widths = tuple(below.attr("widths")[a] for a in axes)
        return PAD(transpose(below.inputs[0], axes), widths=widths, value=below.attr("value"))
    if n.op is PAD and (below := _widened(n.inputs[0])).op is PAD:
        pairs = list(zip(n.attr("widths"), below.attr("widths"), strict=True))
        zeros = n.attr("value") == below.attr("value") == 0
        plain = all(min(*outer[:2], *inner[:2]) >= 0 for outer, inner in pairs)
        if zeros and plain and not any(outer[2] for outer, _ in pairs):
            joined = ((a + c, b + d, gap) for (a, b, _), (c, d, gap) in pairs)
            return PAD(below.inputs[0], widths=tuple(joined), value=0)
    return n


def _beside(n: Node) -> tuple[int, int] | None:
    """How many zeros come before and after along axis 0, if n is padded there only."""
    if n.op is not PAD or n.attr("value") != 0:
        return None
    (low, high, gap), *others = n.attr("widths")
    return (low, high) if gap == 0 and all(w == (0, 0, 0) for w in others) else None


def _sum(parts: Sequence[Node]) -> Node | None:
    return functools.reduce(add, parts) if parts else None
