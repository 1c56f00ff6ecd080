"""Connectionist temporal classification: labels of a sequence without their places in it."""

from __future__ import annotations

import math
from typing import Any

from ..graph.dtype import is_float, is_integer
from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .along import TAKE_ALONG
from .arithmetic import maximum
from .indexing import concat, getitem
from .logic import cast, equal, less, logical_and, not_equal, where
from .loss import reduced
from .math import exp, log
from .reduce import mean
from .scan import scan
from .source import axis_index, full, ramp
from .view import broadcast_to, reshape

__all__ = ("ctc_loss",)

NEVER = -1e30  # the logarithm of no probability; differences of it are numbers


def ctc_loss(
    logp: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Node:
    """-log of the probability that a sequence, without repetitions and blanks, is its target.

    One loop over the steps adds up all alignments (Graves et al., ICML 2006, section 4.1).

    Args:
        logp: [T, N, C], logarithms of probabilities, as ``tg.log_softmax(x, -1)`` makes them.
        targets: [N, S], integers 0 to C - 1 other than ``blank``; what is beyond a target's length
            does not matter.
        input_lengths, target_lengths: [N], integers: how many steps and labels count.
        blank: the class that stands for no label.
        reduction: ``mean`` of each loss divided by its target's length, ``sum``, or ``none`` [N].
        zero_infinity: targets that do not fit their sequence add 0 instead of infinity.

    Raises:
        ShapeError: shapes or dtypes do not fit.

    Example:
        >>> logp = tg.log_softmax(tg.zeros((12, 1, 5)), -1)  # 12 steps, 5 classes, 0 is no label
        >>> labels, n = tg.constant([[1, 2, 2]], "int32"), tg.constant([3], "int32")
        >>> tg.ctc_loss(logp, labels, tg.constant([12], "int32"), n).shape
        ()
    """
    logp, targets, steps, labels = (  # each has a dtype of its own
        promote("ctc_loss", (v,))[0] for v in (logp, targets, input_lengths, target_lengths)
    )
    counts = all(is_integer(n.dtype) for n in (targets, steps, labels))
    if logp.ndim != 3 or not is_float(logp.dtype) or not counts or targets.ndim != 2:
        raise ShapeError(
            "ctc_loss requires floats logp[T, N, C] and integers targets[N, S], input_lengths[N] "
            f"and target_lengths[N], got {logp.type}, {targets.type}, {steps.type}, {labels.type}"
        )
    (length, n, _), size = logp.shape, targets.shape[1]
    if targets.shape[0] != n or steps.shape != (n,) or labels.shape != (n,):
        raise ShapeError(
            f"ctc_loss requires targets and lengths for {n} sequences, "
            f"got {targets.type}, {steps.type}, {labels.type}"
        )
    targets, steps, labels = (cast(x, "int32") for x in (targets, steps, labels))
    states = 2 * size + 1
    pairs = concat([full((n, size, 1), blank, "int32"), reshape(targets, (n, size, 1))], 2)
    path = concat([reshape(pairs, (n, 2 * size)), full((n, 1), blank, "int32")], 1)
    emitted = TAKE_ALONG(logp, broadcast_to(path, (length, n, states)), axis=2)
    two_before = _later(path, 2, -1)
    jumps = logical_and(not_equal(path, blank), not_equal(path, two_before))

    def step(alpha: Node, row: Node, t: Node) -> Node:
        ways = (alpha, _later(alpha, 1, NEVER), where(jumps, _later(alpha, 2, NEVER), NEVER))
        top = maximum(maximum(ways[0], ways[1]), ways[2])
        total = exp(ways[0] - top) + exp(ways[1] - top) + exp(ways[2] - top)
        counted = reshape(less(t, steps), (n, 1))
        return where(counted, log(total) + top + row, alpha)

    first = where(equal(axis_index((n, states), 1), 0), full((n, states), 0, logp.dtype), NEVER)
    (alpha,), _ = scan(step, first, (emitted, ramp(length)))
    last = reshape(labels * 2, (n, 1))
    ends = TAKE_ALONG(alpha, last, axis=1), TAKE_ALONG(alpha, last - 1, axis=1)
    without = where(less(0, reshape(labels, (n, 1))), ends[1], NEVER)
    top = maximum(ends[0], without)
    found = reshape(log(exp(ends[0] - top) + exp(without - top)) + top, (n,))
    impossible = less(found, NEVER / 2)
    loss = where(impossible, 0.0 if zero_infinity else math.inf, -where(impossible, 0, found))
    if reduction == "mean":
        return mean(loss / cast(maximum(labels, 1), loss.dtype))
    return reduced("ctc_loss", loss, reduction)


def _later(x: Node, places: int, value: float) -> Node:
    """x[N, S] moved on along its last axis, with ``value`` in front."""
    n, size = x.shape
    if size <= places:
        return full(x.shape, value, x.dtype)
    return concat([full((n, places), value, x.dtype), getitem(x, (slice(None), slice(-places)))], 1)
