"""Learning rates that follow from the step: functions of its node, which compose.

    optim.Adam(optim.warmup(optim.cosine(1e-3, 10_000), 500))

Each is called with the node of the step counter, int32, 0 at first, and returns a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from .. import ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .optimizer import Schedule

P = ParamSpec("P")


class _Named:
    """A schedule that says what it is."""

    def __init__(self, rate: Schedule, text: str):
        self.rate, self.text = rate, text

    def __call__(self, step: Node) -> Any:
        return self.rate(step)

    def __repr__(self) -> str:
        return self.text


def _named(function: Callable[P, Schedule]) -> Callable[P, Schedule]:
    """Schedules of the function show its call, whose numbers are checked."""
    function = numeric(function)

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        shown = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
        return _Named(function(*args, **kwargs), f"{function.__name__}({', '.join(shown)})")

    return make


@_named
def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^floor(step / every); ``every`` is in steps.

    Example:
        >>> schedule = optim.step_decay(0.1, every=30)
        >>> round(float(tg.run(schedule(tg.constant(60, "int32")))), 4)
        0.001
    """
    return lambda step: lr * factor ** ops.floor(_float(step) / every)


@_named
def exponential(lr: float, decay: float, every: int = 1) -> Schedule:
    """lr * decay^(step / every); ``every`` is in steps.

    Example:
        >>> schedule = optim.exponential(0.1, decay=0.95, every=1000)
    """
    return lambda step: lr * ops.exp(_float(step) * (math.log(decay) / every))


@_named
def cosine(lr: float, steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Half a cosine from lr down to ``final`` at ``steps`` (Loshchilov and Hutter, ICLR 2017).

    Before it, the rate rises in equal parts to lr in the ``warmup`` steps, part of ``steps``.

    Args:
        lr, final: the greatest and the last rate.
        steps, warmup: numbers of steps.

    Raises:
        ValueError: not 0 <= warmup < steps.

    Example:
        >>> rate = optim.cosine(1.0, 10)
        >>> [round(float(tg.run(rate(tg.constant(s, "int32")))), 3) for s in (0, 5, 10)]
        [1.0, 0.5, 0.0]
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"cosine requires 0 <= warmup < steps, got {warmup} and {steps}")

    def rate(step: Node) -> Node:
        t = _float(step)
        done = ops.clip((t - warmup) / (steps - warmup), 0.0, 1.0)
        half = ops.cos(done * (math.pi / 2))
        falling = final + (lr - final) * (half * half)  # (1 + cos 2a) / 2 = cos^2 a
        return ops.where(t < warmup, (t + 1) * (lr / max(warmup, 1)), falling)

    return rate


def _float(step: Node) -> Node:
    return ops.cast(step, "float32")


@_named
def linear(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """A line from lr to ``final`` at ``steps``, which it keeps.

    Example:
        >>> optimizer = optim.SGD(optim.linear(0.1, steps=1000))
    """
    return polynomial(lr, steps, 1.0, final)


@_named
def polynomial(lr: float, steps: int, power: float = 2.0, final: float = 0.0) -> Schedule:
    """final + (lr - final) * (1 - step / steps)^power, ``final`` from ``steps`` on.

    Args:
        lr, steps, power, final: as in the formula.

    Raises:
        ValueError: there is no step.

    Example:
        >>> optimizer = optim.SGD(optim.polynomial(0.1, steps=1000, power=0.9))
    """
    if steps < 1:
        raise ValueError(f"polynomial requires at least one step, got {steps}")

    def rate(step: Node) -> Node:
        left = 1 - ops.clip(_float(step) / steps, 0.0, 1.0)
        return final + (lr - final) * (left if power == 1 else left**power)

    return rate


@_named
def piecewise(boundaries: Sequence[int], rates: Sequence[float]) -> Schedule:
    """rates[k] between the k-th boundary and the next: one more rate than boundaries.

    Example:
        >>> schedule = optim.piecewise([1000, 2000], [0.1, 0.01, 0.001])
        >>> round(float(tg.run(schedule(tg.constant(1500, "int32")))), 4)
        0.01
    """
    return join([lambda step, r=r: r for r in rates], boundaries, restart=False)  # type: ignore[misc]


@_named
def restarts(lr: float, period: int, factor: float = 1.0, final: float = 0.0) -> Schedule:
    """A cosine from lr to ``final`` every ``period`` steps; lr shrinks by ``factor`` each time.

    (Loshchilov and Hutter, ICLR 2017.)

    Args:
        lr, period, factor, final: as above; the period is a number of steps.

    Raises:
        ValueError: the period has no step.

    Example:
        >>> optimizer = optim.SGD(optim.restarts(0.1, period=1000, factor=0.5))
    """
    if period < 1:
        raise ValueError(f"restarts requires a period of at least one step, got {period}")

    def rate(step: Node) -> Node:
        t = _float(ops.mod(step, period)) / period
        height: Any = lr * factor ** _float(ops.floor_divide(step, period)) if factor != 1 else lr
        half = ops.cos(t * (math.pi / 2))
        return final + (height - final) * (half * half)

    return rate


@_named
def one_cycle(
    lr: float, steps: int, warmup: float = 0.3, start: float = 1 / 25, final: float = 1e-4
) -> Schedule:
    """Up to lr and down again, by halves of a cosine, as PyTorch's OneCycleLR (Smith, 2018).

    Args:
        lr: the greatest rate.
        steps: of the whole cycle.
        warmup: the part of the steps in which the rate rises.
        start: the first rate as a part of lr.
        final: the last rate as a part of the first.

    Example:
        >>> optimizer = optim.SGD(optim.one_cycle(0.1, steps=1000), momentum=0.9)
    """
    peak = warmup * steps - 1

    def rate(step: Node) -> Node:
        t = _float(step)
        up = ops.clip(t / peak, 0.0, 1.0)
        down = ops.clip((t - peak) / (steps - 1 - peak), 0.0, 1.0)
        rising = lr * start + (lr - lr * start) * (1 - ops.cos(up * math.pi)) * 0.5
        falling = lr + (lr * start * final - lr) * (1 - ops.cos(down * math.pi)) * 0.5
        return ops.where(t <= peak, rising, falling)

    return rate


@_named
def warmup(schedule: float | Schedule, steps: int, start: float = 0.0) -> Schedule:
    """``schedule``, multiplied by a line from ``start`` to 1 in the first ``steps``.

    Example:
        >>> optimizer = optim.AdamW(optim.warmup(optim.exponential(1e-3, 0.999), steps=500))
    """

    def rate(step: Node) -> Node:
        part = ops.clip(_float(step + 1) / steps, 0.0, 1.0)
        return _at(schedule, step) * (start + (1 - start) * part)

    return rate


@_named
def join(
    schedules: Sequence[float | Schedule], boundaries: Sequence[int], restart: bool = True
) -> Schedule:
    """One schedule after the other: the next one begins at each boundary, a number of steps.

    With ``restart`` each counts its steps from its own beginning.

    Args:
        schedules: rates or schedules, one more than boundaries.
        boundaries: numbers of steps, in ascending order.

    Raises:
        ValueError: there are too few or too many, or they do not ascend.

    Example:
        >>> schedule = optim.join([optim.linear(0.1, 100), 0.001], boundaries=[100])
    """
    if len(schedules) != len(boundaries) + 1 or list(boundaries) != sorted(boundaries):
        raise ValueError(
            f"a schedule more than boundaries, which ascend, is required, "
            f"got {len(schedules)} for {list(boundaries)}"
        )

    def rate(step: Node) -> Any:
        found = ops.full((), 0.0) + _at(schedules[0], step)
        for begin, schedule in zip(boundaries, schedules[1:], strict=True):
            later = _at(schedule, step - begin if restart else step)
            found = ops.where(step < begin, found, ops.full((), 0.0) + later)
        return found

    return rate


def _at(schedule: float | Schedule, step: Node) -> Any:
    return schedule(step) if callable(schedule) else schedule
