"""Does a value agree with the interpreter's, as far as rounding allows?

An element is wrong if all three hold: it is further from the interpreter's value than rounding
explains, relative to the element itself, or where sums are involved to the largest; it is further
from the same computation in float64 than the interpreter's is; and than noise in the last digits of
the inputs moves that. So sums may be taken in any order, and a stable form of an overflowing
function is no error. A number in place of a NaN is one; an infinity may stand there, since the
order of sums decides between the two, and where the interpreter overflowed, anything that is not
finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES, astype, is_float, name_of, widened
from ..graph.float64 import in_float64
from ..graph.interpret import evaluate
from ..graph.ir import Graph, Node
from ..graph.op import Kind, input
from ..graph.rewrite import substitute

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}  # relative
UNITS = 2.5  # of the last place: the same for floats of 16 bits, which round each result
NOISE = {"float32": 2e-6, "float64": 1e-14}  # of every value, relative: a few units
DRAWS = 3  # of noise
MARGIN = 4  # how much further from float64 than the interpreter, or than noise explains
SMOOTH = 0.01  # of an element, relative: what noise may explain, where it explains no jump
SUMS = (Kind.REDUCE, Kind.ANCHOR, Kind.OPAQUE, Kind.COMPOSITE, Kind.LOOP)

Values = Mapping[Node, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """Where two results differ most, and by how much."""

    place: tuple[int, ...]
    before: Any
    after: Any
    size: float


def disagreement(
    n: Node,
    known: Values,
    want: np.ndarray,
    got: np.ndarray,
    compiled: bool,
    extreme: bool = False,
) -> Difference | None:
    """Where ``got`` is not the value of a node.

    Args:
        known: values from which the node follows; inputs and parameters at least.
        want: what the interpreter makes of them.
        compiled: a kernel's result: a comparison may fall either way near its edge, which noise in
            the inputs shows, and Winograd's transforms spread what is not finite over a tile.
        extreme: the inputs overflow many functions: elements that do so in float64 do not count,
            since a stable form is right there and the interpreter is not.
    """
    wrong = ~same(want, got)
    if not wrong.any():
        return None
    dtype, want, got = name_of(want.dtype), widened(want), widened(got)
    graph, arrays = above(n, known)
    sums = any(m.op.kind in SUMS for m in graph.nodes)
    if got.dtype.kind == "f":
        wrong &= distance(want, got) > rounding(want, sums, dtype)
        if compiled and sums and not all(finite(widened(a)) for a in arrays):
            wrong &= np.isfinite(got)
    if wrong.any() and (compiled or got.dtype.kind == "f"):
        runs = float64_runs(graph, arrays, dtype)
        wrong &= beyond(runs, want, got, sums, compiled, dtype)
        if extreme:
            wrong &= np.isfinite(runs[0])
    if not wrong.any():
        return None
    size = np.where(wrong, distance(want, got), -1)
    place = tuple(map(int, np.unravel_index(int(np.argmax(size)), want.shape)))
    return Difference(place, want[place], got[place], float(size[place]))


def beyond(
    runs: Sequence[np.ndarray],
    want: np.ndarray,
    got: np.ndarray,
    sums: bool,
    jumps: bool,
    dtype: str,
) -> np.ndarray:
    """Where ``got`` is further from the truth, ``runs[0]``, than ``want`` and noise explain."""
    with np.errstate(all="ignore"):
        truth, *noisy = (r.astype(got.dtype) for r in runs)
    if got.dtype.kind != "f":
        steady = np.logical_and.reduce([same(truth, other) for other in noisy])
        return ~same(truth, got) & steady
    moved = np.max([distance(truth, other) for other in noisy], axis=0)
    if not jumps:
        moved = np.minimum(moved, SMOOTH * magnitude(truth) + tolerance(dtype))
    allowed = MARGIN * np.maximum(distance(truth, want), moved) + rounding(truth, sums, dtype)
    overflowed = np.isfinite(runs[0]) & ~np.isfinite(want) & ~np.isfinite(got)
    return (distance(truth, got) > allowed) & ~overflowed


def float64_runs(graph: Graph, arrays: Sequence[np.ndarray], dtype: str) -> list[np.ndarray]:
    """The only output of a graph without parameters in float64; then as rounding to ``dtype`` might
    change it, by noise in every value (J. Vignes, A stochastic arithmetic, 1993).
    """
    wide, _ = in_float64(graph)
    rng = np.random.default_rng(0)
    noise = NOISE.get(dtype, DTYPES[dtype].eps if is_float(dtype) else NOISE["float32"])
    try:
        return [noisy_run(wide, arrays, noise * (draw > 0), rng) for draw in range(DRAWS + 1)]
    except (TypeError, ValueError):  # an operator that knows no float64
        return [noisy_run(graph, arrays, noise * (draw > 0), rng) for draw in range(DRAWS + 1)]


def noisy_run(
    graph: Graph, arrays: Sequence[np.ndarray], noise: float, rng: np.random.Generator
) -> np.ndarray:
    values = {
        i: noisy(astype(a, i.dtype), noise, rng) for i, a in zip(graph.inputs, arrays, strict=True)
    }
    for n in graph.nodes:
        if n not in values:
            value = evaluate(n, [values[i] for i in n.inputs])
            rounded = n.op.kind in (Kind.ELEMENTWISE, *SUMS) and n.op.kind is not Kind.LOOP
            values[n] = noisy(value, noise, rng) if rounded else value
    return widened(values[graph.outputs[0]])


def noisy(a: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if not noise or a.dtype.kind != "f":
        return a
    with np.errstate(all="ignore"):
        return a * (1 + noise * rng.standard_normal(a.shape)).astype(a.dtype)


def above(n: Node, known: Values) -> tuple[Graph, list[np.ndarray]]:
    """A graph without parameters that computes a node from known values, and these."""
    leaves: dict[Node, Node] = {}
    stack, seen = [n], set[Node]()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x in known:
            leaves[x] = input(f"value{len(leaves)}", *x.shape, dtype=x.dtype)
        else:
            stack.extend(x.inputs)
    made = substitute(Graph("above", (), (n,)), leaves)
    return Graph("above", tuple(leaves.values()), made.outputs), [known[x] for x in leaves]


# ---------------------------------------------------------------------- numbers


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equal elements, NaN included."""
    a, b = widened(a), widened(b)
    return (a == b) | ((a != a) & (b != b))


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b|; 0 for equal infinities, and for what is not finite where a is NaN; otherwise
    infinite where only one is finite.
    """
    with np.errstate(all="ignore"):
        gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    equal = (a == b) | (np.isnan(a) & ~np.isfinite(b))
    return np.where(equal, 0, np.where(np.isnan(gap), np.inf, gap))


def magnitude(a: np.ndarray) -> np.ndarray:
    """|a|, and 0 where it is not finite."""
    return np.where(np.isfinite(a), np.abs(a.astype(np.float64)), 0)


def rounding(a: np.ndarray, sums: bool, dtype: str) -> np.ndarray:
    """What rounding may change: of sums relative to the largest element, else to each."""
    size = magnitude(a)
    if sums:
        size = np.full(a.shape, size.max(initial=0))
    tiny = float(np.finfo(a.dtype).tiny)
    if dtype == "float16":  # its denormals are float32's normal numbers
        tiny = tolerance(dtype) * float(np.finfo(np.float16).tiny)
    return tolerance(dtype) * size + tiny


def tolerance(dtype: str) -> float:
    return TOLERANCE[dtype] if dtype in TOLERANCE else UNITS * DTYPES[dtype].eps


def finite(a: np.ndarray) -> bool:
    return bool(np.isfinite(a).all())
