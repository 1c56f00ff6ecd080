"""Random networks of several resolutions with updates: encoders, decoders, skip concatenations.

What ``random_networks`` does not draw: channels that fill a register tile exactly, so that a slice
of a concatenation, whose rows are as far apart as a tile is wide, is an operand; views between
convolutions (upsampling by reshape and broadcast); updates in the epilogue of weight gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from random_networks import Network
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.graph.ir import Graph, Node, Parameter
from tinygraph.graph.op import INPUT, input
from tinygraph.graph.parameter import parameter

CHANNELS = (1, 2, 2, 3, 4, 8)  # the tiles of tests have 4 lanes: half of one, one, two


def signs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, shape).astype("float32")


def upsample(x: Node, kind: str) -> Node:
    """Twice the height and width: nearest neighbours in one of three ways."""
    n, c, h, w = x.shape
    if kind == "reshape":
        wide = ops.broadcast_to(ops.reshape(x, n, c, h, 1, w, 1), (n, c, h, 2, w, 2))
        return ops.reshape(wide, n, c, 2 * h, 2 * w)
    if kind == "take":
        rows = ops.take(x, np.arange(2 * h) // 2, 2)
        return ops.take(rows, np.arange(2 * w) // 2, 3)
    stacked = ops.stack([x, x], 3)  # rows twice, then columns twice
    tall = ops.reshape(stacked, n, c, 2 * h, w)
    return ops.reshape(ops.stack([tall, tall], 4), n, c, 2 * h, 2 * w)


def halve(x: Node, kind: str) -> Node:
    if min(x.shape[2:]) < 2:
        return x
    if kind == "max":
        return ops.max_pool2d(x, 2)
    return x[:, :, ::2, ::2] if kind == "slice" else ops.avg_pool2d(x, 2) * 4


@st.composite
def decoders(draw: st.DrawFn) -> Network:
    """A network down and up again, whose outputs are a loss or values, and SGD's updates."""

    def pick(values: Any) -> Any:
        return draw(st.sampled_from(list(values)))

    parameters: list[Parameter] = []

    def conv(x: Node, out: int) -> Node:
        k = pick([1, 1, 3])
        shape = (out, x.shape[1], k, k)
        w = parameter(signs(shape, len(parameters)), f"w{len(parameters)}")
        parameters.append(w)
        y = ops.conv2d(x, w, padding=k // 2)
        if draw(st.booleans()):
            b = parameter(signs((out, 1, 1), len(parameters)), f"b{len(parameters)}")
            parameters.append(b)
            y = y + b
        activation: Callable[[Node], Node] = pick([ops.relu, lambda v: ops.clip(v, -2, 2)])
        return activation(y) if draw(st.booleans()) else y

    x = input("x", pick([1, 2]), pick(CHANNELS), *pick([(4, 4), (8, 4), (2, 6)]))
    skips, y = [x], x
    for _ in range(draw(st.integers(1, 2))):
        y = halve(conv(y, pick(CHANNELS)), pick(["max", "slice", "avg"]))
        skips.append(y)
    for skip in reversed(skips[:-1]):
        if y.shape[2:] != skip.shape[2:]:
            y = upsample(y, pick(["reshape", "take", "stack"]))
        if draw(st.booleans()):
            y = conv(y, pick(CHANNELS))
        if y.shape[2:] == skip.shape[2:]:
            y = ops.concat(draw(st.permutations([y, skip])), 1)
        y = conv(y, pick(CHANNELS))
    loss = ops.sum(y * signs(y.shape, 7))
    gradients = grad(loss, parameters)
    new = [p - g for p, g in zip(parameters, gradients, strict=True)]
    outputs = (loss, y) if draw(st.booleans()) else (loss,)
    whole = (*outputs, *new)
    inputs = tuple(n for n in Graph("", (), whole).nodes if n.op is INPUT)
    arrays = [signs(i.shape, 11) for i in inputs]
    return Network(Graph("g", inputs, whole), tuple(parameters), arrays)
