"""Loops that are ONNX's LSTM, GRU or RNN: those of such layers of nn without lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ... import ops
from ...graph.ir import Graph, Node
from ...nn.recurrent import gru_step, lstm_step
from ...ops.loop import ITEM, LoopRoles
from .patterns import Raised, below, rebuilt
from .writer import OnnxWriter, Value

Steps = Callable[..., tuple[Node, ...]]


def _lstm(weight: Node, bias: Node | None) -> Steps:
    def step(h: Node, c: Node, row: Node) -> tuple[Node, ...]:
        after = lstm_step(row + h @ weight, (h, c))
        return (*after, after[0])

    return step


def _gru(weight: Node, bias: Node | None) -> Steps:
    def step(h: Node, row: Node) -> tuple[Node, ...]:
        kept = h @ weight
        after = gru_step(row, kept if bias is None else kept + bias, h)
        return after, after

    return step


def _rnn(function: Callable[[Node], Node], weight: Node, bias: Node | None) -> Steps:
    def step(h: Node, row: Node) -> tuple[Node, ...]:
        after = function(row + h @ weight)
        return after, after

    return step


@dataclass(frozen=True)
class Cell:
    """An operator of ONNX.

    Attributes:
        op, options: its name, and attributes.
        states: carries of a step.
        order: where its gates are among those of nn.
        steps: the step of nn, from the state's weight and bias.
    """

    op: str
    states: int
    order: tuple[int, ...]
    steps: Callable[[Node, Node | None], Steps]
    options: dict[str, Any] = field(default_factory=dict)


CELLS = (
    Cell("LSTM", 2, (0, 3, 1, 2), _lstm),
    Cell("GRU", 1, (1, 0, 2), _gru, {"linear_before_reset": 1}),
    Cell("RNN", 1, (0,), partial(_rnn, ops.tanh), {"activations": ["Tanh"]}),
    Cell("RNN", 1, (0,), partial(_rnn, ops.relu), {"activations": ["Relu"]}),
)


@dataclass(frozen=True)
class RaisedLayer:
    """One layer in one direction.

    Attributes:
        cell: which operator it is.
        loop: the loop that it was.
        x: [steps, n, inputs].
        weights: [inputs, gates] and [hidden, gates].
        biases: of what x gives, and of what the state gives.
    """

    cell: Cell
    loop: LoopRoles
    x: Node
    weights: tuple[Node, Node]
    biases: tuple[Node | None, Node | None]

    @property
    def turned(self) -> list[bool]:
        return [m.op.name == "transpose" for m in self.weights]

    def raised(self) -> Raised:
        matrices = (m.inputs[0] if t else m for m, t in zip(self.weights, self.turned, strict=True))
        biases = (b for b in self.biases if b is not None)
        return Raised((self.x, *matrices, *self.loop.initial, *biases), self.write)

    def write(self, w: OnnxWriter, x: Value, *others: Value) -> list[Value]:
        """Results: the history of h, that of an LSTM's c, which nothing reads, and Y, Y_h, Y_c."""
        loop = self.loop
        state = loop.initial[0].shape
        first = 2 + len(loop.initial)
        w_r = [
            self.by_gate(w, m if t else w.transpose(m, (1, 0)), n.shape[0])
            for m, t, n in zip(others, self.turned, self.weights, strict=False)
        ]
        starts = [w.reshape(s, state, (1, *state)) for s in others[2:first]]
        y, *ends = w.add(
            self.cell.op, x, *w_r, self.bias(w, list(others[first:])), "", *starts,
            outputs=1 + len(starts), hidden_size=state[1],
            direction="reverse" if loop.reverse else "forward", **self.cell.options,
        )  # fmt: skip
        y = w.reshape(y, (loop.length, 1, *state), (loop.length, *state))
        parts = (y, starts[0]) if loop.reverse else (starts[0], y)
        unread = [""] * (len(starts) - 1)
        return [w.add("Concat", *parts, axis=0), *unread, y, *ends]

    def by_gate(self, w: OnnxWriter, x: Value, *rest: int) -> Value:
        """x[gates * hidden, *rest] in ONNX's order of gates, as [1, gates * hidden, *rest]."""
        order = self.cell.order
        hidden = self.loop.initial[0].shape[1]
        rows = len(order) * hidden
        apart = w.reshape(x, (rows, *rest), (len(order), hidden, *rest))
        moved = w.add("Gather", apart, w.constant(order, "int64"), axis=0)
        return w.reshape(moved, (len(order), hidden, *rest), (1, rows, *rest))

    def bias(self, w: OnnxWriter, given: list[Value]) -> Value:
        """Both biases side by side, zeros for one that is missing; nothing if both are."""
        if not given:
            return ""
        rows = self.weights[0].shape[1]
        parts = [
            w.constant([[0.0] * rows], "float32") if b is None else self.by_gate(w, given.pop(0))
            for b in self.biases
        ]
        return w.add("Concat", *parts, axis=1)


def layer(n: Node, graph: Graph) -> RaisedLayer | None:
    """The layer that a loop is, if nothing reads c of all its steps, which ONNX does not give.

    Where gradients go through the same steps once more, loops stay what they are: readers merge
    them.
    """
    loop = LoopRoles.of(n)
    if len(loop.sequences) != 1 or not loop.given or loop.length < 1:
        return None
    rows, state = loop.sequences[0], loop.initial[0] if loop.initial else None
    if rows.dtype != "float32" or state is None or (state.ndim, rows.ndim) != (2, 3):
        return None
    if sum(u.op.name == "scan" for u in graph.users[rows]) > 1:
        return None
    product, bias = rows.inputs if rows.op.name == "add" else (rows, None)
    if product.op.name != "matmul" or product.inputs[1].ndim != 2 or product.shape != rows.shape:
        return None
    weights = product.inputs[1], loop.given[0]
    inner = loop.given[1] if len(loop.given) > 1 else None
    if bias is not None and bias.shape != rows.shape[2:]:
        return None
    cells = (c for c in CELLS if c.states == len(loop.initial))
    cell = next((c for c in cells if _makes(n, loop, c.steps(weights[1], inner))), None)
    if cell is None:
        return None
    if any(not _only_last(u, graph, loop) for u in graph.users[n] if u.attr("index") == 1):
        return None
    return RaisedLayer(cell, loop, product.inputs[0], weights, (bias, inner))


def _makes(n: Node, loop: LoopRoles, step: Steps) -> bool:
    """Whether these steps make the loop."""

    def build() -> Node:
        _, (h,) = ops.scan(step, loop.initial, loop.sequences, reverse=loop.reverse)
        return h.inputs[0].inputs[0]  # what the slice of the loop's first result is of

    return rebuilt(n, build)


def _only_last(history: Node, graph: Graph, loop: LoopRoles) -> bool:
    outer = any(o is history for o in graph.outputs)
    return not outer and all(_part(u, loop) == "last" for u in graph.users[history])


def _part(n: Node, loop: LoopRoles) -> str | None:
    """Which part of a history a node is: the last step's, or that of all steps."""
    if n.op.name != "slice" or n.shape[1:] != n.inputs[0].shape[1:]:
        return None
    start, size, step = n.attr("start")[0], n.shape[0], n.attr("step")[0]
    if step == 1 and (start, size) == (0 if loop.reverse else loop.length, 1):
        return "last"
    if step == 1 and (start, size) == (0 if loop.reverse else 1, loop.length):
        return "all"
    return None


def recurrent(n: Node, graph: Graph) -> Raised | None:
    found = layer(n, graph)
    return found.raised() if found else None


def last_or_all(n: Node, graph: Graph) -> Raised | None:
    """A part of a layer's history that ONNX gives: Y, Y_h or Y_c."""
    item, loop = n.inputs[0], below(n, 0, 0)
    if item.op is not ITEM or loop is None or (found := layer(loop, graph)) is None:
        return None
    part, index = _part(n, found.loop), item.attr("index")
    if part is None:
        return None
    place = len(found.loop.initial) if part == "all" else len(found.loop.initial) + 1 + index
    return Raised((loop,), lambda w, results: results[place])
