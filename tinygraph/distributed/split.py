"""A training step as each shard of a batch makes it: its part, the sum, what follows from that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from .. import ops
from ..graph.dtype import is_float
from ..graph.ir import Graph, Node, same_nodes
from ..graph.op import INPUT, input
from ..graph.origins import described
from ..graph.rewrite import substitute
from ..ops.collective import SHARD_SUM
from ..ops.random import STEP
from ..optim.optimizer import GRADIENT
from ..passes import Update, strip_effects

BUCKET = 4 << 20  # bytes that are summed at a time, at least: long enough for a network's latency


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
    """

    inputs: tuple[Node, ...]
    totals: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[Update, ...]
    counters: tuple[Update, ...]
    draws: bool


def split(
    inputs: Sequence[Node], outputs: Sequence[Node], updates: Iterable[Update], shards: int
) -> ShardStep:
    """Adds the sum over shards to a step, where its gradients are.

    Raises:
        ValueError: an output is no mean over the batch, or a parameter's new value follows from the
            batch in a way that is neither a gradient's nor a float to be averaged.
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
    weight = input("shard.weight", dtype=values.dtype)
    counter = input("shard.counter", dtype="int32")
    scaled = tuple(ops.cast(v, values.dtype) * weight for v in values.nodes)
    drawn = substitute(Graph("step", tuple(inputs), scaled), {STEP: counter}).outputs
    totals, parts = summed(drawn, values, range(count, count + len(gradients)), shards)
    batch = [i for i, (_, new) in enumerate(pairs) if reads(new, sums)]
    whole = Graph("update", (), (*sums[:count], *(pairs[i][1] for i in batch)))
    results = substitute(whole, parts).outputs
    return ShardStep(
        (*inputs, weight, counter), totals, results[:count],
        tuple(zip((pairs[i][0] for i in batch), results[count:], strict=True)),
        tuple(pair for i, pair in enumerate(pairs) if i not in set(batch)),
        reads(totals[-1], [counter]),
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


def summed(
    scaled: Sequence[Node], values: Values, gradients: range, shards: int
) -> tuple[tuple[Node, ...], dict[Node, Node]]:
    """The sums over shards of buckets of values, and each value's part of them.

    What the forward pass gives is in the first bucket, with the gradients that come first.
    """
    buckets = [[i for i in range(len(scaled)) if i not in gradients]]
    for i in gradients:
        if sum(scaled[k].type.bytes for k in buckets[-1]) >= BUCKET:
            buckets.append([])
        buckets[-1].append(i)
    totals: list[Node] = []
    parts: dict[Node, Node] = {}
    for bucket in filter(None, buckets):
        order, sums = [values.order[i] for i in bucket], [values.sums[i] for i in bucket]
        row = flat([scaled[i] for i in bucket], order)
        totals.append(SHARD_SUM(*totals[-1:], row, shards=shards))
        parts |= zip(sums, unflat(totals[-1], sums, order), strict=True)
    return tuple(totals), parts


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
