"""Where randomness comes from: a seed for initial values; a seed and a counter that dropout reads.

Initial values depend on the seed and the parameter's dotted name, so not on the order of
construction. Dropout reads two parameters, ``random.seed`` and ``random.step``; every run of a
program with dropout advances the second. A checkpoint carries both.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ..ir import Parameter, ParameterState, Type
from ..op import PARAMETER

_seed = 0


def _counter(name: str, dtype: str) -> Parameter:
    p = Parameter(PARAMETER, ParameterState(Type((), dtype), name, lambda: np.zeros((), dtype)))
    p.state.trainable = False
    return p


SEED = _counter("random.seed", "uint32")
STEP = _counter("random.step", "int32")


def manual_seed(seed: int) -> None:
    """Sets the seed of parameters made from now on, and of dropout, whose counter returns to 0."""
    global _seed
    _seed = int(seed)
    SEED.value = np.uint32(_seed % 2**32)
    STEP.value = np.int32(0)


def current_seed() -> int:
    return _seed


def generator(seed: int, name: str) -> np.random.Generator:
    """The random generator of the parameter with this name."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng((seed % 2**64, int.from_bytes(digest[:8], "little")))
