"""Operators' examples with floats of 16 bits."""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from compiled import graph_of
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import Op


def narrow_example(op: Op, dtype: str) -> tuple[Node, Graph, list[np.ndarray]] | None:
    """An operator's example of a dtype in place of float32, and arrays; None if it takes none."""
    assert op.example is not None
    example = op.example()
    inputs = [tg.cast(i, dtype) if i.dtype == "float32" else i for i in example.inputs]
    try:
        y = op(*inputs, **dict(example.attrs))
    except tg.ShapeError:
        return None
    graph, rng = graph_of(y), np.random.default_rng(3)
    return y, graph, [tg.astype(rng.uniform(0.1, 2, i.shape), i.dtype) for i in graph.inputs]
