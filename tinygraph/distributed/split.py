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


@same_nodes
@dataclass(frozen=True)
class ShardStep:
    """A training step as one graph of a shard, with one sum over all shards within it.

    Attributes:
        inputs: of a shard: the user's, then ``weight``, the shard's part of the batch, and
            ``counter``, which random numbers of a shard follow from.
        values: what is summed over shards, each times ``weight``: first the user's outputs, then
            gradients, then statistics.
        total: the sums, one after the other, each as it is stored.
        outputs: the user's, of the whole batch.
        updates: (parameter, new value), which read ``total``.
        counters: (parameter, new value) that follow from no batch.
        draws: whether a shard draws random numbers, from ``counter``.
    """

    inputs: tuple[Node, ...]
    values: tuple[Node, ...]
    total: Node
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
    gradients = list(dict.fromkeys(g for _, new in given for g in topmost_gradients(new)))
    first = Graph("step", tuple(inputs), (*outputs, *gradients))
    stripped, effects = strip_effects(first)
    values, count = list(stripped.outputs), len(outputs)
    dtype = "float64" if any(v.dtype == "float64" for v in values) else "float32"
    order = [() for _ in outputs] + [g.notes[GRADIENT] for g in gradients]
    sums = [input(f"sum.{i}", *v.shape, dtype=dtype) for i, v in enumerate(values)]
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
            values.append(new)
            order.append(p.state.order)
            sums.append(input(f"sum.{len(sums)}", *new.shape, dtype=dtype))
            new = ops.cast(sums[-1], new.dtype)
        pairs.append((p, new))
    weight = input("shard.weight", dtype=dtype)
    counter = input("shard.counter", dtype="int32")
    scaled = [ops.cast(v, dtype) * weight for v in values]
    drawn = substitute(Graph("step", tuple(inputs), tuple(scaled)), {STEP: counter}).outputs
    total = SHARD_SUM(flat(drawn, order), shards=shards)
    made = [new if reads(new, sums) else None for _, new in pairs]
    whole = Graph("update", (), (*sums[:count], *(new for new in made if new is not None)))
    parts = dict(zip(sums, unflat(total, sums, order), strict=True))
    results = substitute(whole, parts).outputs
    summed = [p for (p, _), new in zip(pairs, made, strict=True) if new is not None]
    return ShardStep(
        (*inputs, weight, counter), drawn, total, results[:count],
        tuple(zip(summed, results[count:], strict=True)),
        tuple(pair for pair, new in zip(pairs, made, strict=True) if new is None),
        reads(total, [counter]),
    )  # fmt: skip


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
