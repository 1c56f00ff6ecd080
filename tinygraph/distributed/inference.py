"""Inference over many examples, shared out among all ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler.program import Program
from ..graph.numeric import numeric
from ..graph.size import Size
from ..ranks.tree import shards_of
from ..ranks.world import world

MANY = 500  # examples at a time for a program that takes any number


@numeric
def batch_inference(
    predict: Program, *arrays: Any, batch_size: int | None = None
) -> tuple[np.ndarray, ...]:
    """What a program gives for each example, computed by all ranks, on each of them.

    The examples are cut into batches, of which each rank takes its share; so results are the same
    bits at any number of ranks.

    Args:
        predict: a program whose inputs and outputs have the examples along their first axis.
        arrays: all examples, the same on every rank, in the order of the program's inputs.
        batch_size: examples at a time; by default what the program takes, 500 if that is open.

    Raises:
        ValueError: arrays of different lengths, an output without an axis of examples, or a size
            other than the program's.

    Example:
        >>> x = tg.input("x", None, 4)
        >>> predict = tg.compile([x], [tg.sum(x, 1)])
        >>> (sums,) = distributed.batch_inference(predict, np.ones((1000, 4), np.float32))
        >>> sums.shape, float(sums[0])
        ((1000,), 4.0)
    """
    inputs, ranks = [np.asarray(a) for a in arrays], world()
    if not inputs or len({len(a) for a in inputs}) != 1:
        raise ValueError(
            f"batch_inference requires arrays of one length, got {[len(a) for a in inputs]}"
        )
    fixed = predict.graph.inputs[0].shape[0]
    own_size = None if isinstance(fixed, Size) else int(fixed)
    size, count = batch_size or own_size or MANY, len(inputs[0])
    if own_size not in (None, size):
        raise ValueError(f"{predict.graph.name} takes batches of {own_size}, not of {size}")
    for t in predict.types:
        if not t.shape or not (isinstance(t.shape[0], Size) or t.shape[0] == own_size):
            raise ValueError(
                f"batch_inference requires outputs with an axis of examples first, got {t}"
            )
    batches = -(-count // size)
    cuts = [min(b * size, count) for b in range(batches + 1)]
    results = [np.empty((count, *t.shape[1:]), t.dtype) for t in predict.types]
    held = [shards_of(r, ranks.size, batches) for r in range(ranks.size)]
    for b in held[ranks.rank]:
        ranks.doing = f"batch {b + 1} of {batches} of {predict.graph.name}"
        rows = slice(cuts[b], cuts[b + 1])
        given = [_filled(a[rows], own_size) for a in inputs]
        for result, found in zip(results, predict(*given), strict=True):
            result[rows] = found[: rows.stop - rows.start]
    for result in results:
        parts = [result[cuts[h.start] : cuts[h.stop]] for h in held]
        ranks.exchange([parts[ranks.rank]] * ranks.size, parts)
    return tuple(results)


def _filled(rows: np.ndarray, size: int | None) -> np.ndarray:
    """The rows, repeated up to ``size`` where a program takes no fewer."""
    if size is None or len(rows) == size:
        return rows
    return np.resize(rows, (size, *rows.shape[1:]))
