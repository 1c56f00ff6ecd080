"""What this backend finds on a machine, for ``python -m tinygraph doctor``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import llvmlite.binding as llvm

from tinygraph.compiler.backend import Finding
from tinygraph.settings import settings

from .features import Features, detect
from .matrix_registers import NEEDED, refusal
from .processors import allowed_cpus

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds in each period


def examine() -> Sequence[Finding]:
    flags = llvm.get_host_cpu_features()
    refused = refusal(flags) if all(map(flags.get, NEEDED)) else ""
    return [processor(detect(), settings.cpu, refused), threads(settings.threads, quota())]


def processor(features: Features, level: str, refused: str = "") -> Finding:
    """The registers that code is compiled for; ``refused``: why those for matrices are not used."""
    value = f"{features.cpu}: {features.lanes} float32 lanes in each of {features.registers} "
    value += "registers" + (", fused multiply-add" if features.fma else "")
    value += ", matrix registers" if features.matrix else ""
    if level != "native":
        best = llvm.get_host_cpu_name()
        advice = f"TINYGRAPH_CPU={level}; unset it to compile for this processor, {best}"
        return Finding("processor", value, "hint", advice)
    if not features.fma:
        advice = "programs run, but slowly: a processor with AVX2 or better is several times faster"
        return Finding("processor", value, "hint", advice)
    if refused:
        advice = f"products of bytes would be faster in matrix registers, but {refused}"
        return Finding("processor", value, "hint", advice)
    return Finding("processor", value)


def threads(wanted: int | None, share: float | None) -> Finding:
    """How many there are for how many processors; ``share`` is what a container may take."""
    processors = len(allowed_cpus())
    used = wanted or processors
    value = f"{used} on {processors} of {os.cpu_count()} processors"
    if used > processors:
        advice = f"more threads than processors are slower: unset TINYGRAPH_THREADS={used}"
        return Finding("threads", value, "hint", advice)
    if share is not None and used > share + 0.5:
        advice = f"this container has the time of {share:.1f} processors: set TINYGRAPH_THREADS="
        return Finding("threads", value, "hint", f"{advice}{max(1, int(share))}")
    return Finding("threads", value)


def quota(file: Path = QUOTA) -> float | None:
    """The processors whose time a container may take; None without a limit."""
    try:
        allowed, period = file.read_text().split()
        return int(allowed) / int(period)
    except (OSError, ValueError):  # no such system, or "max"
        return None
