"""A training step as each shard of a batch makes it: its part, the sum, what follows from that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from .. import ops
from ..graph.dtype import is_float
from ..graph.ir import Graph, Node, Parameter, same_nodes
from ..graph.op import INPUT, input
from ..graph.origins import described
from ..graph.rewrite import substitute
from ..ops.collective import GATHER_SLICES, SHARD_SLICE, SHARD_SUM
from ..ops.random import STEP
from ..optim.optimizer import GRADIENT
from ..passes import Update, strip_effects
from ..ranks.levels import part_of
from .shared_state import StateShare, families, share_out, starts

BUCKET = 4 << 20  # bytes that are summed at a time, unless one gradient has more


@same_nodes
@dataclass(frozen=True)
class ShardStep:
    """A training step as one graph of a shard, with one sum over all shards within it.

    Attributes:
        inputs: of a shard: the user's, then ``weight``, the shard's part of the batch, and
            ``counter``, which random numbers of a shard follow from.
        totals: the sums over shards, each of a bucket of values, one after the other as they are
            stored. Buckets are in the order in which the backward pass completes them.
        outputs: the user's, of the whole batch.
        updates: (parameter, new value), which read ``total``.
        counters: (parameter, new value) that follow from no batch.
        draws: whether a shard draws random numbers, from ``counter``.
        gathered: what is gathered from all ranks after the sums: slices of new values.
        shares: an optimizer's state of which this rank has a part.
    """

    inputs: tuple[Node, ...]
    totals: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[Update, ...]
    counters: tuple[Update, ...]
    draws: bool
    gathered: tuple[Node, ...] = ()
    shares: tuple[StateShare, ...] = ()


def split(
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    updates: Iterable[Update],
    shards: int,
    place: tuple[int, int] = (0, 1),
    wire: str = "",
) -> ShardStep:
    """Adds the sum over shards to a step, where its gradients are.

    Args:
        place: this rank and how many there are, if they share out the optimizer's state.
        wire: what gradients are sent as, if not as they are.

    Raises:
        ValueError: an output is no mean over the batch, or a parameter's new value follows from the
            batch in a way that is neither a gradient's nor a float to be averaged; with ``wire``,
            something is float64.
    """
    for n in outputs:
        if n.shape or not is_float(n.dtype):
            raise ValueError(
                f"data_parallel returns means over the batch: {described(n)} is {n.type}, not one "
                "float; batch_inference returns a result for each example"
            )
    given = tuple(updates)
    gradients = in_backward_order(g for _, new in given for g in topmost_gradients(new))
    first = Graph("step", tuple(inputs), (*outputs, *gradients))
    stripped, effects = strip_effects(first)
    count = len(outputs)
    values = Values(list(stripped.outputs), [()] * count + [g.notes[GRADIENT] for g in gradients])
    sums = values.sums
    known = {g: ops.cast(s, g.dtype) for g, s in zip(gradients, sums[count:], strict=True)}
    after = substitute(Graph("update", (), tuple(new for _, new in given)), known).outputs
    pairs: list[Update] = []
    for p, new in (*zip((p for p, _ in given), after, strict=True), *effects):
        if reads(new, inputs):
            if not is_float(new.dtype):
                raise ValueError(
                    f"data_parallel averages over shards what follows from the batch; the new "
                    f"value of {p.name}, {described(new)}, is {new.type}"
                )
            new = ops.cast(values.add(new, p.state.order), new.dtype)
        pairs.append((p, new))
    if wire and values.dtype != "float32":
        raise ValueError(f"data_parallel sends float32 as {wire}, and this step has {values.dtype}")
    weight = input("shard.weight", dtype=values.dtype)
    counter = input("shard.counter", dtype="int32")
    scaled = tuple(ops.cast(v, values.dtype) * weight for v in values.nodes)
    drawn = substitute(Graph("step", tuple(inputs), scaled), {STEP: counter}).outputs
    batch = [i for i, (_, new) in enumerate(pairs) if reads(new, sums)]
    rest = tuple(pair for i, pair in enumerate(pairs) if i not in set(batch))
    made, numbers = [pairs[i] for i in batch], range(count, count + len(gradients))
    summing = BucketSums(drawn, values, shards, place, numbers, wire)
    if place[1] == 1:
        summing.add(buckets_of(drawn, numbers, bool(wire)))
    else:
        made = summing.shared_out(made, set(Graph("step", (), drawn).parameters))
    whole = Graph("update", (), (*sums[:count], *(new for _, new in made)))
    results = substitute(whole, summing.parts).outputs
    return ShardStep(
        (*inputs, weight, counter), tuple(summing.totals), results[:count],
        tuple(zip((p for p, _ in made), results[count:], strict=True)), rest,
        reads(summing.totals[-1], [counter]), tuple(summing.gathered), tuple(summing.shares),
    )  # fmt: skip


class Values:
    """What is summed over shards, each times its weight: outputs, gradients, then statistics.

    Attributes:
        order: for each value the order of its axes in memory.
        sums: an input that stands for the sum of each.
    """

    def __init__(self, nodes: list[Node], order: list[tuple[int, ...]]):
        self.nodes, self.order = nodes, order
        self.dtype = "float64" if any(v.dtype == "float64" for v in nodes) else "float32"
        self.sums = [input(f"sum.{i}", *v.shape, dtype=self.dtype) for i, v in enumerate(nodes)]

    def add(self, node: Node, order: tuple[int, ...]) -> Node:
        """Sums one more; returns its sum."""
        self.nodes.append(node)
        self.order.append(order)
        self.sums.append(input(f"sum.{len(self.sums)}", *node.shape, dtype=self.dtype))
        return self.sums[-1]


def buckets_of(scaled: Sequence[Node], gradients: range, apart: bool = False) -> list[list[int]]:
    """Numbers of the values of each bucket.

    What the forward pass gives is in the first bucket, with the gradients that come first unless
    those are sent otherwise: ``apart``.
    """
    buckets = [[i for i in range(len(scaled)) if i not in gradients]]
    if apart:
        buckets.append([])
    for i in gradients:
        if buckets[-1] and sum(scaled[k].type.bytes for k in (*buckets[-1], i)) > BUCKET:
            buckets.append([])
        buckets[-1].append(i)
    return [bucket for bucket in buckets if bucket]


class BucketSums:
    """The sums over shards of buckets of values.

    Args:
        gradients: numbers of the values that are gradients; ``wire``: what they are sent as.

    Attributes:
        totals: the sums.
        parts: for each value's sum, which an input stands for, what it is a part of.
        gathered: new values of all ranks' slices; shares: the optimizer's state.
    """

    def __init__(
        self,
        scaled: Sequence[Node],
        values: Values,
        shards: int,
        place: tuple[int, int],
        gradients: range,
        wire: str,
    ):
        self.scaled, self.values, self.shards, self.place = scaled, values, shards, place
        self.gradients, self.wire = gradients, wire
        self.totals: list[Node] = []
        self.parts: dict[Node, Node] = {}
        self.gathered: list[Node] = []
        self.shares: list[StateShare] = []

    def add(self, buckets: Sequence[Sequence[int]]) -> None:
        """Sums of buckets of which every rank needs all."""
        for bucket in buckets:
            self.sum(self.row(bucket), bucket)

    def row(self, bucket: Sequence[int]) -> Node:
        """What is summed: the values of a bucket, one after the other."""
        return flat([self.scaled[i] for i in bucket], [self.values.order[i] for i in bucket])

    def sum(self, row: Node, bucket: Sequence[int]) -> None:
        """The sum of a row, and of each value in it."""
        order, sums = [self.values.order[i] for i in bucket], [self.values.sums[i] for i in bucket]
        sent = self.sent_as(bucket)
        self.totals.append(SHARD_SUM(*self.totals[-1:], row, shards=self.shards, **sent))
        self.parts |= zip(sums, unflat(self.totals[-1], sums, order), strict=True)

    def sent_as(self, bucket: Sequence[int]) -> dict[str, str]:
        """Attributes of the sum of a bucket, of which gradients may be sent as something else."""
        return {"wire": self.wire} if self.wire and {*bucket} <= {*self.gradients} else {}

    def shared_out(self, after: Sequence[Update], read: set[Parameter]) -> list[Update]:
        """Sums of which each rank gets the slice that it makes updates with; returns the updates.

        Args:
            after: parameters and new values that follow from sums.
            read: parameters that each shard reads, which all ranks must have.
        """
        known = {self.values.sums[i]: self.values.order[i] for i in self.gradients}
        found, everything = families(after, known)
        by_sum = {f.sum: f for f in found}
        shared = {id(p) for f in found for p, _ in f.pairs}
        updates = [pair for pair in after if id(pair[0]) not in shared]
        ranks, part = self.place[1], part_of(*self.place)
        gradients = self.gradients
        for bucket in buckets_of(self.scaled, gradients, bool(self.wire)):
            mine = [self.values.sums[i] for i in bucket if i in gradients]
            members = [by_sum[s] for s in mine if s in by_sum]
            weights = [sum(p in read for p, _ in f.pairs) for f in members]
            if weights != [1] * len(mine) or sum(f.size for f in members) < ranks:
                self.add([bucket])
                updates += [pair for f in members for pair in f.pairs]
                continue
            for f, first in zip(members, starts([f.size for f in members]), strict=True):
                f.first = first
            size = sum(f.size for f in members)
            cuts = [size * r // ranks for r in range(ranks + 1)]
            others = [i for i in bucket if i not in gradients]
            total = self.slice(bucket, others, cuts[part : part + 2], everything)
            own, more, held = share_out(members, total, cuts, part, {*read})
            updates += more
            self.shares += held
            self.gathered.append(GATHER_SLICES(own, ranks=ranks, size=size))
            orders = [f.order for f in members]
            values = unflat(self.gathered[-1], [f.sum for f in members], orders)
            for f, value in zip(members, values, strict=True):
                updates += [(p, ops.cast(value, p.dtype)) for p, _ in f.pairs if p in read]
        return updates

    def slice(
        self, bucket: Sequence[int], others: Sequence[int], cuts: Sequence[int], everything: bool
    ) -> Node:
        """A slice of the sum of a bucket's gradients, which come after ``others``, whose sums all
        ranks need, or need ``everything``. What is computed before does not depend on it, so that
        its bits do not either.
        """
        row, skip = self.row(bucket), sum(prod(self.values.sums[i].shape) for i in others)
        first, last = cuts
        if everything:
            self.sum(row, bucket)
            return self.totals[-1][skip + first : skip + last]
        if others:
            self.sum(row[:skip], others)
            row = row[skip:]
        before = self.totals[-1:]
        sent = self.sent_as([i for i in bucket if i not in others])
        self.totals.append(
            SHARD_SLICE(*before, row, shards=self.shards, first=first, last=last, **sent)
        )
        return self.totals[-1]


def in_backward_order(gradients: Iterable[Node]) -> list[Node]:
    """Each gradient once, those first that the backward pass completes first: the least deep."""
    found = list(dict.fromkeys(gradients))
    depth: dict[Node, int] = {}
    for n in Graph("", (), tuple(found)).nodes:
        depth[n] = 1 + max((depth[i] for i in n.inputs), default=0)
    return sorted(found, key=depth.__getitem__)


def topmost_gradients(new: Node) -> Iterator[Node]:
    """The gradients that an optimizer made a new value from, not those that they contain."""
    seen, open = {new}, [new]
    while open:
        n = open.pop()
        if GRADIENT in n.notes:
            yield n
            continue
        for i in reversed(n.inputs):
            if i not in seen:
                seen.add(i)
                open.append(i)


def reads(n: Node, inputs: Sequence[Node]) -> bool:
    """Whether a value follows from any of these inputs."""
    found = {m for m in Graph("", (), (n,)).nodes if m.op is INPUT}
    return not found.isdisjoint(inputs)


def flat(values: Sequence[Node], order: Sequence[tuple[int, ...]]) -> Node:
    """The values one after the other, each as it is stored."""
    rows = [ops.reshape(ops.transpose(v, o) if len(o) > 1 else v, (-1,))
            for v, o in zip(values, order, strict=True)]  # fmt: skip
    return rows[0] if len(rows) == 1 else ops.concat(rows)


def unflat(whole: Node, sums: Sequence[Node], order: Sequence[tuple[int, ...]]) -> list[Node]:
    """The values out of what ``flat`` made."""
    found, at = [], 0
    for s, o in zip(sums, order, strict=True):
        size = prod(s.shape)
        part = whole[at : at + size]
        at += size
        if len(o) > 1:
            stored = ops.reshape(part, tuple(s.shape[a] for a in o))
            inverse = tuple(o.index(a) for a in range(len(o)))
            found.append(ops.transpose(stored, inverse))
        else:
            found.append(ops.reshape(part, s.shape))
    return found
