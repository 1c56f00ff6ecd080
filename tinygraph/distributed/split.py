"""A training step cut in two: what each shard of a batch computes, what follows from the sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from .. import ops
from ..graph.dtype import is_float
from ..graph.ir import Graph, Node
from ..graph.op import INPUT, input
from ..graph.origins import described
from ..graph.rewrite import substitute
from ..ops.random import STEP
from ..optim.optimizer import GRADIENT
from ..passes import Update, strip_effects


@dataclass(frozen=True)
class Split:
    """The two halves of a step.

    Attributes:
        inputs: of a shard: the user's, then ``weight``, the shard's part of the batch, and
            ``counter``, which random numbers of a shard follow from.
        values: what is summed over shards, each times ``weight``: first the user's outputs, then
            gradients, then statistics.
        outputs: how many of the values are the user's outputs.
        order: for each value the order of its axes in memory.
        sums: the inputs of the second half, a sum for each value.
        updates: (parameter, new value), which read ``sums``.
    """

    inputs: tuple[Node, ...]
    values: tuple[Node, ...]
    outputs: int
    order: tuple[tuple[int, ...], ...]
    sums: tuple[Node, ...]
    updates: tuple[Update, ...]
    dtype: str


def split(
    inputs: Sequence[Node], outputs: Sequence[Node], updates: Iterable[Update], shards: int
) -> Split:
    """Cuts a step where its gradients are.

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
    values, dtype = list(stripped.outputs), "float32"
    if any(v.dtype == "float64" for v in values):
        dtype = "float64"
    order = [() for _ in outputs] + [g.notes[GRADIENT] for g in gradients]
    sums = [input(f"sum.{i}", *v.shape, dtype=dtype) for i, v in enumerate(values)]
    known = {g: ops.cast(s, g.dtype)
             for g, s in zip(gradients, sums[len(outputs) :], strict=True)}  # fmt: skip
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
    drawn = substitute(Graph("step", tuple(inputs), tuple(scaled)), {STEP: counter})
    return Split(
        (*inputs, weight, counter), drawn.outputs, len(outputs), tuple(order), tuple(sums),
        tuple(pairs), dtype,
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
