"""Where two programs of one network differ: the error of each layer, on given data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.dtype import is_float, widened
from ..graph.interpret import run
from ..graph.ir import Graph, Node
from ..graph.origins import origins


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far a layer's value is from the same layer's of another program.

    Attributes:
        name: of the layer, its scope; ``output 0`` and so on for what the program returns.
        dtype: in which the program computes it, or to which it rounds it.
        error: the root of the mean square of the difference, as a part of that of the value.
        largest: the largest difference.
    """

    name: str
    dtype: str
    error: float
    largest: float


@dataclass(frozen=True, slots=True)
class Differences:
    """The errors of all layers, in the order of the graph; print it."""

    layers: tuple[LayerError, ...]

    @property
    def worst(self) -> LayerError:
        """The layer with the largest error."""
        return max(self.layers, key=lambda each: each.error)

    def __str__(self) -> str:
        width = max(len(each.name) for each in self.layers)
        head = f"{'layer':{width}}  {'dtype':9}  {'error':>8}  {'largest':>8}"
        return "\n".join((head, *(
            f"{x.name:{width}}  {x.dtype:9}  {x.error:8.2%}  {x.largest:8.2g}" for x in self.layers
        )))  # fmt: skip


def differences(graph: Graph, other: Graph, arrays: Sequence[Any], outputs: int) -> Differences:
    """Those of two optimized graphs of one network, by their NumPy meaning.

    Raises:
        ValueError: they have no layer and no output in common.
    """
    mine, theirs = layer_values(graph, outputs), layer_values(other, outputs)
    names = [k for k, n in mine.items() if k in theirs and theirs[k].shape == n.shape]
    if not names:
        raise ValueError(f"{graph.name} and {other.name} have no layer and no output in common")
    got, want = (
        run(Graph(g.name, g.inputs, tuple(found[k] for k in names)), *arrays)
        for g, found in ((graph, mine), (other, theirs))
    )
    return Differences(tuple(
        layer_error(k, rounded_to(mine[k]), a, b) for k, a, b in zip(names, got, want, strict=True)
    ))  # fmt: skip


def layer_values(graph: Graph, outputs: int) -> dict[str, Node]:
    """The last float that each scope computes on the way forward, and the outputs."""
    found: dict[str, Node] = {}
    for n in graph.nodes:
        place = next(iter(origins(n)), None)
        if place is not None and place.scope and not place.how and n.inputs and is_float(n.dtype):
            found[place.scope] = n
    return found | {f"output {i}": n for i, n in enumerate(graph.outputs[:outputs])}


def rounded_to(n: Node) -> str:
    """The dtype of a value, before it was widened."""
    return n.inputs[0].dtype if n.op.name == "cast" and is_float(n.inputs[0].dtype) else n.dtype


def layer_error(name: str, dtype: str, got: np.ndarray, want: np.ndarray) -> LayerError:
    a, b = (widened(x).astype(np.float64) for x in (got, want))
    apart, size = a - b, np.sqrt(np.mean(b * b)) if b.size else 0.0
    error = float(np.sqrt(np.mean(apart * apart)) / (size or 1.0)) if b.size else 0.0
    return LayerError(name, dtype, error, float(np.abs(apart).max(initial=0.0)))
