"""Networks whose plans, code and explanations are goldens: small, on fixed targets.

The goldens name lines of this file, so what is added goes to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import tinygraph as tg
from targets import NARROW, WIDE
from tinygraph import nn, optim
from tinygraph.compiler.pipeline import translate
from tinygraph.graph.ir import Graph, Node
from tinygraph.inspect.inspection import Inspection
from tinygraph.passes import Update, strip_effects
from tinygraph.plan.records.target import Target
from tinygraph_cpu import assemble

# fixed targets, as with AVX-512 and AVX2, whatever this machine has


def inspected(
    target: Target, inputs: Sequence[Node], outputs: Sequence[Node], updates: Iterable[Update] = ()
) -> Inspection:
    """What ``tg.compile`` would record on a machine with this target."""
    graph, pairs = strip_effects(Graph("net", tuple(inputs), tuple(outputs)), tuple(updates))
    changed = tuple(p for p, _ in pairs)
    whole = Graph("net", graph.inputs, (*graph.outputs, *(new for _, new in pairs)))
    parameters = tuple(dict.fromkeys((*whole.parameters, *changed)))
    return Inspection(translate(whole, changed, parameters, target, assemble), parameters)


def lenet() -> Inspection:
    x = tg.input("digits", 2, 1, 28, 28)
    return inspected(WIDE, [x], [tg.models.lenet5()(x)])


def lenet_step() -> Inspection:
    x, y = tg.input("digits", 2, 1, 28, 28), tg.input("digit", 2, dtype="int32")
    net = tg.models.lenet5()
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(0.1).updates(loss, net.parameters())
    return inspected(WIDE, [x, y], [loss], updates)


class Pooled(nn.Module):
    """A convolution, its activation, pooling."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 20, 3, stride=2, padding=1)

    def forward(self, x: Node, training: bool = False) -> Node:
        return tg.max_pool2d(tg.relu(self.conv(x)), 2)


def conv_pool() -> Inspection:
    x = tg.input("picture", 2, 3, 16, 16)
    return inspected(NARROW, [x], [Pooled()(x)])


def attention() -> Inspection:
    x = tg.input("tokens", 2, 5, 8)
    return inspected(NARROW, [x], [nn.MultiHeadAttention(8, 2)(x)])


class Recurrent(nn.Module):
    """An LSTM and what reads its last step."""

    def __init__(self) -> None:
        self.lstm, self.out = nn.LSTM(3, 5), nn.Linear(5, 2)

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.out(self.lstm(x)[0][-1])


def lstm_step() -> Inspection:
    x, y = tg.input("series", 4, 2, 3), tg.input("class", 2, dtype="int32")
    net = Recurrent()
    loss = nn.cross_entropy(net(x), y)
    return inspected(WIDE, [x, y], [loss], optim.SGD(0.1).updates(loss, net.parameters()))


class Normalized(nn.Module):
    """A convolution with batch normalization."""

    def __init__(self) -> None:
        self.conv, self.norm = nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6)

    def forward(self, x: Node, training: bool = False) -> Node:
        return tg.relu(self.norm(self.conv(x), training=training))


def batch_norm_step() -> Inspection:
    x = tg.input("picture", 4, 2, 8, 8)
    net = Normalized()
    loss = tg.mean(net(x, training=True) ** 2)
    return inspected(WIDE, [x], [loss], optim.SGD(0.1).updates(loss, net.parameters()))


NETWORKS: dict[str, tuple[Callable[[], Inspection], str]] = {  # and what to explain
    "lenet": (lenet, "conv2"),
    "lenet_step": (lenet_step, "conv2.weight"),
    "conv_pool": (conv_pool, "conv"),
    "attention": (attention, "out_proj"),
    "lstm_step": (lstm_step, "lstm.weight_hh_l0"),
    "batch_norm_step": (batch_norm_step, "norm.weight"),
}
