"""Where tinygraph's time goes: each launch of a program, averaged over runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Launch:
    """A launch: its milliseconds, summed over threads, and its share of all launches."""

    name: str
    ms: float
    share: float


def profile(run: Any, runs: int = 5) -> list[Launch]:
    """The launches of a contender's program, slowest first; the median of some runs."""
    program, arrays = run.program, run.arrays
    runner = program._runner
    outputs = [np.empty(t.shape, t.dtype) for t in program.types]
    seconds = np.median([runner.time(arrays, outputs) for _ in range(runs)], axis=0)
    names = [call.name for call in program.built.code.calls]
    shares = seconds / seconds.sum()
    found = [Launch(n, s * 1e3, x) for n, s, x in zip(names, seconds, shares, strict=True)]
    return sorted(found, key=lambda launch: -launch.ms)


def table(launches: list[Launch], count: int = 12) -> str:
    """The slowest launches as lines of text."""
    lines = [f"  {x.ms:8.3f} ms  {x.share:6.1%}  {x.name}" for x in launches[:count]]
    rest = launches[count:]
    if rest:
        ms, share = sum(x.ms for x in rest), sum(x.share for x in rest)
        lines.append(f"  {ms:8.3f} ms  {share:6.1%}  {len(rest)} others")
    return "\n".join(lines)
