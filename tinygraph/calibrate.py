"""Calibration: which numbers the layers of a network read, for inference with integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .compile import compile
from .compiler.program import Program
from .graph.interpret import run
from .graph.ir import Node
from .graph.numeric import numeric
from .ops.linalg import MATMUL
from .ops.reduce import max, mean, min
from .passes.quantize import layers, quantized_weights, summands, value_of


@numeric
def calibrate(
    program: Program, batches: Iterable[Any], *, percentile: float | None = None
) -> dict[str, dict[str, Any]]:
    """The ranges of what each layer reads, for ``tg.compile(..., quantize=ranges)``.

    A layer is a convolution or a product with a matrix of weights. A few hundred examples that are
    like those of use suffice; labels are not needed.

    Args:
        program: of the network, in floats.
        batches: arrays, or sequences of as many arrays as the program takes.
        percentile: of the numbers of a batch are within the range, as 99.99, and the rest is cut
            off; ranges are means over batches then. None: all numbers of all batches are.

    Returns:
        For each layer ``low`` and ``high``, and ``bias``, a number for each output channel: what
        its mean loses as weights are rounded, which is added back (M. Nagel et al., Data-free
        quantization through weight equalization and bias correction, ICCV 2019, section 4.2). Where
        its result waits to be added to another layer's, ``result`` has the ``low`` and ``high`` of
        that. Plain lists and numbers: ``json.dump`` stores it.

    Raises:
        ValueError: there are no layers, or no batches.

    Example:
        >>> x, net = tg.input("x", 8, 4), nn.Linear(4, 2)
        >>> program = tg.compile([x], [net(x)])
        >>> ranges = tg.calibrate(program, [np.ones((8, 4), np.float32)])
        >>> quick = tg.compile([x], [net(x)], quantize=ranges)
    """
    found = layers(program.graph)
    if not found:
        raise ValueError(f"{program.graph.name} has no layers whose weights are parameters")
    added = summands(program.graph, found)
    values = dict.fromkeys([*map(value_of, found.values()), *added.values()])
    ends = [f(v) for v in values for f in (min, max)] if percentile is None else list(values)
    means = [mean_of_channels(n) for n in found.values()]
    probe = compile(program.graph.inputs, [*ends, *means], name="calibrate")
    seen: list[list[Any]] = []
    for batch in batches:
        arrays = batch if isinstance(batch, Sequence) else [batch]
        *some, _ = got = probe(*arrays)
        if percentile is not None:
            tails = [(100 - percentile) / 2, (100 + percentile) / 2]
            some = [end for v in got[: len(values)] for end in np.percentile(v, tails)]
        seen.append([*some[: 2 * len(values)], *got[len(ends) :]])
    if not seen:
        raise ValueError("calibrate requires a batch of inputs at least, got none")
    columns = list(zip(*seen, strict=True))
    least, most = (np.min, np.max) if percentile is None else (np.mean, np.mean)
    limits = {
        v: (float(least(columns[2 * i])), float(most(columns[2 * i + 1])))
        for i, v in enumerate(values)
    }
    table = {}
    for i, (name, n) in enumerate(found.items()):
        at = np.mean(columns[2 * len(values) + i], 0)
        ends_of = limits[value_of(n)]
        table[name] = {"low": ends_of[0], "high": ends_of[1], "bias": lost(n, at).tolist()}
        if name in added:
            low, high = limits[added[name]]
            table[name]["result"] = {"low": low, "high": high}
    return table


def mean_of_channels(n: Node) -> Node:
    """The mean of each channel that a layer reads: [channels], of a convolution [groups, c]."""
    x = n.inputs[0]
    kept = (x.ndim - 1,) if n.op is MATMUL else (1, 2)
    return mean(x, tuple(a for a in range(x.ndim) if a not in kept))


def lost(n: Node, means: np.ndarray) -> np.ndarray:
    """By how much rounded weights lower each output channel, on average."""
    w = n.inputs[1]
    rest = run(w).astype(np.float64) - run(quantized_weights(n, w))
    if n.op is MATMUL:
        return means @ rest
    return np.einsum("gc,goc->go", means, rest.reshape(*rest.shape[:3], -1).sum(-1)).reshape(-1)
