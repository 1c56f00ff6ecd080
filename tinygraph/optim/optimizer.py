"""Optimizers: graph nodes for what parameters become, by PyTorch's formulas.

``optimizer.updates(loss, parameters)`` gives pairs (parameter, new value) for ``tg.compile``. State
(momenta, the step counter, a settable learning rate) is made of parameters too, so that it lives
outside of the program and goes into checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .. import ops
from ..autodiff import grad
from ..graph.ir import Graph, Node, Parameter, among
from ..graph.numeric import numeric
from ..graph.op import constant
from ..graph.parameter import parameter
from ..nn.assign import assign

Schedule = Callable[[Node], Any]
Updates = list[tuple[Parameter, Node]]
GRADIENT = "gradient"  # a note of a node that updates are made from: how it is best stored


@numeric
@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that an optimizer treats in a way of their own; the first group that fits counts.

        optim.AdamW(1e-3, groups=[optim.ParameterGroup(lambda p: p.ndim < 2, weight_decay=0),
                                  optim.ParameterGroup(net.head.parameters(), rate=10)])

    Attributes:
        members: the parameters, or a function of one that tells whether it is of the group.
        rate: what the optimizer's learning rate is multiplied by.
        weight_decay: in place of the optimizer's; None: the same.

    Example:
        >>> group = optim.ParameterGroup(lambda p: p.ndim < 2, weight_decay=0)  # biases and norms
        >>> optimizer = optim.AdamW(1e-3, groups=[group])
    """

    members: Sequence[Parameter] | Callable[[Parameter], bool]
    rate: float = 1.0
    weight_decay: float | None = None

    def holds(self, p: Parameter) -> bool:
        """Whether a parameter is of the group."""
        return bool(self.members(p)) if callable(self.members) else among(p, self.members)


@numeric
class Optimizer:
    """The base of optimizers: learning rate, step counter, state and clipping.

    Args:
        lr: a number, which becomes a parameter (``optimizer.lr.value = 0.01`` changes it between
            runs), or a schedule: a function of the node of the step counter, int32, 0 at first.
        weight_decay: weight_decay * p is added to the gradient of each parameter p.
        clip: if the norm of all gradients together is above, they are scaled down to it.
        clip_value: each element of each gradient is kept within +-clip_value.
        groups: parameters with a rate or a weight decay of their own; see ``ParameterGroup``.
        given, options: all of these, by name or in the order of the optimizer's own signature.

    Raises:
        TypeError, ValueError: something is not a number, or not in its range, in every optimizer.

    Example:
        >>> optimizer = optim.SGD(0.1)
        >>> optimizer.lr.value = 0.01
    """

    _given: tuple[tuple[Any, ...], dict[str, Any]]  # as it was written

    def __new__(cls, *given: Any, **options: Any) -> Self:
        if given and isinstance(given[0], (list, tuple)):
            raise TypeError(
                f"{cls.__name__} takes a rate first, {cls.__name__}(lr=0.1): parameters are for "
                "optimizer.updates(loss, parameters)"
            )
        made = super().__new__(cls)
        made._given = given, options
        return made

    def __repr__(self) -> str:
        given, options = self._given
        if isinstance(self.lr, Parameter):
            options = {k: v for k, v in options.items() if k != "lr"}
            given = (float(self.lr.value), *given[1:])
        shown = [_text(v) for v in given] + [f"{k}={_text(v)}" for k, v in options.items()]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __init__(
        self,
        lr: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip: float | None = None,
        clip_value: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ):
        if not callable(lr):
            self._require(lr=lr)
        limits = {"clip": clip, "clip_value": clip_value}
        self._require(weight_decay=weight_decay, **{k: v or 0.0 for k, v in limits.items()})
        self.clip_value, self.groups = clip_value, tuple(groups)
        self.step = state("step", (), "int32")
        self._lr: Parameter | Schedule = lr if callable(lr) else state("lr", (), value=lr)
        self.weight_decay, self.clip = weight_decay, clip
        self._slots: dict[tuple[str, Parameter], Parameter] = {}  # by kind and parameter

    def _require(self, below: float = math.inf, **numbers: Any) -> None:
        """That these are from 0 on, and ``below`` another number."""
        for name, x in numbers.items():
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
            loss: a 0-d node of float32.
            parameters: those to change, as ``net.parameters()`` lists them.

        Raises:
            ValueError: the loss depends on none of the parameters, or no parameters are given.
            GradientError: the loss is not one float, or something on the way has no gradient.

        Example:
            >>> x, net = tg.input("x", 8, 4), nn.Linear(4, 1)
            >>> loss = tg.mean(tg.square(net(x)))
            >>> updates = optim.SGD(0.1).updates(loss, net.parameters())
            >>> step = tg.compile([x], [loss], updates=updates)
        """
        if grads is None:
            _require_reached(loss, parameters)
            grads = grad(loss, parameters)
        if not parameters or len(parameters) != len(grads):
            raise ValueError(
                f"{type(self).__name__} requires parameters and a gradient for each, "
                f"got {len(parameters)} parameters and {len(grads)} gradients"
            )
        for p, g in zip(parameters, grads, strict=True):
            g.notes[GRADIENT] = p.state.order
        if self.clip_value is not None:
            grads = [ops.clip(g, -self.clip_value, self.clip_value) for g in grads]
        if self.clip is not None:
            grads = clip_by_global_norm(grads, self.clip)
        rate = self.lr if isinstance(self.lr, Parameter) else _node(self.lr(self.step))
        updates: Updates = []
        for p, g in zip(parameters, grads, strict=True):
            own, decay = ops.cast(rate, p.dtype), self._decay(p)
            group = self._group(p)
            own = own if group is None or group.rate == 1 else own * group.rate
            updates += self._update(p, g + p * decay if decay and self._coupled else g, own)
        updates += self._shared()
        if self._counts or not isinstance(self.lr, Parameter):
            updates.append((self.step, self.step + 1))
        return updates

    _coupled = True  # weight decay is part of the gradient
    _counts = False  # the formula reads the step counter

    def _update(self, p: Parameter, g: Node, lr: Node) -> Updates:
        """New values of p and of its slots."""
        raise NotImplementedError

    def _shared(self) -> Updates:
        """New values of state that is not of one parameter, besides the step counter."""
        return []

    def _group(self, p: Parameter) -> ParameterGroup | None:
        return next((g for g in self.groups if g.holds(p)), None)

    def _decay(self, p: Parameter) -> float:
        """The weight decay of a parameter."""
        own = None if (group := self._group(p)) is None else group.weight_decay
        return self.weight_decay if own is None else own

    def _slot(self, kind: str, p: Parameter, value: float = 0.0) -> Parameter:
        """State of p's shape, ``value`` at first; the same one for every program."""
        key = kind, p
        if key not in self._slots:
            self._slots[key] = state(f"{kind}.{p.name}", p.shape, p.dtype, value, like=p)
        return self._slots[key]

    def named_state(self) -> dict[str, Parameter]:
        """The step counter, the learning rate unless it is a schedule, and all slots, by name.

        Example:
            >>> sorted(optim.SGD(0.1).named_state())
            ['lr', 'step']
        """
        found = {"step": self.step}
        if isinstance(self.lr, Parameter):
            found["lr"] = self.lr
        found |= {p.name or "": p for p, _ in self._shared()}
        for (kind, p), slot in self._slots.items():
            name = f"{kind}.{p.name}"
            same = sum(1 for other in found if other.split("~")[0] == name)
            found[f"{name}~{same + 1}" if same else name] = slot
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the step counter, the learning rate unless it is a schedule, and all slots.

        Example:
            >>> sorted(optim.SGD(0.1).state_dict())
            ['lr', 'step']
        """
        return {name: p.state.copied() for name, p in self.named_state().items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Sets all state, or none if names or shapes do not fit; after ``updates`` made the slots.

        Args:
            values: what ``state_dict`` returned.

        Raises:
            ValueError: lists every missing, unexpected or misshapen name.

        Example:
            >>> optimizer = optim.SGD(0.1)
            >>> optimizer.load_state_dict(optimizer.state_dict())
        """
        if not self._slots and any("." in name for name in values):
            raise ValueError(
                f"this {type(self).__name__} has no state yet: updates() makes it, call that first"
            )
        assign(self.named_state(), values)


@numeric
def clip_by_global_norm(grads: Sequence[Node], limit: float) -> list[Node]:
    """The gradients, scaled down together where their norm is above the limit; NaN stays NaN.

    Args:
        grads: nodes of any shapes, as ``tg.grad`` returns them.
        limit: of the root of the sum of all squares.

    Example:
        >>> grads = [tg.constant([3.0, 4.0])]
        >>> tg.run(optim.clip_by_global_norm(grads, 1.0)[0])
        array([0.5999999 , 0.79999983], dtype=float32)
    """
    squares = [ops.sum(g * g) for g in grads]
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    factor = ops.minimum(limit / (ops.sqrt(total) + 1e-6), 1.0)
    return [g * factor for g in grads]


def state(
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


def _text(value: Any) -> str:
    """A number with the digits that a user wrote, or what else was given."""
    return f"{value:.7g}" if isinstance(value, float) else repr(value)


def _node(rate: Any) -> Node:
    return rate if isinstance(rate, Node) else constant(float(rate))
