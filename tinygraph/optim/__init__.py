"""Optimizers, learning-rate schedules, and what goes with them."""

from typing import TYPE_CHECKING

from ..graph import hints
from .averages import EMA, Accumulated, Plateau
from .methods import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from .optimizer import Optimizer, ParameterGroup, Schedule, Updates, clip_by_global_norm
from .schedules import (
    cosine,
    exponential,
    join,
    linear,
    one_cycle,
    piecewise,
    polynomial,
    restarts,
    step_decay,
    warmup,
)

__all__ = [
    "EMA",
    "SGD",
    "Accumulated",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "ParameterGroup",
    "Plateau",
    "RMSprop",
    "Schedule",
    "Updates",
    "clip_by_global_norm",
    "cosine",
    "exponential",
    "join",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "restarts",
    "step_decay",
    "warmup",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name):
        hints.missing("optim", name, hints.OPTIMIZERS, __all__)
