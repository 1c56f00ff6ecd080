"""Losses between predictions and targets of one shape, and similarity."""

from __future__ import annotations

from typing import Any

from ..graph.ir import Node
from ..graph.op import ShapeError, constant
from .arithmetic import abs, div, maximum
from .logic import less, less_equal, where
from .loss import alike, reduced
from .math import exp, log, root, softplus
from .reduce import sum

__all__ = (
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_similarity", "huber_loss",
    "kl_div", "l1_loss", "smooth_l1_loss",
)  # fmt: skip


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """|prediction - target|: its mean, its sum, or each.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.

    Example:
        >>> import tinygraph as tg
        >>> float(tg.run(tg.l1_loss(tg.constant([1.0, 3.0]), tg.constant([0.0, 0.0]))))
        2.0
    """
    prediction, target = alike("l1_loss", prediction, target)
    return reduced("l1_loss", abs(prediction - target), reduction)


def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Node:
    """Half the squared difference up to ``delta``, linear beyond it (Huber, 1964).

    Args:
        prediction, target: floats of one shape.
        reduction: ``mean``, ``sum`` or ``none``.
        delta: where the parabola becomes a line, above 0.

    Raises:
        ShapeError: shapes differ, or ``delta`` is not above 0.

    Example:
        >>> tg.run(tg.huber_loss(tg.constant([0.5, 3.0]), tg.constant([0.0, 0.0]), "none"))
        array([0.125, 2.5  ], dtype=float32)
    """
    if not delta > 0:
        raise ShapeError(f"huber_loss requires delta above 0, got {delta}")
    prediction, target = alike("huber_loss", prediction, target)
    d = prediction - target
    size = abs(d)
    return reduced(
        "huber_loss",
        where(less_equal(size, delta), d * d * 0.5, (size - 0.5 * delta) * delta),
        reduction,
    )


def smooth_l1_loss(
    prediction: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Node:
    """``huber_loss`` divided by its delta, ``beta``; with beta 0 ``l1_loss``.

    Args:
        prediction, target, reduction: see ``tg.huber_loss``.

    Example:
        >>> tg.run(tg.smooth_l1_loss(tg.constant([0.5, 3.0]), tg.constant([0.0, 0.0]), "none"))
        array([0.125, 2.5  ], dtype=float32)
    """
    if beta == 0:
        return l1_loss(prediction, target, reduction)
    return huber_loss(prediction, target, reduction, beta) / beta


def binary_cross_entropy_with_logits(
    logits: Any,
    target: Any,
    reduction: str = "mean",
    *,
    weight: Any = None,
    pos_weight: Any = None,
) -> Node:
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(logits), without overflow.

    Args:
        logits: floats of any shape.
        target: probabilities of the same shape, 0 or 1 where they are labels.
        reduction: ``mean``, ``sum`` or ``none``.
        weight: what each part counts; broadcasts to the logits.
        pos_weight: what the part with t counts, for classes that are rare; broadcasts as well.

    Example:
        >>> import tinygraph as tg
        >>> loss = tg.binary_cross_entropy_with_logits(tg.constant([0.0]), tg.constant([1.0]))
        >>> round(float(tg.run(loss)), 4)
        0.6931
    """
    logits, target = alike("binary_cross_entropy_with_logits", logits, target)
    below = softplus(-logits)  # -log p
    if pos_weight is not None:
        below = below * (target * (_weight(pos_weight, logits) - 1) + 1)
    loss = (1 - target) * logits + below
    loss = loss if weight is None else loss * _weight(weight, logits)
    return reduced("binary_cross_entropy_with_logits", loss, reduction)


def binary_cross_entropy(
    probabilities: Any, target: Any, reduction: str = "mean", *, weight: Any = None
) -> Node:
    """-t log p - (1 - t) log(1 - p) of probabilities p; logarithms are at least -100, as PyTorch's.

    ``binary_cross_entropy_with_logits`` keeps more digits.

    Args:
        probabilities, target: floats of one shape in 0..1.
        reduction: ``mean``, ``sum`` or ``none``.
        weight: what each element counts; broadcasts to them.

    Example:
        >>> tg.run(tg.binary_cross_entropy(tg.constant([0.5, 0.5]), tg.constant([1.0, 0.0])))
        array(0.6931472, dtype=float32)
    """
    p, t = alike("binary_cross_entropy", probabilities, target)
    loss = -(t * _bounded_log(p) + (1 - t) * _bounded_log(1 - p))
    loss = loss if weight is None else loss * _weight(weight, p)
    return reduced("binary_cross_entropy", loss, reduction)


def _weight(weight: Any, like: Node) -> Node:
    return weight if isinstance(weight, Node) else constant(weight, like.dtype)


def _bounded_log(x: Node) -> Node:
    """log(x), at least -100."""
    least = 3.8e-44
    return where(less(x, least), -100.0, log(where(less(x, least), 1, x)))


def kl_div(logp: Any, target: Any, reduction: str = "mean", *, log_target: bool = False) -> Node:
    """target (log target - logp), the parts of the Kullback-Leibler divergence, as in PyTorch.

    Args:
        logp: logarithms of the model's probabilities.
        target: probabilities of the same shape, or with ``log_target`` their logarithms.
        reduction: ``mean`` over all elements, ``batchmean`` for the sum divided by the first axis'
            size, which is the divergence; ``sum`` or ``none``.

    Example:
        >>> p = tg.constant([[0.5, 0.5]])
        >>> tg.run(tg.kl_div(tg.log(p), tg.constant([[1.0, 0.0]]), "batchmean"))
        array(0.6931472, dtype=float32)
    """
    logp, target = alike("kl_div", logp, target)
    if log_target:
        parts = exp(target) * (target - logp)
    else:
        nothing = less_equal(target, 0)
        parts = where(nothing, 0, target * (log(where(nothing, 1, target)) - logp))
    if reduction == "batchmean":
        return div(sum(parts), logp.shape[0])
    return reduced("kl_div", parts, reduction)


def cosine_similarity(a: Any, b: Any, axis: int = 1, eps: float = 1e-8) -> Node:
    """The cosine of the angle between vectors along ``axis``: a . b / (|a| |b|).

    Args:
        a, b: floats of one shape.
        axis: the axis of the vectors, which the result lacks.
        eps: the least length that is divided by.

    Example:
        >>> import tinygraph as tg
        >>> a, b = tg.constant([[1.0, 0.0]]), tg.constant([[1.0, 1.0]])
        >>> round(float(tg.run(tg.cosine_similarity(a, b))[0]), 4)
        0.7071
    """
    a, b = alike("cosine_similarity", a, b)
    lengths = [maximum(root(sum(x * x, axis)), eps) for x in (a, b)]
    return sum(a * b, axis) / (lengths[0] * lengths[1])
