"""What goes with an optimizer: averages of weights, gradients of several runs, rates by results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..autodiff import grad
from ..graph.ir import Node, Parameter
from ..graph.numeric import numeric
from ..graph.parameter import parameter
from ..nn.assign import assign
from ..nn.module import Module
from .optimizer import Optimizer, Updates, state


@numeric
class EMA:
    """An exponential moving average of parameters, in parameters of its own (Polyak, 1992).

        ema = optim.EMA(net, 0.999)
        updates = optimizer.updates(loss, net.parameters())
        step = tg.compile([x, y], [loss], updates=updates + ema.updates(updates))
        averaged.load_state_dict(ema.state_dict(), strict=False)   # a copy.deepcopy(net)

    Args:
        net: a module, whose parameters are averaged, or parameters.
        decay: how much of the average stays in each step, below 1.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> ema = optim.EMA(net, 0.99)
    """

    def __init__(self, net: Module | Sequence[Parameter], decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA requires decay in [0, 1), got {decay}")
        members = net.parameters() if isinstance(net, Module) else list(net)
        self.decay = decay
        self._averages = {p: _copy(p) for p in members}

    def __repr__(self) -> str:
        return f"EMA({len(self._averages)} parameters, decay={self.decay})"

    def updates(self, updates: Updates) -> Updates:
        """New averages, from what an optimizer's updates make of the parameters."""
        new = {p: value for p, value in updates if p in self._averages}
        return [
            (average, average + (new.get(p, p) - average) * (1 - self.decay))
            for p, average in self._averages.items()
        ]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the averages by the parameters' names."""
        return {p.name or "": average.value for p, average in self._averages.items()}

    def load_state_dict(self, values: dict[str, np.ndarray]) -> None:
        """Sets the averages."""
        for p, average in self._averages.items():
            average.value = values[p.name or ""]


def _copy(p: Parameter) -> Parameter:
    average = parameter(p.shape, f"average.{p.name}", p.dtype, lambda: p.value, p.state.order)
    average.state.trainable = False
    return average


@numeric
class Accumulated:
    """An optimizer that takes a step every ``runs`` runs, by the mean of their gradients.

        optimizer = optim.Accumulated(optim.AdamW(1e-3), 4)   # batches four times as large

    Its state is the optimizer's, and the sums of gradients.

    Example:
        >>> optimizer = optim.Accumulated(optim.SGD(0.1), 4)
    """

    def __init__(self, optimizer: Optimizer, runs: int):
        if runs < 1:
            raise ValueError(f"Accumulated requires at least one run, got {runs}")
        self.optimizer, self.runs = optimizer, runs
        self.count = state("accumulated.count", (), "int32")
        self._sums: dict[Parameter, Parameter] = {}

    def __repr__(self) -> str:
        return f"Accumulated({self.optimizer!r}, {self.runs})"

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the optimizer's state, and of the sums."""
        return self.optimizer.state_dict() | {k: p.value for k, p in self._own().items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Sets all state, or none if names or shapes do not fit; after ``updates`` made it.

        Args:
            values: arrays by name, as ``state_dict`` returns them.

        Raises:
            ValueError: lists every missing, unexpected or misshapen name.
        """
        own = {k: v for k, v in values.items() if k.startswith("accumulated.")}
        before = {k: p.value for k, p in self._own().items()}
        assign(self._own(), own)
        try:
            self.optimizer.load_state_dict({k: v for k, v in values.items() if k not in own})
        except ValueError:
            assign(self._own(), before)
            raise

    def named_state(self) -> dict[str, Parameter]:
        """The optimizer's state, and the sums, by name.

        Example:
            >>> sorted(optim.Accumulated(optim.SGD(0.1), 4).named_state())
            ['accumulated.count', 'lr', 'step']
        """
        return self.optimizer.named_state() | self._own()

    def _own(self) -> dict[str, Parameter]:
        sums = {f"accumulated.{k}": p for k, p in enumerate(self._sums.values())}
        return {"accumulated.count": self.count, **sums}

    def updates(
        self, loss: Node, parameters: Sequence[Parameter], grads: Sequence[Node] | None = None
    ) -> Updates:
        """New values after one run: see ``Optimizer.updates``."""
        found = grad(loss, parameters) if grads is None else grads
        for p in parameters:
            if p not in self._sums:
                name = f"accumulated.{p.name}"
                self._sums[p] = state(name, p.shape, p.dtype, like=p)
        totals = [self._sums[p] + g / self.runs for p, g in zip(parameters, found, strict=True)]
        last = ops.equal(self.count, self.runs - 1)
        step = self.optimizer.updates(loss, parameters, totals)
        taken = [(p, ops.where(last, new, p)) for p, new in step]
        pairs = zip(parameters, totals, strict=True)
        sums = [(self._sums[p], ops.where(last, 0, total)) for p, total in pairs]
        return [*taken, *sums, (self.count, ops.where(last, 0, self.count + 1))]


@numeric
class Plateau:
    """Lowers an optimizer's rate, a number, once a loss has not become less for a while.

        plateau = optim.Plateau(optimizer, patience=5)
        plateau.step(validation_loss)        # after each epoch

    Args:
        optimizer: one whose rate is a number, not a schedule.
        factor: what the rate is multiplied by.
        patience: so many results without a new least one are waited for.
        threshold: a result must be below (1 - threshold) times the least one.
        least: the rate does not fall below it.

    Example:
        >>> optimizer = optim.SGD(0.1)
        >>> plateau = optim.Plateau(optimizer, factor=0.5, patience=0)
        >>> for loss in (1.0, 2.0):
        ...     plateau.step(loss)
        False
        True
        >>> float(optimizer.lr.value)
        0.05000000074505806
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        least: float = 0.0,
    ):
        if not isinstance(optimizer.lr, Parameter):
            raise ValueError("Plateau requires an optimizer whose rate is a number, no schedule")
        self.optimizer, self.factor, self.patience = optimizer, factor, patience
        self.threshold, self.least = threshold, least
        self.best, self.waited = float("inf"), 0

    def __repr__(self) -> str:
        return f"Plateau({self.optimizer!r}, factor={self.factor}, patience={self.patience})"

    def step(self, loss: float) -> bool:
        """Takes note of a result; True if the rate was lowered."""
        if loss < self.best * (1 - self.threshold):
            self.best, self.waited = loss, 0
            return False
        self.waited += 1
        if self.waited <= self.patience:
            return False
        self.waited = 0
        assert isinstance(self.optimizer.lr, Parameter)
        self.optimizer.lr.value = max(float(self.optimizer.lr.value) * self.factor, self.least)
        return True
