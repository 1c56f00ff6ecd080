"""Times a program: each of its launches, and whole runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from ..inspect.profile import Timing
from .backend import Recorder, Runner

RECORDED = 3  # runs of which one is kept as a timeline


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
    middle = None
    if isinstance(runner, Recorder):
        runs = sorted((runner.timeline(inputs, outputs) for _ in range(RECORDED)),
                      key=lambda run: run.seconds)  # fmt: skip
        middle = runs[RECORDED // 2]
    medians = [statistics.median(times) for times in zip(*each, strict=True)]
    return Timing(medians, statistics.median(whole), roofline, middle)
