"""A file's network here and in ONNX Runtime: differences, times, the first node that differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.program import Program
from ..graph.ir import Node
from .module import OnnxModule
from .walk import Importer

RUNS = 15
CLOSE = 1e-3  # of the spread: what different orders of sums make, with a margin


@dataclass(frozen=True)
class Distance:
    """How far two arrays are apart.

    Attributes:
        largest: the largest absolute difference; infinity where shapes or dtypes differ, or only
            one of them is a NaN.
        spread: the difference of the largest and the least expected number.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    spread: float

    @property
    def relative(self) -> float:
        """The largest difference as a part of the spread."""
        return self.largest / (self.spread or 1.0)

    @property
    def close(self) -> bool:
        return self.relative <= CLOSE


@dataclass(frozen=True)
class Comparison:
    """Of one network: each output, and seconds for a run."""

    outputs: tuple[Distance, ...]
    seconds: float
    their_seconds: float

    def __str__(self) -> str:
        rows = [
            f"{d.name}{list(d.shape)}: differs by {d.largest:.2g}, {d.relative:.1g} of its spread"
            for d in self.outputs
        ]
        ours, theirs = self.seconds * 1e3, self.their_seconds * 1e3
        rows.append(
            f"tinygraph {ours:.3g} ms, ONNX Runtime {theirs:.3g} ms: "
            f"{theirs / ours:.2f} times as fast"
        )
        return "\n".join(rows)


def difference(name: str, got: np.ndarray, want: np.ndarray) -> Distance:
    """How far ``got`` is from ``want``."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return Distance(name, want.shape, np.inf, 0.0)
    if not want.size:
        return Distance(name, want.shape, 0.0, 0.0)
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(a - b))
    finite = b[np.isfinite(b)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    return Distance(name, want.shape, float(np.nan_to_num(apart, nan=np.inf).max()), spread)


def compare(path: str | Path, net: OnnxModule, program: Program, arrays: list[Any]) -> Comparison:
    """Runs both on the same arrays, alternately.

    Raises:
        ImportError: the package onnxruntime is not there.
    """
    run = runtime(str(path))
    feed = {v.name: a for v, a in zip(net.inputs, arrays, strict=True)} | dict(net.constants)
    wanted, got = run(feed), program(*arrays)
    found = tuple(map(difference, net.outputs, got, wanted))
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(_timed(lambda: program(*arrays)))
        theirs.append(_timed(lambda: run(feed)))
    return Comparison(found, median(ours), median(theirs))


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def runtime(model: str | bytes) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """ONNX Runtime's function of a model, on the processor.

    Raises:
        ImportError: the package onnxruntime is not there.
    """
    if find_spec("onnxruntime") is None:
        raise ImportError("comparing requires the package onnxruntime: pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))


def first_difference(
    path: str | Path, net: OnnxModule, nodes: list[Node], arrays: list[Any]
) -> tuple[int, str, Distance] | None:
    """The first node of the file whose output differs: its number, its name, and by how much.

    All outputs of all nodes become outputs on both sides, so that nothing is fused across them.

    Raises:
        ImportError: the package onnxruntime is not there.
    """
    import onnx

    given = {v.name: n for v, n in zip(net.inputs, nodes, strict=True)}
    values = Importer(net.model, net.state, False).values(dict(net.constants) | given)
    names = [o for n in net.model.graph.nodes for o in n.outputs if isinstance(values.get(o), Node)]
    proto = onnx.load(str(path))
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    feed = {v.name: a for v, a in zip(net.inputs, arrays, strict=True)} | dict(net.constants)
    wanted = dict(zip(names, runtime(proto.SerializeToString())(feed), strict=True))
    got = dict(zip(names, compile(nodes, [values[n] for n in names])(*arrays), strict=True))
    for n in net.model.graph.nodes:
        for name in n.outputs:
            if name in got and not (d := difference(name, got[name], wanted[name])).close:
                return n.number, f"{n.name or '(no name)'} ({n.label})", d
    return None
