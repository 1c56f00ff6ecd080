"""Lookups in bags (PyTorch's EmbeddingBag), which exporters write as a loop over the bags.

Each step of the loop cuts its bag's rows out of all, and reduces them. Here all rows are read at
once, and each is added to its bag, so that the bags' sizes may be data, and their number open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ..reading.records import GraphRecord, NodeRecord
from .rules import Applied, Value, number

FOLDS = {("ReduceMax",): "max", ("ReduceMean",): "mean", ("ReduceMean", "ReduceSum"): "mean",
         ("ReduceSum",): "sum"}  # fmt: skip
# What the loop of torch.onnx's newer exporter consists of, but for its reductions.
FOUND = {"Add", "Cast", "CastLike", "Div", "Equal", "Greater", "Identity", "If", "Less", "Reshape",
         "SequenceInsert", "Shape", "Slice", "Sub"}  # fmt: skip


@dataclass(frozen=True)
class Joined:
    """A sequence of which only its elements' concatenation along axis 0 is known."""

    whole: Node
    dtype = "sequence of a number of tensors that is open"


def in_bags(c: Applied) -> tuple[Value, ...] | None:
    """What a loop over bags gives; None for any other loop."""
    body = c.attr("body")
    makers = {name: n for g in _graphs(body) for n in g.nodes for name in n.outputs}
    state = len(c.inputs) - 2
    try:
        if state == 0 and len(body.outputs) == 2:
            return (_Loop(c, makers, body.inputs[0].name, body).result(body.outputs[1].name),)
        if state == 2 and len(body.outputs) == 3 and isinstance(c.value(3), list):
            return _appended(c, makers, body)
    except _Other:
        pass
    return None


class _Other(Exception):
    """The loop is not one over bags."""


def _graphs(graph: GraphRecord) -> Iterator[GraphRecord]:
    yield graph
    for n in graph.nodes:
        for value in n.attributes.values():
            if isinstance(value, GraphRecord):
                yield from _graphs(value)


class _Loop:
    """The loop of the older exporter: a counter, and a reduction of rows that are looked up."""

    def __init__(
        self, c: Applied, makers: Mapping[str, NodeRecord], counter: str, body: GraphRecord
    ):
        self.c, self.makers, self.counter = c, makers, counter
        self.inside = {*makers, *(v.name for v in body.inputs), *body.tensors}
        self.tensors = {name: t for g in _graphs(body) for name, t in g.tensors.items()}
        self.bounds: tuple[str, str] | None = None

    def result(self, row: str) -> Node:
        fold = self.made(row, *(name for names in FOLDS for name in names))
        require(self.axes(fold) == [0] and not fold.attributes.get("keepdims", 1))
        rows = self.rows(fold.inputs[0])
        require(self.bounds is not None)
        starts, ends = (self.outer(name) for name in self.bounds or ())
        kind = FOLDS[(fold.op,)]
        return reduced(self.c, rows, starts, ends, kind, 0.0 if kind == "mean" else None)

    def rows(self, name: str) -> Node:
        """The rows of all bags of a value that has those of one."""
        n = self.made(name, "Slice", "Gather", "Unsqueeze", "Mul", "Cast")
        if n.op == "Slice":
            require(len(n.inputs) == 4 and self.axes(n, 3) == [0])
            found = tuple(self.bound(n.inputs[i]) for i in (1, 2))
            require(self.bounds in (None, found))
            self.bounds = (found[0], found[1])
            return self.c.as_node(self.outer(n.inputs[0]))
        if n.op == "Gather":
            require(n.attributes.get("axis", 0) == 0)
            given = [self.outer(n.inputs[0]), self.rows(n.inputs[1])]
        elif n.op == "Mul":
            given = [self.rows(i) for i in n.inputs]
        else:
            require(n.op == "Cast" or self.axes(n) == [1])
            given = [self.rows(n.inputs[0]), *map(self.outer, n.inputs[1:])]
        return self.c.as_node(self.c.walk.call(n, given)[0])

    def bound(self, name: str) -> str:
        """The vector whose element at the counter a bound is."""
        lifted = self.made(name, "Unsqueeze")
        at = self.made(lifted.inputs[0], "Gather")
        require(self.axes(lifted) == [0] and at.inputs[1] == self.counter)
        require(at.attributes.get("axis", 0) == 0)
        return at.inputs[0]

    def made(self, name: str, *wanted: str) -> NodeRecord:
        n = self.makers.get(name)
        if n is None or n.op not in wanted or n.domain:
            raise _Other
        return n

    def outer(self, name: str) -> Value:
        """The value of a name from around the loop, or of a constant in it."""
        if name in self.tensors:
            return self.tensors[name].array
        require(name not in self.inside)
        return self.c.walk.named(name)

    def axes(self, n: NodeRecord, i: int = 1) -> list[int] | None:
        if "axes" in n.attributes:
            return list(n.attributes["axes"])
        found = self.outer(n.inputs[i]) if len(n.inputs) > i else None
        return found.tolist() if isinstance(found, np.ndarray) else None


def _appended(c: Applied, makers: Mapping[str, NodeRecord], body: GraphRecord) -> tuple[Value, ...]:
    """The loop of the newer exporter: each step appends its bag's row to a sequence; no row of a
    bag is 0 there.
    """
    require(c.value(3) == [])
    loop = _Loop(c, makers, body.inputs[2].name, body)
    nodes = [n for g in _graphs(body) for n in g.nodes]
    folds = [n for n in nodes if n.op.startswith("Reduce")]
    kind = FOLDS.get(tuple(sorted({n.op for n in folds})))
    require(kind is not None and {n.op for n in nodes} <= FOUND | {n.op for n in folds})
    insert = loop.made(body.outputs[2].name, "SequenceInsert")
    choice = loop.made(insert.inputs[1], "If")
    empty = loop.made(choice.inputs[0], "Equal")
    start, end = (loop.made(name, "Slice") for name in empty.inputs)
    require(start.inputs[0] == end.inputs[0])
    zero = choice.attributes["then_branch"]
    require(not zero.nodes and not loop.outer(zero.outputs[0].name).any())
    sources = {name for n in folds for name in _sliced(loop, n.inputs[0], start.outputs[0])}
    require(len(sources) == 1 and all(loop.axes(n) == [0] for n in folds))
    rows, bounds = c.as_node(loop.outer(sources.pop())), loop.outer(start.inputs[0])
    count = bounds.shape[0] - 1
    require(not number(count) or count > 0)
    starts, ends = bounds[:-1], bounds[1:]
    whole = reduced(c, rows, starts, ends, kind or "", empty=0.0)
    last = np.empty((), object)
    last[()] = count
    return (last if not number(count) else np.asarray(count, np.int64)), Joined(whole)


def _sliced(loop: _Loop, name: str, start: str) -> Iterator[str]:
    """What a bag's rows are cut out of: up to the bag's end, or to that of the whole."""
    n = loop.made(name, "Slice", "If")
    if n.op == "If":
        for branch in ("then_branch", "else_branch"):
            yield from _sliced(loop, n.attributes[branch].outputs[0].name, start)
    else:
        require(n.inputs[1] == start)
        yield n.inputs[0]


def require(holds: bool) -> None:
    if not holds:
        raise _Other


def reduced(
    c: Applied, rows: Node, starts: Value, ends: Value, kind: str, empty: float | None
) -> Node:
    """The sum, mean or largest of each bag's rows, [bags, ...].

    Args:
        rows: [n, ...], those of the first bag first.
        starts: where bags begin, in ascending order, int[bags] or longer.
        ends: where they end, which is where the next begins, int[bags].
        empty: the value of a bag without rows; None: 0 as a sum, -inf as the largest.
    """
    known = c.known_value(starts), c.known_value(ends)
    count = ends.shape[0]
    require(not number(count) or count > 0)
    if isinstance(known[0], np.ndarray) and isinstance(known[1], np.ndarray):
        first, last = known[0][: len(known[1])], known[1]
        require(not (first.dtype == object or last.dtype == object))
        require(bool((first[1:] == last[:-1]).all() and (first <= last).all() and first[0] >= 0))
        size = int(last[0] - first[0])
        if size and first[0] == 0 and last[-1] == rows.shape[0] and (last - first == size).all():
            each = ops.reshape(rows, (len(last), size, *rows.shape[1:]))
            return {"sum": ops.sum, "mean": ops.mean, "max": ops.max}[kind](each, axis=1)
    else:
        require(_next(c.as_node(starts), c.as_node(ends)))
    begin = ops.cast(c.as_node(starts), "int64")[:count]
    end = ops.cast(c.as_node(ends), "int64")
    return _scattered(rows, begin, end, kind, empty)


def _next(starts: Node, ends: Node) -> bool:
    """True if ends are the elements of a vector from the second on, whose first are starts."""
    if ends.op.name != "slice" or ends.attr("start") != (1,):
        return False
    whole = ends.inputs[0]
    cut = starts.op.name == "slice" and starts.attr("start") == (0,)
    return starts is whole or (cut and starts.inputs[0] is whole)


def _scattered(rows: Node, begin: Node, end: Node, kind: str, empty: float | None) -> Node:
    n, count = rows.shape[0], begin.shape[0]
    one = (n, *(1,) * (rows.ndim - 1))
    begins = ops.scatter(ops.zeros((n + 1,), "int64"), begin, ops.ones((count,), "int64"), 0, "add")
    bag = ops.maximum(ops.cumsum(begins, 0)[:-1] - 1, 0)
    place = ops.arange(n, dtype="int64")
    held = ops.logical_and(ops.greater_equal(place, begin[0]), ops.less(place, end[-1]))
    start: Any = -np.inf if kind == "max" else 0.0
    rows = ops.where(ops.reshape(held, one), rows, start)
    bag = ops.broadcast_to(ops.reshape(bag, one), rows.shape)
    y = ops.full((count, *rows.shape[1:]), start, rows.dtype)
    y = ops.scatter(y, bag, rows, 0, "max" if kind == "max" else "add")
    size = ops.reshape(end - begin, (count, *(1,) * (rows.ndim - 1)))
    if kind == "mean":
        y = y / ops.cast(size, rows.dtype)
    return y if empty is None else ops.where(ops.equal(size, 0), empty, y)
