"""Runs one case of a bundle: loads, launches, compares and times it. No compiler."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Sequence
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
from ..runtimes import Runtime
from .drawing import drawn_inputs, drawn_parameters, sample
from .results import Result

REPEAT = 20  # runs that are timed


def replay(
    folder: Path, case: int, runtime: Runtime, architecture: str, result: Result, timed: bool = True
) -> None:
    """Runs a case twice from the same parameters, compares, and times it.

    ``result`` is filled as far as it comes.

    Raises:
        Exception: whatever goes wrong.
    """
    path = folder / "cases" / f"{case:03}.json"
    content = json.loads(path.read_text())
    result.ran = True
    result.costs = [(name, flops, size) for name, flops, size in content["costs"]]
    loaded = Loaded(folder, path, content, runtime, architecture)
    works = [call.work[0] for call in loaded.runner.code.calls]
    result.cards = [(w.parts, loaded.cards[w.kernel]) for w in works]
    compare(loaded, result, content["tolerance"])
    if timed and content["timed"] and not result.fault:
        loaded.start()
        runner, arrays = loaded.runner, (loaded.inputs, loaded.outputs)
        runner.time_runs(*arrays, 3)  # the clock rises
        result.replay = statistics.median(runner.time_runs(*arrays, REPEAT))
        result.call = statistics.median(wall(runner, *arrays) for _ in range(REPEAT))
        times = [runner.time(*arrays) for _ in range(3)]
        result.seconds = [statistics.median(each) for each in zip(*times, strict=True)]


class Loaded:
    """A case in memory, bound to a device."""

    def __init__(
        self, folder: Path, path: Path, content: dict[str, Any], runtime: Runtime, architecture: str
    ):
        self.built, self.runtime = manifest.read(content["manifest"].encode(), path.stem), runtime
        keys = content["kernels"][fitting(architecture, list(content["kernels"]))]
        kernels = [load_kernel(folder, key) for key in keys]
        self.cards: list[Card] = [kernel.card for kernel in kernels]
        self.runs: int = content["runs"]
        self.inputs = list(drawn_inputs(content["inputs"]).values())
        described = content["parameters"]
        with np.load(path.with_suffix(".npz")) as arrays:
            self.expected = listed(arrays, "expected")
            self.initial = listed(arrays, "parameter") or drawn_parameters(described)
        self.parameters = [restored(d, v) for d, v in zip(described, self.initial, strict=True)]
        pairs = zip(self.parameters, described, strict=True)
        self.changing = [p for p, d in pairs if d["updated"]]
        self.outputs = [np.empty(shape, dtype) for shape, dtype in content["outputs"]]
        self.runner = CudaRunner(
            self.built.code, self.built.constants, self.parameters, kernels, runtime
        )

    def start(self) -> None:
        """Parameters have their first values, on the device."""
        for p, value in zip(self.parameters, self.initial, strict=True):
            p.state.write(value)
            p.state.bring(self.runtime)
        self.runner.refresh()

    def results(self) -> list[np.ndarray]:
        """Outputs of all runs from the first values, then what those have made of parameters."""
        self.start()
        found: list[np.ndarray] = []
        for _ in range(self.runs):
            found += (outputs := [np.empty_like(array) for array in self.outputs])
            self.runner(self.inputs, outputs)
            for p in self.changing:
                p.state.changed(self.runtime)
        return found if self.runs > 1 else [*found, *(p.value for p in self.changing)]


def compare(loaded: Loaded, result: Result, tolerance: float) -> None:
    first, second = loaded.results(), loaded.results()
    pairs = zip((sample(a) for a in first), loaded.expected, strict=True)
    result.error = max((distance(got, want) for got, want in pairs), default=0.0)
    if not result.error <= tolerance:
        result.fault = f"off by {result.error:.1e}, more than {tolerance:.1e}"
    elif any(a.tobytes() != b.tobytes() for a, b in zip(first, second, strict=True)):
        result.fault = "a second run gave other bits"


def wall(runner: CudaRunner, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> float:
    start = time.perf_counter()
    runner(inputs, outputs)
    return time.perf_counter() - start


def listed(arrays: Any, kind: str) -> list[np.ndarray]:
    """The arrays that are called ``kind`` and a number, in order."""
    count = sum(re.fullmatch(rf"{kind}\d+", name) is not None for name in arrays.files)
    return [arrays[f"{kind}{i}"] for i in range(count)]


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
