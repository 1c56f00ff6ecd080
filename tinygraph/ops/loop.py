"""What a loop node consists of, by role, and how loops are built, changed and read."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from ..graph.ir import Graph, Node, node, same
from ..graph.op import CONSTANT, OPS, Kind, Op, ShapeError, define, input
from ..graph.origins import built_from, origins
from ..graph.types import Several, Type
from .indexing import getitem
from .view import BROADCAST_TO, RESHAPE, free

_NUMBERS = count()


def _infer_item(loop: Type, *, index: int) -> Type:
    if not isinstance(loop, Several) or not 0 <= index < len(loop.types):
        raise ShapeError(f"item requires the number of a loop's result, got {index} of {loop}")
    return loop.types[index]


# One result of a loop. autodiff collects its gradient, and hands all of a loop's on at once.
ITEM: Op = define(
    "item",
    Kind.RESULT,
    infer=_infer_item,
    ref=lambda results, *, index: results[index],
    cost=free,
)


def fresh(type: Type) -> Node:
    """An input of a body that is being built, unlike any other; ``LoopRoles.node`` names it."""
    return input(f"fresh{next(_NUMBERS)}", *type.shape, dtype=type.dtype)


def replaced(outputs: Sequence[Node], values: Mapping[Node, Node]) -> tuple[Node, ...]:
    """Nodes with other values for some of those that they are computed from."""
    new = dict(values)
    stack = list(outputs)
    while stack:
        n = stack[-1]
        if missing := [i for i in n.inputs if n not in new and i not in new]:
            stack += missing
            continue
        stack.pop()
        if n not in new:
            inputs = tuple(new[i] for i in n.inputs)
            with built_from(origins(n)):
                new[n] = n if same(inputs, n.inputs) else node(n.op, inputs, n.attrs, n.type)
    return tuple(new[o] for o in outputs)


def reached(outputs: Iterable[Node]) -> dict[Node, None]:
    """All nodes that these are computed from, themselves included, in order of evaluation."""
    return dict.fromkeys(Graph("", (), tuple(outputs)).nodes)


def dependent(order: Iterable[Node], sources: Iterable[Node]) -> set[Node]:
    """Which of the nodes, in order of evaluation, are computed from some of the sources."""
    found = set(sources)
    for n in order:
        if any(i in found for i in n.inputs):
            found.add(n)
    return found


def is_number(n: Node) -> bool:
    """True for one number, however often it is repeated: the body contains it."""
    while n.op in (BROADCAST_TO, RESHAPE):
        n = n.inputs[0]
    return n.op is CONSTANT and n.type.size == 1


@dataclass(frozen=True, slots=True)
class LoopRoles:
    """A loop by the roles of its inputs and outputs.

    Attributes:
        initial, sequences, given: what the loop reads: the first values of its carries, what it
            takes slices of along axis 0, and what every step reads as it is.
        carries, slices, captured: inputs of the body that stand for these.
        after: the carries that a step leaves.
        outs: what else a step returns; the loop stacks it.
        length, reverse: number of steps, and whether the last slice comes first.
        kept: of which carries the loop gives the history: ``length + 1`` values, that before each
            step and the last one; of others only the last one. A loop in reverse begins at the last
            slot of the history.
    """

    initial: tuple[Node, ...]
    sequences: tuple[Node, ...]
    given: tuple[Node, ...]
    carries: tuple[Node, ...]
    slices: tuple[Node, ...]
    captured: tuple[Node, ...]
    after: tuple[Node, ...]
    outs: tuple[Node, ...]
    length: int
    reverse: bool
    kept: tuple[bool, ...]
    name: str = "step"

    @staticmethod
    def of(n: Node) -> LoopRoles:
        body: Graph = n.attr("body")
        first, last = n.attr("carries"), n.attr("carries") + n.attr("sequences")
        takes = body.inputs
        return LoopRoles(
            n.inputs[:first], n.inputs[first:last], n.inputs[last:],
            takes[:first], takes[first:last], takes[last:],
            body.outputs[:first], body.outputs[first:],
            n.attr("length"), n.attr("reverse"), n.attr("kept"), body.name,
        )  # fmt: skip

    def node(self) -> Node:
        """The loop as a node; what no step reads is left out, and what it reads twice comes once.

        Raises ShapeError if the step does not fit what it is given.
        """
        used = reached((*self.after, *self.outs))
        names = {c: input(f"carry{k}", *c.shape, dtype=c.dtype) for k, c in enumerate(self.carries)}
        sequences = self._numbered("slice", self.sequences, self.slices, used, names)
        given = self._numbered("captured", self.given, self.captured, used, names)
        takes = (*(names[c] for c in self.carries), *sequences.values(), *given.values())
        body = Graph(self.name, takes, replaced((*self.after, *self.outs), names))
        return OPS["scan"](
            *self.initial, *sequences, *given, body=body, carries=len(self.carries),
            sequences=len(sequences), length=self.length, reverse=self.reverse, kept=self.kept,
        )  # fmt: skip

    @staticmethod
    def _numbered(
        role: str,
        outer: Sequence[Node],
        inner: Sequence[Node],
        used: Container[Node],
        names: dict[Node, Node],
    ) -> dict[Node, Node]:
        """The body's inputs by what they stand for; ``names`` gets their final names."""
        found: dict[Node, Node] = {}
        for o, i in zip(outer, inner, strict=True):
            if i in used:
                if o not in found:
                    found[o] = input(f"{role}{len(found)}", *i.shape, dtype=i.dtype)
                names[i] = found[o]
        return found

    # -- results, of the node that ``node`` made ---------------------------------------------------

    def last(self, n: Node, k: int) -> Node:
        """Carry k after the last step."""
        if not self.kept[k]:
            return ITEM(n, index=k)
        return getitem(ITEM(n, index=k), 0 if self.reverse else self.length)

    def before(self, n: Node, k: int) -> Node:
        """Carry k as each step finds it, stacked."""
        history = ITEM(n, index=k)
        return getitem(history, slice(1, None) if self.reverse else slice(0, self.length))

    def left(self, n: Node, k: int) -> Node:
        """Carry k as each step leaves it, stacked."""
        history = ITEM(n, index=k)
        return getitem(history, slice(0, self.length) if self.reverse else slice(1, None))

    def stacked(self, n: Node, k: int) -> Node:
        """Out k of all steps."""
        return ITEM(n, index=len(self.carries) + k)
