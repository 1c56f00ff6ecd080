"""Times a program: each of its launches, and whole runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from ..inspect.profile import Timing
from ..plan.records.device import Timeline
from .backend import Recorder, Runner

RECORDED = 5  # runs whose parts are timed; the middle one is kept as a timeline


def measure(
    runner: Runner, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], repeat: int
) -> Timing:
    """Runs a program ``repeat`` times with and as often without the clocks of its launches."""
    if repeat < 1:
        raise ValueError(f"profile requires repeat of at least 1, got {repeat}")
    roofline = runner.roofline()
    runner(inputs, outputs)
    whole, each = [], []
    for _ in range(repeat):
        start = time.perf_counter()
        runner(inputs, outputs)
        whole.append(time.perf_counter() - start)
        each.append(runner.time(inputs, outputs))
    runs = []
    if isinstance(runner, Recorder):
        runs = sorted((runner.timeline(inputs, outputs) for _ in range(RECORDED)),
                      key=lambda run: run.seconds)  # fmt: skip
    medians = [statistics.median(times) for times in zip(*each, strict=True)]
    middle = runs[RECORDED // 2] if runs else None
    return Timing(medians, statistics.median(whole), roofline, middle, part_times(runs))


def part_times(runs: Sequence[Timeline]) -> dict[tuple[int, int], float]:
    """Medians over some runs: seconds of each part of each launch, all steps of its loop."""
    found: dict[tuple[int, int], list[float]] = {}
    for number, run in enumerate(runs):
        for p in run.parts:
            times = found.setdefault((p.launch, p.part), [0.0] * len(runs))
            times[number] += p.end - p.begin
    return {key: statistics.median(times) for key, times in found.items()}
