"""Recurrent layers and cells, with PyTorch's names of parameters and order of gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..graph.ir import Node, Parameter
from ..graph.op import ShapeError
from .drawn import drawn
from .init import uniform
from .module import Module

State = Sequence[Node]
Step = Callable[[Node, State], State]  # (gates before their functions, state) -> next state


def tanh_step(z: Node, state: State) -> State:
    """h = tanh(z) (Elman, Finding structure in time, 1990)."""
    return (ops.tanh(z),)


def relu_step(z: Node, state: State) -> State:
    return (ops.relu(z),)


def lstm_step(z: Node, state: State) -> State:
    """c = f * c + i * g, h = o * tanh(c); gates are in the order i, f, g, o.

    Hochreiter and Schmidhuber, Long short-term memory, 1997; the forget gate is that of Gers et
    al., 2000.
    """
    i, f, g, o = ops.split(z, 4, 1)
    c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


STEPS: dict[str, Step] = {"tanh": tanh_step, "relu": relu_step}


class _Weights(Module):
    """The part that layers and cells share: weights [gates * hidden, ...] uniform in +-1 /
    sqrt(hidden).
    """

    gates = 1
    states = 1

    def step(self, z: Node, state: State) -> State:
        """The next state from the gates before their functions, and the state."""
        raise NotImplementedError

    def add_weights(self, inputs: int, hidden: int, bias: bool, suffix: str = "") -> None:
        bound, rows = 1 / math.sqrt(hidden), self.gates * hidden
        initial = uniform(-bound, bound)
        setattr(self, f"weight_ih{suffix}", drawn((rows, inputs), initial, order=(1, 0)))
        setattr(self, f"weight_hh{suffix}", drawn((rows, hidden), initial, order=(1, 0)))
        for name in ("bias_ih", "bias_hh") if bias else ():
            setattr(self, f"{name}{suffix}", drawn((rows,), initial))

    def gate_inputs(self, x: Node, suffix: str = "") -> Node:
        """The gates' share of the input: x [..., inputs] times a weight, plus both biases."""
        z = x @ self.weight("weight_ih", suffix).T
        if hasattr(self, f"bias_ih{suffix}"):
            z = z + (self.weight("bias_ih", suffix) + self.weight("bias_hh", suffix))
        return z

    def weight(self, name: str, suffix: str = "") -> Parameter:
        return getattr(self, name + suffix)


class _Recurrent(_Weights):
    def __init__(
        self,
        inputs: int,
        hidden: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
    ):
        self.sizes, self.num_layers, self.batch_first = (inputs, hidden), num_layers, batch_first
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            for direction in self.directions:
                width = inputs if layer == 0 else hidden * len(self.directions)
                self.add_weights(width, hidden, bias, f"_l{layer}{direction}")

    def run(self, x: Node, first: State | None) -> tuple[Node, State]:
        """All steps of all layers: h of the last layer, and what the last steps leave."""
        inputs, hidden = self.sizes
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != inputs:
            axes = "N, L" if self.batch_first else "L, N"
            raise ShapeError(f"{name} requires x[{axes}, {inputs}], got {x.type}")
        if self.batch_first:
            x = ops.transpose(x, (1, 0, 2))
        shape = (self.num_layers * len(self.directions), x.shape[1], hidden)
        if first is None:
            first = [ops.zeros(shape, x.dtype)] * self.states
        if [s.shape for s in first] != [shape] * self.states:
            got = ", ".join(str(s.type) for s in first)
            raise ShapeError(f"{name} requires {self.states} states of shape {shape}, got {got}")
        left: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for direction in self.directions:
                state = [s[len(left)] for s in first]
                last, h = self.scan(x, state, f"_l{layer}{direction}", direction == "_reverse")
                left.append(last)
                outs.append(h)
            x = ops.concat(outs, 2)
        states = [ops.stack([last[k] for last in left]) for k in range(self.states)]
        return (ops.transpose(x, (1, 0, 2)) if self.batch_first else x), states

    def scan(self, x: Node, state: State, suffix: str, reverse: bool) -> tuple[State, Node]:
        """One layer in one direction: what its last step leaves, h of all steps."""
        weight = self.weight("weight_hh", suffix).T

        def step(*values: Node) -> tuple[Node, ...]:
            *before, row = values
            after = self.step(row + before[0] @ weight, before)
            return (*after, after[0])

        last, (h,) = ops.scan(step, list(state), self.gate_inputs(x, suffix), reverse=reverse)
        return last, h

    def extra_repr(self) -> str:
        more = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        more += ", batch_first=True" if self.batch_first else ""
        more += ", bidirectional=True" if len(self.directions) > 1 else ""
        return f"{self.sizes[0]}, {self.sizes[1]}{more}"


class RNN(_Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), over x[L, N, inputs] (batch_first: [N, L,
    inputs]).

    Args:
        nonlinearity: ``tanh`` or ``relu``.

    A call with x, and h[num_layers * directions, N, hidden] or zeros, returns h of the last layer's
    steps, and of all layers' last steps. A direction in reverse begins at the end.
    """

    def __init__(self, inputs: int, hidden: int, *, nonlinearity: str = "tanh", **options: Any):
        if nonlinearity not in STEPS:
            raise ValueError(f"nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(inputs, hidden, **options)
        self.nonlinearity = nonlinearity

    def forward(
        self, x: Node, state: Node | None = None, training: bool = False
    ) -> tuple[Node, Node]:
        y, (h,) = self.run(x, None if state is None else (state,))
        return y, h

    def step(self, z: Node, state: State) -> State:
        return STEPS[self.nonlinearity](z, state)


class LSTM(_Recurrent):
    """Long short-term memory over x[L, N, inputs] (batch_first: [N, L, inputs]).

    A call with x, and (h, c)[num_layers * directions, N, hidden] or zeros, returns h of the last
    layer's steps, and (h, c) of all layers' last steps.
    """

    gates, states = 4, 2

    def forward(
        self, x: Node, state: State | None = None, training: bool = False
    ) -> tuple[Node, tuple[Node, Node]]:
        y, (h, c) = self.run(x, state)
        return y, (h, c)

    def step(self, z: Node, state: State) -> State:
        return lstm_step(z, state)


class _Cell(_Weights):
    def __init__(self, inputs: int, hidden: int, bias: bool = True):
        self.sizes = inputs, hidden
        self.add_weights(inputs, hidden, bias)

    def once(self, x: Node, state: State | None) -> State:
        inputs, hidden = self.sizes
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ShapeError(f"{type(self).__name__} requires x[N, {inputs}], got {x.type}")
        if state is None:
            state = [ops.zeros((x.shape[0], hidden), x.dtype)] * self.states
        return self.step(self.gate_inputs(x) + state[0] @ self.weight("weight_hh").T, state)

    def extra_repr(self) -> str:
        return f"{self.sizes[0]}, {self.sizes[1]}"


class RNNCell(_Cell):
    """One step of ``RNN``: x[N, inputs] and h[N, hidden] (or zeros) give the next h."""

    def __init__(self, inputs: int, hidden: int, bias: bool = True, nonlinearity: str = "tanh"):
        if nonlinearity not in STEPS:
            raise ValueError(f"nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(inputs, hidden, bias)
        self.nonlinearity = nonlinearity

    def forward(self, x: Node, state: Node | None = None, training: bool = False) -> Node:
        return self.once(x, None if state is None else (state,))[0]

    def step(self, z: Node, state: State) -> State:
        return STEPS[self.nonlinearity](z, state)


class LSTMCell(_Cell):
    """One step of ``LSTM``: x[N, inputs] and (h, c)[N, hidden] (or zeros) give the next (h, c)."""

    gates, states = 4, 2

    def forward(self, x: Node, state: State | None = None, training: bool = False) -> State:
        return tuple(self.once(x, state))

    def step(self, z: Node, state: State) -> State:
        return lstm_step(z, state)
