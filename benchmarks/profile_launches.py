"""Where tinygraph's time goes: each launch of a program, averaged over runs."""

from __future__ import annotations

import time
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
    cycles = np.median([runner.time(arrays, outputs) for _ in range(runs)], axis=0)
    total = cycles.sum()
    names = [call.name for call in program.built.code.calls]
    rate = _cycles_per_ms(runner, arrays, outputs)
    found = [Launch(n, c / rate, c / total) for n, c in zip(names, cycles, strict=True)]
    return sorted(found, key=lambda launch: -launch.ms)


def _cycles_per_ms(runner: Any, arrays: Any, outputs: Any) -> float:
    """The counter's rate: one thread's cycles fill its time but for microseconds."""
    threads, runner.threads = runner.threads, 1
    try:
        start = time.perf_counter()
        cycles = sum(runner.time(arrays, outputs))
        return cycles / (time.perf_counter() - start) / 1e3
    finally:
        runner.threads = threads


def table(launches: list[Launch], count: int = 12) -> str:
    """The slowest launches as lines of text."""
    lines = [f"  {x.ms:8.3f} ms  {x.share:6.1%}  {x.name}" for x in launches[:count]]
    rest = launches[count:]
    if rest:
        ms, share = sum(x.ms for x in rest), sum(x.share for x in rest)
        lines.append(f"  {ms:8.3f} ms  {share:6.1%}  {len(rest)} others")
    return "\n".join(lines)
