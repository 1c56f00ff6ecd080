"""Runs a bundle on a GPU: loads, launches, compares, times, and writes a report. No compiler."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.compiler import manifest
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.ir import Parameter
from tinygraph.graph.op import PARAMETER
from tinygraph.graph.state import ParameterState
from tinygraph.graph.types import Type
from tinygraph.plan.records.device import Card

from ..compile.budget import number
from ..compile.compiled import CompiledKernel, read
from ..runner import CudaRunner
from ..runtimes import Runtime, probe
from .report import report

REPEAT = 20  # runs that are timed


@dataclass(slots=True)
class Result:
    """The outcome of a case.

    Attributes:
        error: the largest, relative to 1 or to the value.
        fault: why it failed; "" if it did not.
        costs: name, operations and bytes of each launch.
        cards: blocks and card of each launch's first kernel.
        seconds: of each launch, where they were timed.
    """

    name: str
    error: float = 0.0
    fault: str = ""
    costs: list[tuple[str, int, int]] = field(default_factory=list)
    cards: list[tuple[int, Card]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main(folder: Path) -> int:
    """Runs a bundle on this machine's GPU; the number of cases that failed."""
    architecture = probe.architecture()
    from ..runtimes import device

    runtime = device.runtime()
    results = run_bundle(folder, runtime, architecture)
    text = report(runtime.describe(), results, runtime.roofline())
    (folder / "report.md").write_text(text)
    print(text)
    return sum(bool(r.fault) for r in results)


def run_bundle(
    folder: Path, runtime: Runtime, architecture: str, timed: bool = True
) -> list[Result]:
    """Every case of a bundle, each on its own: one that fails does not stop the others."""
    results = []
    for path in sorted((folder / "cases").glob("*.json")):
        case = json.loads(path.read_text())
        result = Result(case["name"], costs=[tuple(c) for c in case["costs"]])
        try:
            replay(folder, path, case, runtime, architecture, timed and case["timed"], result)
        except Exception as error:  # whatever it is belongs into the report
            result.fault = f"{type(error).__name__}: {error}".splitlines()[0]
        results.append(result)
        print(f"{result.name}: {result.fault or 'ok'}", flush=True)
    return results


def replay(
    folder: Path,
    path: Path,
    case: dict[str, Any],
    runtime: Runtime,
    architecture: str,
    timed: bool,
    result: Result,
) -> None:
    """Runs a case twice from the same parameters, compares, and times it."""
    built = manifest.read(case["manifest"].encode(), path)
    keys = case["kernels"][fitting(architecture, list(case["kernels"]))]
    kernels = [load_kernel(folder, key) for key in keys]
    with np.load(path.with_suffix(".npz")) as arrays:
        inputs, expected, initial, updated = (
            [arrays[f"{kind}{i}"] for i in range(count(arrays.files, kind))]
            for kind in ("input", "output", "parameter", "updated")
        )
    parameters = [restored(d, v) for d, v in zip(case["parameters"], initial, strict=True)]
    changing = [p for p, d in zip(parameters, case["parameters"], strict=True) if d["updated"]]
    runner = CudaRunner(built.code, built.constants, parameters, kernels, runtime)

    def once() -> list[np.ndarray]:
        for p, value in zip(parameters, initial, strict=True):
            p.state.write(value)
            p.state.bring(runtime)
        runner.refresh()
        outputs = [np.empty_like(e) for e in expected]
        runner(inputs, outputs)
        for p in changing:
            p.state.changed(runtime)
        return [*outputs, *(p.value for p in changing)]

    first, second = once(), once()
    wanted = [*expected, *updated]
    result.error = max((distance(g, w) for g, w in zip(first, wanted, strict=True)), default=0.0)
    if not result.error <= case["tolerance"]:
        result.fault = f"off by {result.error:.1e}, more than {case['tolerance']:.1e}"
    elif any(a.tobytes() != b.tobytes() for a, b in zip(first, second, strict=True)):
        result.fault = "a second run gave other bits"
    works = [call.work[0] for call in built.code.calls]
    result.cards = [(w.parts, kernels[w.kernel].card) for w in works]
    if timed:
        outputs = [np.empty_like(e) for e in expected]
        runs = [runner.time(inputs, outputs) for _ in range(REPEAT)]
        result.seconds = [statistics.median(times) for times in zip(*runs, strict=True)]


def count(names: Sequence[str], kind: str) -> int:
    return sum(re.fullmatch(rf"{kind}\d+", name) is not None for name in names)


def fitting(architecture: str, there: Sequence[str]) -> str:
    """The newest architecture whose machine code a device runs: of its generation, not later."""
    wanted = number(architecture)
    fit = [a for a in there if number(a) // 10 == wanted // 10 and number(a) <= wanted]
    if not fit:
        raise BackendError(f"the bundle has {', '.join(there)}; this device is {architecture}")
    return max(fit, key=number)


def load_kernel(folder: Path, key: str) -> CompiledKernel:
    return read((folder / "kernels" / f"{key}.json").read_bytes())


def restored(description: dict[str, Any], value: np.ndarray) -> Parameter:
    kind = Type(tuple(description["shape"]), description["dtype"])
    order = tuple(description["order"])
    return Parameter(PARAMETER, ParameterState(kind, description["name"], lambda: value, order))


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to 1 or to the value; infinite where one is NaN."""
    if not want.size:
        return 0.0
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(got, want) else np.inf
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(all="ignore"):
        relative = np.abs(got - want) / np.maximum(1, np.abs(want))
    return float(np.max(np.where(same, 0, np.where(np.isfinite(relative), relative, np.inf))))
