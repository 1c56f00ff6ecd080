"""The tables of single layers, as results.md has them, and the roof of a layer."""

from __future__ import annotations

import platform
import re
import statistics
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import peak
from timing import interleave

import tinygraph as tg
from tinygraph_cpu.machine.processors import allowed_cpus

if TYPE_CHECKING:
    from every_layer import Result

LIMIT = 1.15  # a ratio above is too slow
CALL = 0.003  # milliseconds: a difference that calls make, whatever they compute
MARKS = "<!-- layers.py --all -->\n", "<!-- end of layers -->\n"


def roof(run: Any, threads: int) -> float:
    """Milliseconds that a layer takes at best: those of its operations at the processor's peak, or
    of its bytes at the rate at which as many are copied, from whatever cache they are in.
    """
    cost = run.program.cost()
    return max(
        1e3 * cost["flops"] / (peak.measure().flops * threads),
        cost["bytes"] * _copying(1 << max(16, cost["bytes"].bit_length() - 1), threads),
    )


@cache
def _copying(bytes: int, threads: int) -> float:
    """Milliseconds for each byte, of so many that are read or written in a copy."""
    tg.settings.threads = threads
    x = tg.input("x", bytes // 8)
    program, array = tg.compile([x], [x + 0.0]), np.ones(bytes // 8, np.float32)
    result = np.empty_like(array)
    runner: Callable[..., Any] = program._runner  # without what a call costs
    times = interleave({"copy": lambda: runner([array], [result])}, 5, 0.0)
    return times["copy"].least * 1e3 / bytes


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def row(r: Result) -> str:
    nhwc = "" if r.nhwc_ms is None else f"{r.nhwc_ms:.4g}"
    share = "" if r.roof_ms is None else f"{r.roof_ms / r.tinygraph_ms:.0%}"
    return (f"| {r.kind} | {r.layer} | {r.tinygraph_ms:.4g} | {r.torch_ms:.4g} | {nhwc} "
            f"| {r.ratio:.2f} | {share} |")  # fmt: skip


HEAD = """\
| kind | layer | tinygraph ms | PyTorch | channels last | ratio | of its roof |
|---|---|---:|---:|---:|---:|---:|"""


def machine(threads: int, peer: str) -> str:
    """When and on what layers are measured."""
    processors = f"{threads} threads on {len(allowed_cpus())} processors"
    return f"{date.today():%d %B %Y}, {processor()}, {processors}, {peer}"


def tables(results: Sequence[Result], heading: str) -> str:
    """What is slower than PyTorch, depthwise layers against their roofs, and the distribution."""
    ratios = [r.ratio for r in results]
    slow = sorted((r for r in results if r.ratio > 1), key=lambda r: -r.ratio)
    above = [r for r in slow if r.ratio > LIMIT]
    calls = sum(r.tinygraph_ms * (1 - 1 / r.ratio) < CALL for r in above)
    mean = statistics.geometric_mean(ratios)
    depthwise = [r for r in results if r.roof_ms is not None]
    text = f"""\
{heading}.
{len(results)} layers, {len(above)} above {LIMIT} times the time of the faster of PyTorch's formats
({calls} of them by less than {1e3 * CALL:.0f} microseconds, which calls alone may differ by),
{len(slow)} above 1.0, geometric mean {mean:.2f}. Slower ones:

{HEAD}
{chr(10).join(map(row, slow))}
"""
    if depthwise:
        text += f"""
Depthwise layers. The roof is the processor's peak, or as many bytes copied from the same cache:

{HEAD}
{chr(10).join(map(row, depthwise))}
"""
    return text


def write(path: Path, text: str) -> None:
    """Puts tables between the marks of a document.

    Raises:
        ValueError: it has no marks.
    """
    document = path.read_text()
    if any(mark not in document for mark in MARKS):
        raise ValueError(f"{path} lacks the lines {MARKS[0].strip()} and {MARKS[1].strip()}")
    before, rest = document.split(MARKS[0])
    path.write_text(before + MARKS[0] + text + MARKS[1] + rest.split(MARKS[1])[1])


__all__ = ("machine", "roof", "row", "tables", "write")
