"""What a file's network keeps between calls: its parameters and running statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import ops
from ..graph.dtype import is_float
from ..graph.ir import Node, Parameter
from ..graph.parameter import parameter
from ..nn.norm import Dropout
from ..nn.random import SEED, STEP, next_step
from .reading.records import FileTensor, GraphRecord

# Inputs that say how to compute, and not what with: never parameters.
SETTINGS = {"Resize": (1, 2, 3), "Upsample": (1,), "Pad": (1, 2, 3), "OneHot": (1, 2),
            "Clip": (1, 2), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
            "QLinearConv": (1, 4, 6), "QLinearMatMul": (1, 4, 6), "Range": (0, 1, 2)}  # fmt: skip
STATISTICS = {"BatchNormalization": (3, 4)}  # buffers: no gradient changes them


class State:
    """The parameters of a model, by the names of its tensors, those of branches included.

    Floats of more than one element are parameters, unless they are read as settings only.
    """

    def __init__(self, graph: GraphRecord):
        self.parameters: dict[str, Parameter] = {}
        self.tensors: dict[Parameter, FileTensor] = {}
        self.buffers: set[str] = set()
        self.dropouts: dict[str, Dropout] = {}
        self._made: dict[FileTensor, Parameter] = {}
        for g in _graphs(graph):
            settings, statistics = _read_as(g, SETTINGS), _read_as(g, STATISTICS)
            for name, t in g.tensors.items():
                if is_float(t.dtype) and t.size > 1 and settings.get(name) is not True:
                    self._add(t, statistics.get(name) is True)

    def _add(self, t: FileTensor, buffer: bool) -> None:
        name, number = t.name, 1
        while name in self.parameters:  # two branches may have tensors of one name
            number += 1
            name = f"{t.name}.{number}"
        p = self.parameters[name] = self._made[t] = _parameter(t, name)
        self.tensors[p] = t
        if buffer:
            p.state.trainable = False
            self.buffers.add(name)

    def value(self, t: FileTensor) -> Any:
        """A tensor as the value that nodes read."""
        p = self._made.get(t)
        return t.array if p is None else p

    def initial(self, p: Node) -> np.ndarray:
        """The value that a parameter has in the file."""
        return self.tensors[p].array if p in self.tensors else p.value  # type: ignore[index, attr-defined]

    def statistics(self, running: Node, new: Node, momentum: float, y: Node) -> Node:
        """y, and the effect that running statistics move towards those of the batch."""
        if not isinstance(running, Parameter):
            return y
        return ops.effect(y, running, running * momentum + new * (1 - momentum))

    def dropped(self, x: Node, ratio: float, name: str) -> Node:
        """Dropout in training; the layer is one for each name and ratio."""
        layer = self.dropouts.setdefault(name, Dropout(ratio))
        layer.p = ratio
        if not layer.path:
            layer.__dict__["path"] = name
        return layer(x, training=True)

    def drawn(self, shape: tuple[Any, ...], stream: str) -> Node:
        """Uniform random numbers in [0, 1), others at each run."""
        return ops.effect(ops.random_uniform(shape, SEED, STEP, stream), STEP, next_step())


def _parameter(t: FileTensor, name: str) -> Parameter:
    return parameter(t.shape, name, dtype=t.dtype, initial=lambda: t.array)


def _graphs(graph: GraphRecord) -> Iterator[GraphRecord]:
    """A graph, and those within it."""
    yield graph
    for n in graph.nodes:
        for value in n.attributes.values():
            if isinstance(value, GraphRecord):
                yield from _graphs(value)


def _read_as(graph: GraphRecord, places: Mapping[str, tuple[int, ...]]) -> dict[str, bool]:
    """For each tensor that is read, whether it is so at these inputs of operators only."""
    found: dict[str, bool] = {}
    for n in graph.nodes:
        at = places.get(n.op, ())
        for i, name in enumerate(n.inputs):
            found[name] = found.get(name, True) and i in at
        for value in n.attributes.values():
            if isinstance(value, GraphRecord):
                found |= dict.fromkeys(_captured(value), False)
    return found


def _captured(graph: GraphRecord) -> set[str]:
    names = {name for n in graph.nodes for name in n.inputs}
    inner = (v for n in graph.nodes for v in n.attributes.values() if isinstance(v, GraphRecord))
    return names.union(*map(_captured, inner))
