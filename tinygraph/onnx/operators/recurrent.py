"""LSTM, GRU and RNN: a scan for each direction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ... import ops
from ...graph.ir import Node
from .elementwise import hard_sigmoid
from .quantization import by_limits
from .rules import CONTRIB, Applied, rule

Activation = Callable[[Node], Node]

ACTIVATIONS: dict[str, Callable[..., Node]] = {
    "affine": lambda x, alpha=1.0, beta=0.0: x * alpha + beta,
    "elu": lambda x, alpha=1.0: ops.elu(x, alpha),
    "hardsigmoid": lambda x, alpha=0.2, beta=0.5: hard_sigmoid(x, alpha, beta),
    "leakyrelu": lambda x, alpha=0.01: ops.leaky_relu(x, alpha),
    "relu": ops.relu,
    "scaledtanh": lambda x, alpha=1.0, beta=1.0: ops.tanh(x * beta) * alpha,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "softsign": lambda x: x / (ops.abs(x) + 1),
    "tanh": ops.tanh,
    "thresholdedrelu": lambda x, alpha=1.0: ops.where(ops.less(alpha, x), x, 0),
}
TAKES = {"affine": 2, "hardsigmoid": 2, "scaledtanh": 2, "elu": 1, "leakyrelu": 1,
         "thresholdedrelu": 1}  # fmt: skip
USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Layer:
    """What all three have in common: shapes, directions, activations."""

    def __init__(self, c: Applied):
        self.c, self.kind = c, c.node.op.removeprefix("DynamicQuantize")
        x = c.x(0)
        self.x = ops.transpose(x, (1, 0, 2)) if c.attr("layout", 0) else x  # [steps, n, inputs]
        direction = c.attr("direction", "forward")
        if direction not in ("forward", "reverse", "bidirectional"):
            raise c.fault(f"has no direction {direction!r}")
        self.directions = [False] if direction == "forward" else [True]
        self.directions = [False, True] if direction == "bidirectional" else self.directions
        self.size = c.attr("hidden_size") or c.x(2).shape[-1]
        self.limit = c.attr("clip")
        self.lengths = c.maybe(4)
        self.functions = self.activations()

    def activations(self) -> list[list[Activation]]:
        """Those of each direction, with their parameters."""
        usual = USUAL[self.kind] * len(self.directions)
        names = self.c.attr("activations") if self.c.given("activations") else usual
        alpha, beta = (list(self.c.attr(f"activation_{k}") or ()) for k in ("alpha", "beta"))
        each = len(USUAL[self.kind])
        if len(names) != each * len(self.directions):
            raise self.c.fault(f"requires {each} activations for each direction, got {len(names)}")
        found: list[Activation] = []
        for name in names:
            key = name.lower()
            if key not in ACTIVATIONS:
                raise self.c.fault(f"has the activation {name!r}, which ONNX does not have")
            given = {}
            if TAKES.get(key, 0) >= 1 and alpha:
                given["alpha"] = alpha.pop(0)
            if TAKES.get(key, 0) >= 2 and beta:
                given["beta"] = beta.pop(0)
            found.append(partial(ACTIVATIONS[key], **given) if given else ACTIVATIONS[key])
        return [found[i * each : (i + 1) * each] for i in range(len(self.directions))]

    def initial(self, i: int, d: int) -> Node:
        """The first state [n, hidden] of direction d, input i or zeros."""
        if not self.c.has(i):
            return ops.zeros((self.x.shape[1], self.size), self.x.dtype)
        h = self.c.x(i)
        return h[:, d] if self.c.attr("layout", 0) else h[d]

    def weights(self, d: int) -> tuple[Node, Node, Node, Node]:
        """W [inputs, gates], R [hidden, gates] and both biases of direction d."""
        w, r = (self.matrix(i, d) for i in (1, 2))
        if not self.c.has(3):
            zero = ops.zeros((w.shape[1],), w.dtype)
            return w, r, zero, zero
        b = self.c.x(3)[d]
        half = w.shape[1]
        return w, r, b[:half], b[half:]

    def matrix(self, i: int, d: int) -> Node:
        """Input i [.., gates] of direction d."""
        return ops.transpose(self.c.x(i)[d])

    def times(self, x: Node, w: Node) -> Node:
        """The product with a matrix of weights."""
        return x @ w

    def clipped(self, x: Node) -> Node:
        return x if self.limit is None else ops.clip(x, -self.limit, self.limit)

    def run(self, d: int, step: Callable[..., tuple[Node, ...]], first: list[Node],
            rows: Node) -> tuple[Node, ...]:  # fmt: skip
        """(outputs [steps, n, hidden], last states...) of direction d.

        With lengths, states stay as they are after a sequence's end, and outputs are 0.
        """
        reverse = self.directions[d]
        if self.lengths is None:
            last, (ys,) = ops.scan(lambda *v: _with_output(step(*v)), first, rows, reverse=reverse)
            return ys, *last
        numbers = ops.arange(self.x.shape[0], dtype="int32")
        lengths = ops.reshape(ops.cast(self.lengths, "int32"), (-1, 1))

        def kept(*values: Node) -> tuple[Node, ...]:
            *states, row, t = values
            inside = ops.less(t, lengths)
            new = [ops.where(inside, a, b) for a, b in zip(step(*states, row), states, strict=True)]
            return *new, ops.where(inside, new[0], 0)

        last, (ys,) = ops.scan(kept, first, (rows, numbers), reverse=reverse)
        return ys, *last

    def joined(self, each: list[tuple[Node, ...]]) -> tuple[Node, ...]:
        """Both directions side by side: Y [steps, directions, n, hidden], Y_h, Y_c."""
        ys = ops.stack([e[0] for e in each], 1)
        states = [ops.stack(s) for s in zip(*(e[1:] for e in each), strict=True)]
        if self.c.attr("layout", 0):
            ys = ops.transpose(ys, (2, 0, 1, 3))
            states = [ops.transpose(s, (1, 0, 2)) for s in states]
        return ys, *states


class QuantizedLayer(Layer):
    """With weights of eight bits; what meets them is rounded to such by its own limits."""

    def matrix(self, i: int, d: int) -> Node:
        scale, zero = (self.c.x(k)[d] for k in (2 * i + 6, 2 * i + 7))
        return (ops.cast(self.c.x(i)[d], "float32") - ops.cast(zero, "float32")) * scale

    def times(self, x: Node, w: Node) -> Node:
        whole, scale = by_limits(x)
        return (whole * scale) @ w


def _with_output(states: tuple[Node, ...]) -> tuple[Node, ...]:
    return (*states, states[0])


@rule("RNN")
def rnn(c: Applied) -> Any:
    layer = Layer(c)
    found = []
    for d in range(len(layer.directions)):
        w, r, wb, rb = layer.weights(d)
        (f,) = layer.functions[d]

        def step(h: Node, row: Node, f: Activation = f, r: Node = r) -> tuple[Node]:
            return (f(layer.clipped(row + h @ r)),)

        found.append(layer.run(d, step, [layer.initial(5, d)], layer.x @ w + (wb + rb)))
    return layer.joined(found)


@rule("LSTM")
def lstm(c: Applied) -> Any:
    """Gates are in the order input, output, forget, cell; P has peepholes of the first three."""
    return _lstm(c, Layer(c))


@rule("DynamicQuantizeLSTM", domain=CONTRIB)
def dynamic_quantize_lstm(c: Applied) -> Any:
    return _lstm(c, QuantizedLayer(c))


def _lstm(c: Applied, layer: Layer) -> Any:
    size = layer.size
    coupled = bool(c.attr("input_forget", 0))
    found = []
    for d in range(len(layer.directions)):
        w, r, wb, rb = layer.weights(d)
        f, g, h = layer.functions[d]
        peep = c.x(7)[d] if c.has(7) else None

        def step(
            hidden: Node, cell: Node, row: Node, r: Node = r, f: Activation = f,
            g: Activation = g, h: Activation = h, peep: Node | None = peep,
        ) -> tuple[Node, Node]:  # fmt: skip
            gates = row + layer.times(hidden, r)
            i, o, forget, new = (gates[:, k * size : (k + 1) * size] for k in range(4))
            if peep is not None:
                i = i + peep[:size] * cell
                forget = forget + peep[2 * size :] * cell
            i = f(layer.clipped(i))
            forget = 1 - i if coupled else f(layer.clipped(forget))
            after = forget * cell + i * g(layer.clipped(new))
            if peep is not None:
                o = o + peep[size : 2 * size] * after
            return f(layer.clipped(o)) * h(after), after

        first = [layer.initial(5, d), layer.initial(6, d)]
        found.append(layer.run(d, step, first, layer.times(layer.x, w) + (wb + rb)))
    return layer.joined(found)


@rule("GRU")
def gru(c: Applied) -> Any:
    """Gates are in the order update, reset, hidden."""
    layer = Layer(c)
    size = layer.size
    before = not c.attr("linear_before_reset", 0)
    found = []
    for d in range(len(layer.directions)):
        w, r, wb, rb = layer.weights(d)
        f, g = layer.functions[d]
        hidden_bias = rb[2 * size :]

        def step(
            h: Node, row: Node, r: Node = r, f: Activation = f, g: Activation = g,
            hidden_bias: Node = hidden_bias,
        ) -> tuple[Node]:  # fmt: skip
            gates = h @ r[:, : 2 * size]
            z = f(layer.clipped(row[:, :size] + gates[:, :size]))
            reset = f(layer.clipped(row[:, size : 2 * size] + gates[:, size:]))
            if before:
                inner = (reset * h) @ r[:, 2 * size :] + hidden_bias
            else:
                inner = reset * (h @ r[:, 2 * size :] + hidden_bias)
            new = g(layer.clipped(row[:, 2 * size :] + inner))
            return ((1 - z) * new + z * h,)

        outer = ops.concat([rb[: 2 * size], ops.zeros((size,), rb.dtype)])
        found.append(layer.run(d, step, [layer.initial(5, d)], layer.x @ w + (wb + outer)))
    return layer.joined(found)
