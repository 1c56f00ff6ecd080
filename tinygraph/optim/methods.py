"""The methods: how a gradient changes a parameter, each with its paper."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..graph.ir import Node, Parameter
from ..graph.numeric import numeric
from ..graph.op import constant
from .optimizer import Optimizer, Schedule, Updates, state


@numeric
class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al., ICML 2013).

    b = momentum * b + g and p = p - lr * b, or with ``nesterov`` p = p - lr * (g + momentum * b).

    Args:
        lr, options: see ``optim.Optimizer``.
        momentum: how much of b stays in each step, 0 to 1.
        nesterov: see above.

    Example:
        >>> optimizer = optim.SGD(0.1, momentum=0.9, weight_decay=1e-4)
    """

    def __init__(
        self, lr: float | Schedule, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ):
        super().__init__(lr, **options)
        if nesterov and not momentum:
            raise ValueError("SGD requires a momentum for nesterov=True")
        self._require(momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        if not self.momentum:
            return [(p, p - lr * g)]
        slot = self._slot("momentum", p)
        moved = slot * self.momentum + g
        return [
            (p, p - lr * (g + moved * self.momentum if self.nesterov else moved)),
            (slot, moved),
        ]


@numeric
class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1).

    Args:
        lr, options: see ``optim.Optimizer``.
        betas: how much of the means of gradients and of their squares stays in each step.
        eps: is added to the root.

    Example:
        >>> x = tg.parameter([3.0])
        >>> updates = optim.Adam(0.1).updates(tg.sum(x * x), [x])
        >>> step = tg.compile([], [], updates=updates)
        >>> _ = step()
        >>> x.value
        array([2.9], dtype=float32)
    """

    _counts = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Any,
    ):
        super().__init__(lr, **options)
        self._require(1, **{"betas[0]": betas[0], "betas[1]": betas[1]})
        self._require(eps=eps)
        self.betas, self.eps = betas, eps

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        (b1, b2), t = self.betas, ops.cast(self.step + 1, p.dtype)
        mean, square = self._slot("mean", p), self._slot("square", p)
        new_mean = mean + (g - mean) * (1 - b1)
        new_square = square * b2 + g * g * (1 - b2)
        rate = lr / _one_minus_power(b1, t)
        size = ops.sqrt(new_square) / ops.sqrt(_one_minus_power(b2, t)) + self.eps
        return [(p, self._decayed(p, lr) - rate * (new_mean / size)), (mean, new_mean),
                (square, new_square)]  # fmt: skip

    def _decayed(self, p: Parameter, lr: Node) -> Node:
        return p


@numeric
class AdamW(Adam):
    """Adam with weights that shrink by lr * weight_decay (Loshchilov and Hutter, ICLR 2019).

    Args:
        options: see ``optim.Adam``.

    Example:
        >>> optimizer = optim.AdamW(optim.cosine(1e-3, steps=10_000, warmup=500), clip=1.0)
    """

    _coupled = False

    def __init__(self, lr: float | Schedule = 1e-3, *, weight_decay: float = 0.01, **options: Any):
        super().__init__(lr, weight_decay=weight_decay, **options)

    def _decayed(self, p: Parameter, lr: Node) -> Node:
        return p * (1 - lr * self._decay(p)) if self._decay(p) else p


@numeric
class RMSprop(Optimizer):
    """Gradients over the root of their running mean square (Tieleman and Hinton, 2012).

    With ``centered`` their running variance instead; ``momentum`` acts on the quotient.

    Args:
        lr, options: see ``optim.Optimizer``.
        alpha: how much of the mean square stays in each step.
        eps: is added to the root.

    Example:
        >>> optimizer = optim.RMSprop(0.01, centered=True)
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Any,
    ):
        super().__init__(lr, **options)
        self._require(1, alpha=alpha)
        self._require(eps=eps, momentum=momentum)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        square = self._slot("square", p)
        spread = new_square = square * self.alpha + g * g * (1 - self.alpha)
        updates: Updates = [(square, new_square)]
        if self.centered:
            mean = self._slot("mean", p)
            new_mean = mean + (g - mean) * (1 - self.alpha)
            spread = ops.maximum(new_square - new_mean * new_mean, 0)  # rounding
            updates.append((mean, new_mean))
        change = g / (ops.sqrt(spread) + self.eps)
        if self.momentum:
            slot = self._slot("momentum", p)
            change = slot * self.momentum + change
            updates.append((slot, change))
        return [(p, p - lr * change), *updates]


@numeric
class Adagrad(Optimizer):
    """Gradients over the root of the sum of their squares (Duchi et al., JMLR 12, 2011).

    Args:
        lr_decay: the rate is divided by 1 + step * lr_decay.
        eps: is added to the root.
        initial_accumulator_value: the sums at first.
        lr, options: see ``optim.Optimizer``.

    Example:
        >>> optimizer = optim.Adagrad(0.01)
    """

    _counts = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        eps: float = 1e-10,
        initial_accumulator_value: float = 0.0,
        **options: Any,
    ):
        super().__init__(lr, **options)
        self._require(lr_decay=lr_decay, eps=eps, initial=initial_accumulator_value)
        self.lr_decay, self.eps, self.initial = lr_decay, eps, initial_accumulator_value

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        slot = self._slot("sum", p, self.initial)
        total = slot + g * g
        if self.lr_decay:
            lr = lr / (ops.cast(self.step, p.dtype) * self.lr_decay + 1)
        return [(p, p - lr * (g / (ops.sqrt(total) + self.eps))), (slot, total)]


@numeric
class NAdam(Adam):
    """Adam that looks ahead, as Nesterov's momentum does (Dozat, ICLR workshop, 2016).

    ``momentum_decay`` is that of the paper's schedule of the first beta, as in PyTorch.

    Args:
        lr, betas, eps, options: see ``optim.Adam``.

    Example:
        >>> optimizer = optim.NAdam(0.002)
    """

    def __init__(
        self,
        lr: float | Schedule = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
        **options: Any,
    ):
        super().__init__(lr, betas, eps, **options)
        self._require(momentum_decay=momentum_decay)
        self.momentum_decay = momentum_decay
        self._product = state("momentum_product", (), value=1.0)

    def _momentum(self, step: Node) -> Node:
        """The first beta at a step that is counted from 1."""
        power = ops.exp(ops.cast(step, "float32") * (self.momentum_decay * math.log(0.96)))
        return (1 - power * 0.5) * self.betas[0]

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        (b1, b2), t = self.betas, ops.cast(self.step + 1, p.dtype)
        mean, square = self._slot("mean", p), self._slot("square", p)
        new_mean = mean + (g - mean) * (1 - b1)
        new_square = square * b2 + g * g * (1 - b2)
        now, later = self._momentum(self.step + 1), self._momentum(self.step + 2)
        product = self._product * now
        size = ops.sqrt(new_square / _one_minus_power(b2, t)) + self.eps
        by_gradient = ops.cast((1 - now) / (1 - product), p.dtype) * lr
        by_mean = ops.cast(later / (1 - product * later), p.dtype) * lr
        change = by_gradient * (g / size) + by_mean * (new_mean / size)
        return [(p, p - change), (mean, new_mean), (square, new_square)]

    def _shared(self) -> Updates:
        return [(self._product, self._product * self._momentum(self.step + 1))]


@numeric
class Lion(Optimizer):
    """The sign of a mean of gradients (Chen et al., NeurIPS 2023, algorithm 2).

    Weights shrink by lr * weight_decay, as AdamW's do; rates are 3 to 10 times smaller than its.

    Args:
        betas: the mean that gives the sign, and the mean that is kept.
        options: see ``optim.Optimizer``.

    Example:
        >>> optimizer = optim.Lion(1e-4, weight_decay=0.1)
    """

    _coupled = False

    def __init__(
        self, lr: float | Schedule = 1e-4, betas: tuple[float, float] = (0.9, 0.99), **options: Any
    ):
        super().__init__(lr, **options)
        self._require(1, **{"betas[0]": betas[0], "betas[1]": betas[1]})
        self.betas = betas

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        mean = self._slot("mean", p)
        direction = ops.sign(mean * self.betas[0] + g * (1 - self.betas[0]))
        decay = self._decay(p)
        kept = p * (1 - lr * decay) if decay else p
        return [(p, kept - lr * direction), (mean, mean * self.betas[1] + g * (1 - self.betas[1]))]


def _one_minus_power(base: float, t: Node) -> Node:
    """1 - base^t, which cancels at small t if computed directly."""
    return -ops.expm1(t * math.log(base)) if base else ops.cast(constant(1.0), t.dtype)
