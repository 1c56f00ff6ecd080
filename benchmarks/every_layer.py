"""Single layers of every kind, forward and back, against PyTorch in both memory formats.

Outputs are compared first; medians are interleaved. A ratio is tinygraph's time over that of the
faster format.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
from kinds import KINDS, Layer
from layer_table import machine, roof, row, tables, write
from timing import interleave

import tinygraph as tg

PAUSE = 0.02  # a layer has no more threads to wait for than PyTorch's, which spin for less
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
TOLERANCE = 1e-3  # of the largest value


@dataclass(frozen=True)
class Result:
    kind: str
    layer: str
    tinygraph_ms: float
    torch_ms: float
    nhwc_ms: float | None  # None: no images
    ratio: float
    launches: str
    roof_ms: float | None = None  # of depthwise layers: at the processor's peak and caches' rates


def measure(kind: str, layer: Layer, threads: int, rounds: int) -> Result:
    """
    Raises:
        AssertionError: results differ.
    """
    arrays = _arrays(layer)
    mine = _tinygraph(layer, arrays, threads)
    theirs = _torch(layer, arrays, threads)
    for run in theirs.values():
        images = [a.transpose(FIRST) if t else a for a, t in zip(mine(), mine.turned, strict=True)]
        _compare(images, run())
    times = interleave({"tinygraph": mine, **theirs}, rounds, PAUSE)
    ms = {name: t.median * 1e3 for name, t in times.items()}
    best = min(v for k, v in ms.items() if k != "tinygraph")
    names = [call.name for call in mine.program.built.code.calls]  # type: ignore[attr-defined]
    depthwise = kind == "depthwise" or (kind == "gradients" and " to " not in layer.name)
    return Result(
        kind, layer.name, ms["tinygraph"], ms["torch"], ms.get("torch-nhwc"),
        ms["tinygraph"] / best, "; ".join(names), roof(mine, threads) if depthwise else None,
    )  # fmt: skip


def _arrays(layer: Layer) -> list[np.ndarray]:
    rng, below = np.random.default_rng(0), dict(layer.below)
    return [
        rng.integers(0, below[n], shape, dtype=np.int32)
        if n in below
        else rng.standard_normal(shape, dtype=np.float32)
        for n, shape in enumerate(layer.shapes)
    ]


def _tinygraph(layer: Layer, arrays: list[np.ndarray], threads: int) -> Callable[[], Any]:
    """The layer's results as a function without arguments."""
    tg.settings.threads = threads
    weights = len(arrays) - layer.weights
    inputs: list[tg.Node] = []
    values: list[np.ndarray] = []
    outputs: list[tg.Node] = []
    turned: list[bool] = []  # which outputs are stored channels last

    def entered(array: np.ndarray) -> tg.Node:
        image = layer.last and array.ndim == 4
        values.append(np.ascontiguousarray(array.transpose(LAST)) if image else array)
        inputs.append(tg.input(f"x{len(inputs)}", *values[-1].shape, dtype=array.dtype.name))
        return tg.transpose(inputs[-1], FIRST) if image else inputs[-1]

    def left(node: tg.Node, weight: bool = False) -> None:
        """Gradients to weights are in a weight's order, all other images as inputs are."""
        turned.append(layer.last and node.ndim == 4 and not weight)
        outputs.append(tg.transpose(node, LAST) if turned[-1] else node)

    nodes = [entered(a) for a in arrays[:weights]]
    nodes += [tg.parameter(a, f"w{n}") for n, a in enumerate(arrays[weights:])]
    y = layer.mine(*nodes)
    if layer.mode != "backward":
        left(y)
    if layer.mode != "forward":
        floats = [n for n, node in enumerate(nodes) if node.dtype == "float32"]
        loss = tg.sum(y * entered(_seed(y.shape)))
        for n, gradient in zip(floats, tg.grad(loss, [nodes[n] for n in floats]), strict=True):
            left(gradient, weight=n >= weights)
    program = tg.compile(inputs, outputs)

    def run() -> list[np.ndarray]:
        return program(*values)

    run.program, run.arrays, run.turned = program, values, turned  # type: ignore[attr-defined]
    return run


def _seed(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def _torch(layer: Layer, arrays: list[np.ndarray], threads: int) -> dict[str, Callable[[], Any]]:
    torch = peers._torch(threads)
    formats = {"torch": torch.contiguous_format}
    if layer.last is not None:
        formats["torch-nhwc"] = torch.channels_last
    return {name: _contender(torch, layer, arrays, f) for name, f in formats.items()}


def _contender(torch: Any, layer: Layer, arrays: list[np.ndarray], order: Any) -> Callable[[], Any]:
    def entered(array: np.ndarray) -> Any:
        t = torch.from_numpy(array.astype(np.int64) if array.dtype == np.int32 else array)
        return t.contiguous(memory_format=order) if t.ndim == 4 else t.contiguous()

    tensors = [entered(a) for a in arrays]
    if layer.mode == "forward":

        def forward() -> list[Any]:
            with torch.inference_mode():
                return [layer.theirs(torch, *tensors)]

        return forward
    wrt = [t.requires_grad_() for t in tensors if t.is_floating_point()]
    kept = layer.theirs(torch, *tensors)
    g = entered(_seed(tuple(kept.shape)))

    def both() -> list[Any]:
        y = layer.theirs(torch, *tensors)
        return [y.detach(), *torch.autograd.grad(y, wrt, g)]

    def backward() -> list[Any]:
        return list(torch.autograd.grad(kept, wrt, g, retain_graph=True))

    return both if layer.mode == "both" else backward


def _compare(mine: list[np.ndarray], theirs: list[Any]) -> None:
    for a, b in zip(mine, theirs, strict=True):
        want = np.asarray(b)
        error = np.abs(a - want).max() / max(np.abs(want).max(), 1e-30)
        assert error < TOLERANCE, f"results differ by {error:.1e} of the largest value"


def run(
    kinds: Iterable[str],
    threads: int,
    rounds: int,
    only: str,
    path: Path | None,
    table: Path | None,
) -> None:
    """Measures layers of these kinds whose names contain ``only``; prints which are slower, and
    writes that into a document, too, if it is given a ``table``.
    """
    kept = _kept(path)
    for kind in kinds:
        for layer in KINDS[kind]():
            if only not in layer.name:
                continue
            result = measure(kind, layer, threads, rounds)
            kept[f"{kind} {layer.name}"] = result
            print(row(result), file=sys.stderr, flush=True)
            if path:
                text = json.dumps([asdict(r) for r in kept.values()], indent=1)
                path.write_text(text + "\n")
    peer = f"PyTorch {peers._torch(threads).__version__}"
    text = tables(list(kept.values()), machine(threads, peer))
    print(text)
    if table:
        write(table, text)


def _kept(path: Path | None) -> dict[str, Result]:
    """Results of earlier runs, so that kinds can be measured one by one."""
    if path is None or not path.exists():
        return {}
    return {f"{r['kind']} {r['layer']}": Result(**r) for r in json.loads(path.read_text())}


__all__ = ("measure", "run")
