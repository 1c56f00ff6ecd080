"""What ``loops``, ``expr`` and ``fold`` of an operator say, carried out literally."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Node
from tinygraph.graph.op import Index, Read

FOLDS = {"sum": np.sum, "max": np.max, "min": np.min, None: np.max}


def scope(dtype: str) -> dict[str, Any]:
    """The names that scalar expressions may use, and K for ``dtype``."""
    names = {
        **library.functions(),
        **{d.constructor: d.numpy.type for d in DTYPES.values() if not d.carrier},
        "inf": math.inf,
        "nan": math.nan,
    }
    return names | {"K": np.bool_ if dtype == "bool" else np.dtype(dtype).type, "abs": abs}


def element(n: Node, arrays: list[np.ndarray], r: np.ndarray | None = None) -> np.ndarray:
    """The node's scalar expression, one element at a time, over arrays of one shape."""
    names = [f"x{i}" for i in range(len(arrays))]
    text = n.op.element(n).format(*names, r="r")
    function = eval(f"lambda {', '.join([*names, 'r'])}: {text}", scope(n.dtype))
    flat = [np.broadcast_to(a, arrays[0].shape).reshape(-1) for a in arrays]
    places = np.zeros(flat[0].size, int) if r is None else r.reshape(-1)
    with np.errstate(all="ignore"):
        values = [function(*row) for row in zip(*flat, places.tolist(), strict=True)]
    return np.array(values, n.dtype).reshape(arrays[0].shape)


def run_loops(n: Node, arrays: list[np.ndarray]) -> np.ndarray:
    """The value of a VIEW, REDUCE or ANCHOR node, by walking its loop nest."""
    loops = n.op.loops(n.type, *[i.type for i in n.inputs], **dict(n.attrs))
    sizes = (*n.shape, *loops.reduce)
    axes = np.indices(sizes)
    assert len(loops.reads) == len(arrays)
    values = [
        read(r, a, axes, loops.reads, arrays) for r, a in zip(loops.reads, arrays, strict=True)
    ]
    folded = tuple(range(len(n.shape), len(sizes)))
    flat = np.broadcast_to(np.arange(math.prod(loops.reduce)).reshape(loops.reduce), sizes)
    out = element(n, values, flat)
    if not folded:
        return out
    return FOLDS[n.op.fold](out, axis=folded).astype(n.dtype)


def read(
    r: Read, array: np.ndarray, axes: np.ndarray, reads: tuple[Read, ...], arrays: list[np.ndarray]
) -> np.ndarray:
    """What a Read gives at every position of the nest."""
    assert len(r.indices) == array.ndim
    places = [place(i, axes) for i in r.indices]
    inside = np.ones(axes.shape[1:], bool)
    gathered = dict(r.gather)
    for a, (whole, index) in enumerate(places):
        if a in gathered:
            k = gathered[a]
            index = np.clip(
                index + read(reads[k], arrays[k], axes, reads, arrays), 0, array.shape[a] - 1
            )
            places[a] = (whole, index)
        inside &= whole & (index >= 0) & (index < array.shape[a])
    assert r.outside is not None or inside.all(), "reads beyond the edge without an outside value"
    where = tuple(np.where(inside, index, 0) for _, index in places)
    found = array[where] if places else np.broadcast_to(array, inside.shape)
    return (
        found if r.outside is None else np.where(inside, found, np.asarray(r.outside, array.dtype))
    )


def place(index: Index, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the division leaves no remainder, the position) at every position of the nest."""
    total = np.full(axes.shape[1:], index.constant)
    for axis, coefficient in index.terms:
        total = total + coefficient * axes[axis]
    return total % index.divisor == 0, total // index.divisor
