"""Sizes of a core's caches.

The tuned numbers of this backend assume ``NOMINAL`` or more. A smaller cache, as the system reports
it, makes blocks smaller; a larger one changes nothing, for a core shares it, or what passes through
takes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

LINE = 64  # bytes of a cache line
KEPT = 4 << 20  # bytes of weights that stay in the second caches from one run or step to the next
SYSTEM = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux; elsewhere caches count as nominal


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes that may be counted on.

    Attributes:
        first: of the first-level data cache.
        second: what stays in the second-level cache in addition to what passes through it.
        last: what may wait in the last cache, which others use too.
    """

    first: int
    second: int
    last: int


NOMINAL = Caches(first=32 * 1024, second=512 * 1024, last=6 * 2**20)


@cache
def measured(system: Path = SYSTEM) -> Caches:
    """The caches of this machine, at most the nominal ones."""
    sizes = dict(filter(None, map(_size, sorted(system.glob("index*")))))
    first = sizes.get(1, NOMINAL.first)
    second = sizes.get(2, 2 * NOMINAL.second)
    last = sizes.get(3, second)  # where there is no third, the second is the last
    return Caches(
        min(NOMINAL.first, first),
        min(NOMINAL.second, second // 2),
        min(NOMINAL.last, last // 2) if sizes else NOMINAL.last,
    )


def _size(folder: Path) -> tuple[int, int] | None:
    """(level, bytes) of one cache; None for instructions, or if the system does not say."""
    try:
        kind, level, size = (
            (folder / name).read_text().strip() for name in ("type", "level", "size")
        )
    except OSError:
        return None
    if kind == "Instruction" or not size[:-1].isdigit():
        return None
    return int(level), int(size[:-1]) * {"K": 1024, "M": 2**20}.get(size[-1], 1)
