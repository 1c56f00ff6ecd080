"""How long a sum over ranks takes: a model of what ``ShardSum`` does.

Level by level, each rank sends its peers their slices of what it has, and adds up its own slice;
then it sends the sum back. A message costs ``alpha`` seconds, its bytes go at ``rate`` a second and
additions at ``add``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .levels import messages

Bucket = tuple[int, float]  # bytes, and the share of a step's work after which they are complete
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}


def sum_seconds(
    ranks: int, bytes: float, rate: float, alpha: float = 15e-6, add: float = 8e9
) -> float:
    """Seconds of the sum of an array of ``bytes``, over ranks whose links carry ``rate`` bytes a
    second each way.
    """
    part = (ranks - 1) / ranks * bytes
    return 2 * messages(ranks) * alpha + 2 * part / rate + part / add


def step_seconds(
    step: float, buckets: Sequence[Bucket], ranks: int, rate: float, alpha: float = 15e-6
) -> float:
    """Seconds of a step whose buckets are summed one after the other while it computes, as soon as
    each is complete; what comes after the last sum waits for it.

    Args:
        step: seconds of what a rank computes.
    """
    done = share = 0.0
    for bytes, share in buckets:
        done = max(done, share * step) + sum_seconds(ranks, bytes, rate, alpha)
    return done + (1 - share) * step


def bytes_a_second(text: str) -> float:
    """A rate such as 10gbit or 100mbit, in bits a second, as bytes.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", text.lower())
    if not found or not float(found[1]):
        raise ValueError(f"a rate is a number of bits a second, as in 10gbit, got {text!r}")
    return float(found[1]) * UNITS[found[2]] / 8
