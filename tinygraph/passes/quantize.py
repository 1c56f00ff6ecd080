"""Which values of a network become integers: QDQ form, after calibration.

Operands of products with prepared weights are rounded to integers and back, as ONNX files have it:
``dequantize(quantize(x))``. The pass ``integer_products`` makes use of it. Activations are uint8
with one scale for a value, weights int8 with one for each output channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from ..graph.ir import Graph, Node, among, position
from ..graph.op import constant
from ..graph.origins import built_from, origins
from ..graph.rebuild import carry, with_inputs, with_outputs
from ..ops.arithmetic import abs as absolute
from ..ops.arithmetic import add, div, maximum, mul, sub
from ..ops.indexing import CONCAT
from ..ops.linalg import MATMUL
from ..ops.quantize import dequantize, quantize
from ..ops.reduce import max as greatest
from ..ops.view import RESHAPE, reshape
from ..ops.window import WINDOW_MAX
from ..plan.winograd.choice import at_or_below
from .byte_operands import INTEGER, refusal
from .fold_batch_norm import fixed_nodes
from .integer_products import MOVES

# of ``tg.calibrate``: layer -> low, high, bias; and result, of one whose result is added to others
Ranges = Mapping[str, Mapping[str, Any]]


def layers(graph: Graph) -> dict[str, Node]:
    """The products that can be of integers, by the names of their layers."""
    fixed, found = fixed_nodes(graph), dict[str, Node]()
    for n in graph.nodes:
        if n.op not in INTEGER or n.inputs[0] in fixed or refusal(n, fixed):
            continue
        name = n.name or next((o.scope for o in origins(n) if o.scope), n.op.name)
        count = 1 + sum(k == name or k.startswith(f"{name}#") for k in found)
        found[name if count == 1 else f"{name}#{count}"] = n
    return found


def summands(graph: Graph, found: Mapping[str, Node]) -> dict[str, Node]:
    """The values that are added to another layer's result, such as that of a shortcut with a layer
    of its own, by the names of the layers that make them. The first of the two is stored, and read
    again by the kernel of the second: as bytes it takes a quarter of the time.
    """
    fixed, names = fixed_nodes(graph), {n: name for name, n in found.items()}
    order = {n: i for i, n in enumerate(graph.nodes)}
    made = dict[str, Node]()
    for n in graph.nodes:
        if n.op is not add or any(i in fixed for i in n.inputs):
            continue
        makers = [m for m in (made_by(i, graph, fixed) for i in n.inputs) if m in names]
        if len(makers) == 2:
            first = min(makers, key=lambda m: order[m])
            made.setdefault(names[first], n.inputs[position(first, makers)])
    return made


def made_by(x: Node, graph: Graph, fixed: Set[Node]) -> Node | None:
    """The product that a value is, but for scales and shifts; nothing else reads it on the way."""
    while x.op in (add, sub, mul, div, RESHAPE):
        moving = [i for i in x.inputs if i not in fixed]
        if len(moving) != 1 or len(graph.users[x]) != 1 or among(x, graph.outputs):
            return None
        (x,) = moving
    return x if len(graph.users[x]) == 1 else None


def value_of(n: Node) -> Node:
    """The value that a layer reads."""
    return moved_from(n.inputs[0])


def moved_from(x: Node) -> Node:
    """The value that is rounded: before it moves, and maxima are taken."""
    while x.op in (*MOVES, WINDOW_MAX):
        x = x.inputs[0]
    return x


def quantized_weights(n: Node, w: Node) -> Node:
    """Weights as int8, and back: each output channel's greatest is 127."""
    inner = w.inputs[0] if w.op is RESHAPE else w
    if n.op is not MATMUL and inner.shape == (w.shape[0] * w.shape[1], *w.shape[2:]):
        return reshape(in_bytes(inner, (*range(1, inner.ndim),)), w.shape)  # as files have them
    return in_bytes(w, (0,) if n.op is MATMUL else (*range(2, w.ndim),))


def in_bytes(w: Node, taken: tuple[int, ...]) -> Node:
    """w as int8, and back, with a scale for all of the axes ``taken``."""
    scale = maximum(greatest(absolute(w), taken, keepdims=True), 1e-30) / 127.0
    return dequantize(quantize(w, scale, dtype="int8"), scale)


def quantized(graph: Graph, ranges: Ranges, keep: Iterable[str] = ()) -> Graph:
    """The graph with the products of ``ranges`` in QDQ form, but for those in ``keep``.

    Raises:
        ValueError: a name of either is no layer's.
    """
    found = layers(graph)
    for what, names in (("quantize", list(ranges)), ("keep", list(keep))):
        for name in names:
            if not any(at_or_below(layer, name) for layer in found):
                known = ", ".join(found) or "none"
                raise ValueError(f"{what}={name!r} is no layer; there is {known}")
    chosen = {
        n: ranges[name]
        for name, n in found.items()
        if name in ranges and not any(at_or_below(name, k) for k in keep)
    }
    stored = {
        n: chosen[found[name]]["result"]
        for name, n in summands(graph, found).items()
        if found[name] in chosen and "result" in chosen[found[name]]
    }
    limits = common_limits(stored | {value_of(n): r for n, r in chosen.items()})
    new, seen = dict[Node, Node](), dict[Node, Node]()
    for n in graph.nodes:
        with built_from(origins(n)):
            inputs = [seen[i] for i in n.inputs]
            if n in chosen:
                inputs[1] = quantized_weights(n, new[n.inputs[1]])
            new[n] = carry(with_inputs(n, tuple(inputs)), n)
            if n in chosen:
                new[n] = new[n] + corrected(n, chosen[n]["bias"])
            seen[n] = rounded(new[n], *limits[n]) if n in limits else new[n]
    return with_outputs(graph, tuple(new[o] for o in graph.outputs))


def common_limits(ranges: Mapping[Node, Mapping[str, Any]]) -> dict[Node, tuple[float, float]]:
    """The least and the greatest number of each value. Parts of a concatenation share those of the
    whole, so that they are stored side by side as they are.
    """
    sets = {n: {n} for n in ranges}
    for n in ranges:
        for part in map(moved_from, n.inputs if n.op is CONCAT else ()):
            if part in sets:
                joined = sets[n] | sets[part]
                sets |= dict.fromkeys(joined, joined)
    return {
        n: (min(ranges[m]["low"] for m in each), max(ranges[m]["high"] for m in each))
        for n, each in sets.items()
    }


def rounded(x: Node, low: float, high: float) -> Node:
    """x as uint8, and back. 0 is an integer, for it is beyond the edges of images."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-30) / 255))
    zero = int(np.rint(-low / scale))
    return dequantize(quantize(x, scale, zero), scale, zero)


def corrected(n: Node, bias: Sequence[float]) -> Node:
    """What rounded weights take from the mean of each output channel."""
    shape = (-1,) if n.op is MATMUL else (*n.shape[1:3], *(1,) * (n.ndim - 3))
    return reshape(constant(np.asarray(bias, np.float32)), shape)
