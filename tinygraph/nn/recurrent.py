"""Recurrent layers and cells, with PyTorch's names of parameters and order of gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..graph.dtype import is_integer
from ..graph.ir import Node, Parameter
from ..graph.numeric import numeric
from ..graph.op import ShapeError, promote
from .drawn import drawn
from .init import uniform
from .module import Module
from .norm import Dropout

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


def gru_step(given: Node, kept: Node, h: Node) -> Node:
    """h = (1 - z) n + z h with n = tanh(i_n + r h_n); gates are in the order r, z, n.

    Cho et al., EMNLP 2014; r acts on the product, as in cuDNN and PyTorch.
    """
    i_r, i_z, i_n = ops.split(given, 3, 1)
    h_r, h_z, h_n = ops.split(kept, 3, 1)
    z, n = ops.sigmoid(i_z + h_z), ops.tanh(i_n + ops.sigmoid(i_r + h_r) * h_n)
    return n + z * (h - n)


STEPS: dict[str, Step] = {"tanh": tanh_step, "relu": relu_step}


class _Weights(Module):
    """The part that layers and cells share: weights [gates * hidden, ...] uniform in +-1 /
    sqrt(hidden).
    """

    gates = 1
    states = 1
    input_biases: tuple[str, ...] = ("bias_ih", "bias_hh")  # those that do not need the state

    def after(self, given: Node, state: State, weight: Node, suffix: str) -> State:
        """The next state from the input's share of the gates, and the state."""
        return self.step(given + state[0] @ weight, state)

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
        """The gates' share of the input: x [..., inputs] times a weight, plus biases."""
        z = x @ self.weight("weight_ih", suffix).T
        if hasattr(self, f"bias_ih{suffix}"):
            first, *others = (self.weight(name, suffix) for name in self.input_biases)
            z = z + (first + others[0] if others else first)
        return z

    def weight(self, name: str, suffix: str = "") -> Parameter:
        return getattr(self, name + suffix)


class _Gated(_Weights):
    """What a GRU and its cell share."""

    gates = 3
    input_biases = ("bias_ih",)

    def after(self, given: Node, state: State, weight: Node, suffix: str) -> State:
        kept = state[0] @ weight
        if hasattr(self, f"bias_hh{suffix}"):
            kept = kept + self.weight("bias_hh", suffix)
        return (gru_step(given, kept, state[0]),)


@numeric
class _Recurrent(_Weights):
    """Layers over sequences.

    Args:
        input_size, hidden_size: of the rows of x, and of the state.
        num_layers: each reads what the one before it gives.
        bias: whether gates have biases.
        batch_first: x is [N, L, inputs] instead of [L, N, inputs].
        dropout: probability, in training, for what goes from one layer to the next.
        bidirectional: each layer also reads the sequence backwards; the results are side by side.

    Calls take ``lengths``, integers [N]: steps beyond a sequence's length leave its state as it is
    and give 0, so that the last state is that of its end.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ):
        self.sizes, self.batch_first = (input_size, hidden_size), batch_first
        self.num_layers, self.dropout = num_layers, Dropout(dropout) if dropout else None
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            for direction in self.directions:
                width = input_size if layer == 0 else hidden_size * len(self.directions)
                self.add_weights(width, hidden_size, bias, f"_l{layer}{direction}")

    def run(self, x: Node, first: State | None, lengths: Any = None) -> tuple[Node, State]:
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
        live = None if lengths is None else _live(name, lengths, x)
        left: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for direction in self.directions:
                state = [s[len(left)] for s in first]
                reverse = direction == "_reverse"
                last, h = self.scan(x, state, f"_l{layer}{direction}", reverse, live)
                left.append(last)
                outs.append(h)
            x = ops.concat(outs, 2)
            if self.dropout is not None and layer + 1 < self.num_layers:
                x = self.dropout(x)
        states = [ops.stack([last[k] for last in left]) for k in range(self.states)]
        return (ops.transpose(x, (1, 0, 2)) if self.batch_first else x), states

    def scan(
        self, x: Node, state: State, suffix: str, reverse: bool, live: Node | None
    ) -> tuple[State, Node]:
        """One layer in one direction: what its last step leaves, h of all steps."""
        weight = self.weight("weight_hh", suffix).T

        def step(*values: Node) -> tuple[Node, ...]:
            before, row = values[: self.states], values[self.states]
            after = self.after(row, before, weight, suffix)
            if live is None:
                return (*after, after[0])
            goes_on = values[-1]
            kept = (ops.where(goes_on, a, b) for a, b in zip(after, before, strict=True))
            return (*kept, ops.where(goes_on, after[0], 0))

        rows = [self.gate_inputs(x, suffix), *([] if live is None else [live])]
        last, (h,) = ops.scan(step, list(state), rows, reverse=reverse)
        return last, h

    def extra_repr(self) -> str:
        more = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        more += ", batch_first=True" if self.batch_first else ""
        more += f", dropout={self.dropout.p}" if self.dropout is not None else ""
        more += ", bidirectional=True" if len(self.directions) > 1 else ""
        return f"{self.sizes[0]}, {self.sizes[1]}{more}"


def _live(name: str, lengths: Any, x: Node) -> Node:
    """Which steps [L, N, 1] are within their sequence."""
    (lengths,) = promote(name, (lengths,))
    if lengths.shape != (x.shape[1],) or not is_integer(lengths.dtype):
        raise ShapeError(f"{name} requires integer lengths[{x.shape[1]}], got {lengths.type}")
    steps = ops.axis_index((x.shape[0], 1), 0)
    live = ops.less(steps, ops.cast(lengths, "int32"))
    return ops.reshape(live, (*x.shape[:2], 1))


@numeric
class RNN(_Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), over x[L, N, inputs] (batch_first: [N, L,
    inputs]).

    Other arguments are those of ``nn.GRU``.

    Args:
        nonlinearity: ``tanh`` or ``relu``.

    A call with x, and h[num_layers * directions, N, hidden] or zeros, returns h of the last layer's
    steps, and of all layers' last steps. A direction in reverse begins at the end.

    Example:
        >>> out, h = nn.RNN(16, 32, bidirectional=True)(tg.zeros((10, 8, 16)))
        >>> out.shape, h.shape
        ((10, 8, 64), (2, 8, 32))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        **options: Any,
    ):
        if nonlinearity not in STEPS:
            raise ValueError(f"nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.nonlinearity = nonlinearity

    def forward(
        self, x: Node, state: Node | None = None, *, lengths: Any = None, training: bool = False
    ) -> tuple[Node, Node]:
        y, (h,) = self.run(x, None if state is None else (state,), lengths)
        return y, h

    def step(self, z: Node, state: State) -> State:
        return STEPS[self.nonlinearity](z, state)


class LSTM(_Recurrent):
    """Long short-term memory over x[L, N, inputs] (batch_first: [N, L, inputs]).

    A call with x, and (h, c)[num_layers * directions, N, hidden] or zeros, returns h of the last
    layer's steps, and (h, c) of all layers' last steps.

    Hochreiter and Schmidhuber, Neural Computation 9, 1997, with the forget gate of Gers et al.,
    2000; equations and names of weights are PyTorch's. Arguments are those of ``nn.GRU``.

    Example:
        >>> out, (h, c) = nn.LSTM(16, 32, num_layers=2, batch_first=True)(tg.zeros((8, 10, 16)))
        >>> out.shape, h.shape
        ((8, 10, 32), (2, 8, 32))
    """

    gates, states = 4, 2

    def forward(
        self, x: Node, state: State | None = None, *, lengths: Any = None, training: bool = False
    ) -> tuple[Node, tuple[Node, Node]]:
        y, (h, c) = self.run(x, state, lengths)
        return y, (h, c)

    def step(self, z: Node, state: State) -> State:
        return lstm_step(z, state)


class GRU(_Gated, _Recurrent):
    """Gated recurrent units over x[L, N, inputs] (batch_first: [N, L, inputs]).

    A call with x, and h[num_layers * directions, N, hidden] or zeros, returns h of the last layer's
    steps, and of all layers' last steps.

    Cho et al., EMNLP 2014, section 2.3; equations and names of weights are PyTorch's.

    Args:
        input_size, hidden_size: of x and of h.
        num_layers: each takes the h of the one before.
        bias: whether there are biases.
        batch_first: see above.
        dropout: probability between layers, in training.
        bidirectional: also from the end; outputs are [.., 2 * hidden_size].

    Example:
        >>> out, h = nn.GRU(16, 32, batch_first=True)(tg.zeros((8, 10, 16)))
        >>> out.shape, h.shape
        ((8, 10, 32), (1, 8, 32))
    """

    def forward(
        self, x: Node, state: Node | None = None, *, lengths: Any = None, training: bool = False
    ) -> tuple[Node, Node]:
        y, (h,) = self.run(x, None if state is None else (state,), lengths)
        return y, h


@numeric
class _Cell(_Weights):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True):
        self.sizes = input_size, hidden_size
        self.add_weights(input_size, hidden_size, bias)

    def once(self, x: Node, state: State | None) -> State:
        inputs, hidden = self.sizes
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ShapeError(f"{type(self).__name__} requires x[N, {inputs}], got {x.type}")
        if state is None:
            state = [ops.zeros((x.shape[0], hidden), x.dtype)] * self.states
        return self.after(self.gate_inputs(x), state, self.weight("weight_hh").T, "")

    def extra_repr(self) -> str:
        return f"{self.sizes[0]}, {self.sizes[1]}"


@numeric
class RNNCell(_Cell):
    """One step of ``RNN``: x[N, inputs] and h[N, hidden] (or zeros) give the next h.

    Arguments are those of ``nn.RNN``.

    Example:
        >>> nn.RNNCell(16, 32)(tg.zeros((8, 16))).shape
        (8, 32)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ):
        if nonlinearity not in STEPS:
            raise ValueError(f"nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = nonlinearity

    def forward(self, x: Node, state: Node | None = None, training: bool = False) -> Node:
        return self.once(x, None if state is None else (state,))[0]

    def step(self, z: Node, state: State) -> State:
        return STEPS[self.nonlinearity](z, state)


class GRUCell(_Gated, _Cell):
    """One step of ``GRU``: x[N, inputs] and h[N, hidden] (or zeros) give the next h.

    Arguments are those of ``nn.GRU``.

    Example:
        >>> nn.GRUCell(16, 32)(tg.zeros((8, 16))).shape
        (8, 32)
    """

    def forward(self, x: Node, state: Node | None = None, training: bool = False) -> Node:
        return self.once(x, None if state is None else (state,))[0]


class LSTMCell(_Cell):
    """One step of ``LSTM``: x[N, inputs] and (h, c)[N, hidden] (or zeros) give the next (h, c).

    Arguments are those of ``nn.GRU``.

    Example:
        >>> h, c = nn.LSTMCell(16, 32)(tg.zeros((8, 16)))
    """

    gates, states = 4, 2

    def forward(self, x: Node, state: State | None = None, training: bool = False) -> State:
        return tuple(self.once(x, state))

    def step(self, z: Node, state: State) -> State:
        return lstm_step(z, state)
