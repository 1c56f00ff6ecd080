"""Interleaved timing: every contender once a round, so that disturbances meet them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SAMPLE = 0.005  # seconds that a sample takes at least: shorter calls are repeated
PAUSE = 0.1  # longer than any contender's idle threads spin


@dataclass
class Times:
    """Seconds a call of one contender, a sample a round."""

    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        return min(self.samples)


def interleave(
    contenders: Mapping[str, Callable[[], object]], rounds: int, pause: float = PAUSE
) -> dict[str, Times]:
    """Times each contender once a round, warm, after a pause in which threads fall asleep."""
    repeats = {name: _repeats(run) for name, run in contenders.items()}
    times = {name: Times() for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            time.sleep(pause)
            for _ in range(1 + repeats[name] // 10):  # the others have emptied the caches
                run()
            times[name].samples.append(_sample(run, repeats[name]))
    return times


def _repeats(run: Callable[[], object]) -> int:
    run()
    once = min(_sample(run, 1) for _ in range(3))
    return max(1, round(SAMPLE / once))


def _sample(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
