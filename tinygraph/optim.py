"""Optimizers: graph nodes for what parameters become, PyTorch's formulas; learning-rate schedules.

``optimizer.updates(loss, parameters)`` gives pairs (parameter, new value) for ``tg.compile``. State
(momenta, the step counter, a settable learning rate) is made of parameters too, so that it lives
outside of the program and goes into checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import ops
from .autodiff import grad
from .graph.ir import Graph, Node, Parameter
from .graph.op import constant
from .graph.parameter import parameter
from .nn.module import assign

Schedule = Callable[[Node], Any]
Updates = list[tuple[Parameter, Node]]


class Optimizer:
    """The base of optimizers: learning rate, step counter, state and clipping.

    Args:
        lr: a number, which becomes a parameter (``optimizer.lr.value = 0.01`` changes it between
            runs), or a schedule: a function of the node of the step counter, int32, 0 at first.
        weight_decay: weight_decay * p is added to the gradient of each parameter p.
        clip: if the norm of all gradients together is above, they are scaled down to it.

    Raises:
        TypeError, ValueError: something is not a number, or not in its range, in every optimizer.
    """

    def __init__(
        self, lr: float | Schedule, *, weight_decay: float = 0.0, clip: float | None = None
    ):
        if not callable(lr):
            self._require(lr=lr)
        self._require(weight_decay=weight_decay, clip=0.0 if clip is None else clip)
        self.step = _state("step", (), "int32")
        self._lr: Parameter | Schedule = lr if callable(lr) else _state("lr", (), value=lr)
        self.weight_decay, self.clip = weight_decay, clip
        self._slots: dict[tuple[str, Parameter], Parameter] = {}  # by kind and parameter

    def _require(self, below: float = math.inf, **numbers: Any) -> None:
        """That these are numbers from 0 on, and ``below`` another."""
        for name, x in numbers.items():
            if isinstance(x, bool) or not isinstance(x, (int, float, np.number)):
                raise TypeError(f"{type(self).__name__} requires a number as {name}, got {x!r}")
            if not 0 <= x < below:
                raise ValueError(f"{type(self).__name__} requires 0 <= {name} < {below}, got {x}")

    @property
    def lr(self) -> Parameter | Schedule:
        """The learning rate: a parameter, unless it is a schedule."""
        return self._lr

    @lr.setter
    def lr(self, rate: Any) -> None:
        raise AttributeError("programs read the learning rate's parameter: set optimizer.lr.value")

    def updates(
        self, loss: Node, parameters: Sequence[Parameter], grads: Sequence[Node] | None = None
    ) -> Updates:
        """New values of each parameter, and of this optimizer's state, after one step.

        Args:
            grads: the gradients, if they are not those of ``tg.grad(loss, parameters)``.

        Raises:
            ValueError: the loss depends on none of the parameters, or no parameters are given.
            GradientError: the loss is not one float, or something on the way has no gradient.
        """
        if grads is None:
            _require_reached(loss, parameters)
            grads = grad(loss, parameters)
        if not parameters or len(parameters) != len(grads):
            raise ValueError(
                f"{type(self).__name__} requires parameters and a gradient for each, "
                f"got {len(parameters)} parameters and {len(grads)} gradients"
            )
        if self.clip is not None:
            grads = clip_by_global_norm(grads, self.clip)
        rate = self.lr if isinstance(self.lr, Parameter) else _node(self.lr(self.step))
        updates: Updates = []
        for p, g in zip(parameters, grads, strict=True):
            with_decay = g + p * self.weight_decay if self.weight_decay and self._coupled else g
            updates += self._update(p, with_decay, ops.cast(rate, p.dtype))
        if self._counts or not isinstance(self.lr, Parameter):
            updates.append((self.step, self.step + 1))
        return updates

    _coupled = True  # weight decay is part of the gradient
    _counts = False  # the formula reads the step counter

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        """New values of p and of its slots."""
        raise NotImplementedError

    def _slot(self, kind: str, p: Parameter) -> Parameter:
        """State of p's shape, 0 at first; the same one for every program."""
        key = kind, p
        if key not in self._slots:
            self._slots[key] = _state(f"{kind}.{p.name}", p.shape, p.dtype, like=p)
        return self._slots[key]

    def _named_state(self) -> dict[str, Parameter]:
        found = {"step": self.step}
        if isinstance(self.lr, Parameter):
            found["lr"] = self.lr
        for (kind, p), slot in self._slots.items():
            name = f"{kind}.{p.name}"
            same = sum(1 for other in found if other.split("~")[0] == name)
            found[f"{name}~{same + 1}" if same else name] = slot
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the step counter, the learning rate unless it is a schedule, and all slots."""
        return {name: p.state.copied() for name, p in self._named_state().items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Sets all state, or none if names or shapes do not fit; after ``updates`` made the slots.

        Raises:
            ValueError: lists every missing, unexpected or misshapen name.
        """
        if not self._slots and any("." in name for name in values):
            raise ValueError(
                f"this {type(self).__name__} has no state yet: updates() makes it, call that first"
            )
        assign(self._named_state(), values)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al., ICML 2013).

    b = momentum * b + g and p = p - lr * b, or with ``nesterov`` p = p - lr * (g + momentum * b).
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


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1)."""

    _counts = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Any,
    ):
        super().__init__(lr, **options)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{type(self).__name__} requires two numbers as betas, got {betas!r}")
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


class AdamW(Adam):
    """Adam with weights that shrink by lr * weight_decay (Loshchilov and Hutter, ICLR 2019)."""

    _coupled = False

    def __init__(self, lr: float | Schedule = 1e-3, *, weight_decay: float = 0.01, **options: Any):
        super().__init__(lr, weight_decay=weight_decay, **options)

    def _decayed(self, p: Parameter, lr: Node) -> Node:
        return p * (1 - lr * self.weight_decay) if self.weight_decay else p


class RMSprop(Optimizer):
    """Gradients over the root of their running mean square (Tieleman and Hinton, 2012).

    With ``centered`` their running variance instead; ``momentum`` acts on the quotient.
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


def clip_by_global_norm(grads: Sequence[Node], limit: float) -> list[Node]:
    """The gradients, scaled down together where their norm is above the limit; NaN stays NaN."""
    squares = [ops.sum(g * g) for g in grads]
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    factor = ops.minimum(limit / (ops.sqrt(total) + 1e-6), 1.0)
    return [g * factor for g in grads]


def _state(
    name: str, shape: tuple[int, ...], dtype: str = "float32", value: float = 0, like: Any = None
) -> Parameter:
    order = like.state.order if like is not None else None  # stored as its parameter is
    p = parameter(shape, name, dtype, lambda: np.full(shape, value, dtype), order)
    p.state.trainable = False
    return p


def _require_reached(loss: Node, parameters: Sequence[Parameter]) -> None:
    if parameters and set(parameters).isdisjoint(Graph("", (), (loss,)).parameters):
        names = ", ".join(str(p.name) for p in parameters[:3])
        raise ValueError(
            f"the loss depends on none of the {len(parameters)} parameters ({names}, ...): "
            "they are another network's"
        )


def _one_minus_power(base: float, t: Node) -> Node:
    """1 - base^t, which cancels at small t if computed directly."""
    return -ops.expm1(t * math.log(base)) if base else ops.cast(constant(1.0), t.dtype)


def _node(rate: Any) -> Node:
    return rate if isinstance(rate, Node) else constant(float(rate))


# ------------------------------------------------------------------ schedules


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^floor(step / every); ``every`` is in steps."""
    return lambda step: lr * factor ** ops.floor(_float(step) / every)


def exponential(lr: float, decay: float, every: int = 1) -> Schedule:
    """lr * decay^(step / every); ``every`` is in steps."""
    return lambda step: lr * ops.exp(_float(step) * (math.log(decay) / every))


def cosine(lr: float, steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Half a cosine from lr down to ``final`` at ``steps`` (Loshchilov and Hutter, ICLR 2017).

    Before it, the rate rises in equal parts to lr in the ``warmup`` steps, part of ``steps``.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"cosine requires 0 <= warmup < steps, got {warmup} and {steps}")

    def rate(step: Node) -> Node:
        t = _float(step)
        done = ops.clip((t - warmup) / (steps - warmup), 0.0, 1.0)
        half = _cosine(done * (math.pi / 2))
        falling = final + (lr - final) * (half * half)  # (1 + cos 2a) / 2 = cos^2 a
        return ops.where(t < warmup, (t + 1) * (lr / max(warmup, 1)), falling)

    return rate


def _float(step: Node) -> Node:
    return ops.cast(step, "float32")


def _cosine(angle: Node) -> Node:
    """The cosine in 0..pi/2 by its Taylor series to the 14th power: the error is below 1e-10."""
    square = angle * angle
    total = constant(1 / math.factorial(14)) * -1.0
    for k in range(6, -1, -1):
        total = total * square + (-1) ** k / math.factorial(2 * k)
    return total
