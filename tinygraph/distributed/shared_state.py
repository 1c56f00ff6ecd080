"""An optimizer's state shared out among ranks: ZeRO's first stage (Rajbhandari et al., SC 2020).

Each rank has its slice of the gradients' sum, of a bucket of gradients one after the other as they
are stored. So it updates its slice of the parameters, with a slice of the optimizer's state, and
gathers the other ranks' slices of the parameters. That is right where each element of a new value
follows from the same element of the gradient, the parameter and the state, and from scalars.

Slices are parameters of their own, those of the weights too: so one kernel updates an element as it
does without ranks, and rounds alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod

import numpy as np

from .. import ops
from ..graph.dtype import DTYPES
from ..graph.ir import Graph, Node, Parameter, same_nodes
from ..graph.op import Kind
from ..graph.origins import described
from ..graph.parameter import parameter
from ..graph.state import ParameterState
from ..passes import Update
from ..ranks.levels import part_of
from ..ranks.world import world

Pair = tuple[Parameter, Node]


@dataclass(eq=False)
class StateShare:
    """One state of an optimizer of which each rank has a slice; see ``Spread``.

    Attributes:
        whole: the optimizer's parameter, which has no value meanwhile.
        part: this rank's slice, as it is stored; None if that is empty.
        cuts: where each part begins, and the last one's end, in elements.
    """

    whole: Parameter
    part: Parameter | None
    cuts: tuple[int, ...]
    here: bool = False
    where: str = "shared out among the ranks, by shard_optimizer"

    def take(self) -> None:
        """The slices have the values of the whole, if it has one."""
        if self.whole.state.spread is not self:
            self.slice()
            self.whole.state.give_away(self)

    def slice(self) -> None:
        """This rank's slice has the values of the whole."""
        if self.part is not None:
            state, ranks = self.whole.state, world()
            first, last = self.cuts[part_of(ranks.rank, ranks.size) :][:2]
            self.part.value = _stored(state.read(), state.order)[first:last].copy()

    def made(self) -> None:
        """A step has been made."""

    def collect(self, state: ParameterState) -> None:
        ranks, kind = world(), DTYPES[state.type.dtype].numpy
        whole = np.empty(state.type.size, kind)
        parts = [whole[a:b] for a, b in zip(self.cuts, self.cuts[1:], strict=False)]
        slices = [parts[part_of(r, ranks.size)] for r in range(ranks.size)]
        if self.part is not None:
            slices[ranks.rank][...] = self.part.value
        ranks.exchange([slices[ranks.rank]] * ranks.size, slices)
        shape = tuple(state.type.shape[a] for a in state.order)
        value = whole.reshape(shape)
        state.write(value.transpose(np.argsort(state.order)) if state.order else value)


@dataclass(eq=False)
class WeightShare(StateShare):
    """A parameter that every rank has, of which this one updates a slice."""

    version: int = -1

    def take(self) -> None:
        if self.whole.state.version != self.version:
            self.slice()

    def made(self) -> None:
        self.version = self.whole.state.version


def _stored(value: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The elements in the order in which they are stored."""
    return value.transpose(order).reshape(-1) if order else value.reshape(-1)


@same_nodes
@dataclass
class Family:
    """What is updated by one gradient: its parameter, and the state that belongs to it.

    Attributes:
        sum: the input that stands for the gradient's sum; ``first``: where that is in its bucket.
    """

    sum: Node
    order: tuple[int, ...]
    first: int = 0
    pairs: list[Pair] = field(default_factory=list)

    @property
    def size(self) -> int:
        return prod(self.sum.shape)


def families(
    pairs: Sequence[Pair], sums: Mapping[Node, tuple[int, ...]]
) -> tuple[list[Family], bool]:
    """What is updated by each gradient, and whether anything else follows from a gradient, as a
    norm of all does: then every rank needs all sums.

    Args:
        pairs: parameters and their new values; sums: of the gradients, with their order.

    Raises:
        ValueError: an element of a new value follows from other elements.
    """
    found = {s: Family(s, order) for s, order in sums.items()}
    whole = False
    for p, new in pairs:
        own, rest = elements_of(p, new)
        direct = [n for n in own if n in found]
        others = [r for r in rest if any(n in found for n in Graph("", (), (r,)).nodes)]
        whole |= bool(others)
        if (array := next((r for r in others if r.type.size > 1), None)) is not None:
            raise ValueError(
                f"shard_optimizer requires updates element by element: the new value of {p.name} "
                f"follows from {described(array)}"
            )
        if len(direct) == 1:
            found[direct[0]].pairs.append((p, new))
        elif direct:
            raise ValueError(
                f"shard_optimizer requires updates of one gradient each; the new value of "
                f"{p.name}, {described(new)}, follows from {len(direct)}"
            )
    return [f for f in found.values() if f.pairs], whole


def elements_of(p: Parameter, new: Node) -> tuple[list[Node], list[Node]]:
    """What the elements of a new value follow from, element by element; and what from else."""
    own: list[Node] = []
    rest: list[Node] = []
    seen, open = {new}, [new]
    while open:
        n = open.pop()
        if n.shape == p.shape and not n.inputs:
            own.append(n)
        elif n.shape == p.shape and n.op.kind is Kind.ELEMENTWISE:
            more = [i for i in dict.fromkeys(n.inputs) if i not in seen]
            seen.update(more)
            open += more
        else:
            rest.append(n)
    return own, rest


class Sliced:
    """Rebuilds new values for a slice of their elements.

    Args:
        leaves: the slices of the values that elements follow from.
        state: what has no whole value.
        count: elements of the slice; ``first``: where it begins.
    """

    def __init__(
        self, leaves: Mapping[Node, Node], state: set[Node], order: tuple[int, ...], first: int,
        count: int,
    ):  # fmt: skip
        self.leaves, self.state, self.order = dict(leaves), state, order
        self.first, self.count = first, count

    def __call__(self, p: Parameter, n: Node) -> Node:
        """The slice of ``n``, of p's shape.

        Raises:
            ValueError: an element of it follows from other elements of the state.
        """
        if n in self.leaves:
            return self.leaves[n]
        if n.inputs and n.op.kind is Kind.ELEMENTWISE:
            made = n.op(*(self(p, i) for i in n.inputs), **dict(n.attrs))
        else:
            made = self.other(p, n)
        self.leaves[n] = made
        return made

    def other(self, p: Parameter, n: Node) -> Node:
        if not self.state.isdisjoint(Graph("", (), (n,)).nodes):
            raise ValueError(
                f"shard_optimizer requires updates element by element: the new value of {p.name} "
                f"follows from {described(n)}, of state of which each rank has a part"
            )
        if n.type.size == 1 != p.type.size:
            return ops.reshape(n, ())
        whole = ops.broadcast_to(n, p.shape) if n.shape != p.shape else n
        return row(whole, self.order)[self.first : self.first + self.count]


def row(n: Node, order: tuple[int, ...]) -> Node:
    """A value's elements as they are stored."""
    return ops.reshape(ops.transpose(n, order) if len(order) > 1 else n, (-1,))


def share_out(
    members: Sequence[Family], total: Node, cuts: Sequence[int], part: int, held: Set[Node]
) -> tuple[Node, list[Update], list[StateShare]]:
    """This rank's part of the updates by one bucket of gradients.

    Args:
        members: the bucket's, in its order.
        total: this rank's slice of the sum of the bucket's gradients.
        cuts: where each part of the bucket begins, and the end of the last.
        part: the number of this rank's.
        held: the parameters that every rank needs.

    Returns:
        The slice of the new values of what every rank needs, the updates of slices, and those.
    """
    low, high = cuts[part], cuts[part + 1]
    rows: list[Node] = []
    updates: list[Update] = []
    shares: list[StateShare] = []
    for f in members:
        within = [min(max(c - f.first, 0), f.size) for c in cuts]
        first, last = within[part], within[part + 1]
        every = [p for p, _ in f.pairs]
        parts: dict[Node, Parameter] = {p: _part(p, first, last) for p in every if last > first}
        for p in every:
            share = WeightShare if p in held else StateShare
            shares.append(share(p, parts.get(p), tuple(within)))
        if last == first:
            continue
        begin = max(low, f.first) - low
        leaves: dict[Node, Node] = {f.sum: total[begin : begin + last - first]}
        leaves.update(parts)
        state = {p for p in every if p not in held}
        sliced = Sliced(leaves, {*state}, f.order, first, last - first)
        for p, new in f.pairs:
            updates.append((parts[p], made := sliced(p, new)))
            if p in held:
                rows.append(made)
    assert high > low
    return (rows[0] if len(rows) == 1 else ops.concat(rows)), updates, shares


def _part(p: Parameter, first: int, last: int) -> Parameter:
    """State in place of elements of a parameter."""
    shape, kind = (last - first,), DTYPES[p.dtype].numpy
    part = parameter(shape, f"{p.name}[{first}:{last}]", p.dtype, lambda: np.zeros(shape, kind))
    part.state.trainable = False
    return part


def starts(sizes: Sequence[int]) -> list[int]:
    """Where values begin that come one after the other."""
    return [0, *accumulate(sizes)][:-1]
