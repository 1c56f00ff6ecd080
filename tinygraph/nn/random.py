"""Where randomness comes from: a seed for initial values; a seed and a counter that dropout reads.

Initial values depend on the seed, on the parameter's dotted name, and on how many of this name
were drawn before: not on the order of construction, and two networks start differently. Dropout
reads two parameters, ``random.seed`` and ``random.step``; every run of a program with dropout
advances the second. A checkpoint carries both.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np

from ..graph.numeric import numeric
from ..ops.random import SEED as SEED
from ..ops.random import STEP as STEP
from ..ops.random import next_step as next_step
from ..ops.random import start_streams


class Generators:
    """Random generators by name, for one seed."""

    def __init__(self, seed: int):
        self.seed = seed
        self._drawn: Counter[str] = Counter()

    def generator(self, name: str) -> np.random.Generator:
        """The generator of the next parameter with this name."""
        digest = hashlib.sha256(name.encode()).digest()
        words = (self.seed, int.from_bytes(digest[:8], "little"), self._drawn[name])
        self._drawn[name] += 1
        return np.random.default_rng(words)


_source = Generators(0)


@numeric
def manual_seed(seed: int) -> None:
    """Sets the seed of parameters made from now on, and of dropout, whose counter returns to 0.

    Args:
        seed: 0 to 2^64 - 1.

    Raises:
        ValueError: it is not.

    Example:
        >>> tg.manual_seed(0)
        >>> first = nn.Linear(2, 2).state_dict()
        >>> tg.manual_seed(0)
        >>> bool((nn.Linear(2, 2).weight.value == first["weight"]).all())
        True
    """
    global _source
    if seed < 0:
        raise ValueError(f"manual_seed requires a number of at least 0, got {seed}")
    _source = Generators(int(seed))
    SEED.value = np.uint32(seed % 2**32)
    STEP.value = np.int32(0)
    start_streams()


def current_source() -> Generators:
    """Where parameters that are made now draw from."""
    return _source
