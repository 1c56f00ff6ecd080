"""What a bundle checks: every operator's example and gradient, and parts of networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygraph import models, nn, ops, optim
from tinygraph.autodiff import grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.dtype import is_float
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT, OPS, Op, input
from tinygraph.models.blocks import ConvNorm
from tinygraph.models.googlenet import MODULES, Inception
from tinygraph.nn import manual_seed
from tinygraph.passes import Update


@dataclass(frozen=True, slots=True)
class Case:
    """A program to be checked; ``tolerance`` is relative to 1 or to the value, if that is larger.

    ``timed``: large enough that its kernels' times say something.
    """

    name: str
    outputs: tuple[Node, ...]
    updates: tuple[Update, ...] = ()
    tolerance: float = 2e-5
    timed: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        reached = Graph(self.name, (), (*self.outputs, *(new for _, new in self.updates))).nodes
        return tuple(n for n in reached if n.op is INPUT)

    def arrays(self) -> list[np.ndarray]:
        """One for each input, the same every time."""
        rng = np.random.default_rng(0)
        return [draw(n.type, rng) for n in self.inputs]


def cases() -> Iterator[Case]:
    manual_seed(0)
    for op in OPS.values():
        if op.example is not None:
            yield from examples(op)
    yield lenet()
    yield inception()
    yield product(1024)
    yield convolution()


def examples(op: Op) -> Iterator[Case]:
    """An operator's example, and its gradient with respect to every float input."""
    assert op.example is not None
    y = op.example()
    yield Case(f"operator {op.name}", (y,))
    floats = [i for i in Case(op.name, (y,)).inputs if is_float(i.dtype)]
    if op.vjp is not None and floats and is_float(y.dtype):
        weight = input("weight", *y.shape, dtype=y.dtype)
        yield Case(f"gradient of {op.name}", tuple(grad(ops.sum(y * weight), floats)))


def lenet() -> Case:
    """A whole training step of LeNet-5, with dropout before its last layer."""
    x, label = input("image", 64, 1, 28, 28), input("label", 64, dtype="int32")
    net, drop = models.lenet5(), nn.Dropout(0.5)
    logits = net(drop(x, training=True), training=True)
    loss = nn.cross_entropy(logits, label) + nn.l2_penalty(net.parameters(), 1e-4)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return Case("LeNet-5, training step", (loss,), tuple(updates), 1e-4, timed=True)


def inception() -> Case:
    """GoogLeNet's first Inception module with batch normalization, forward and backward."""
    x = input("x", 4, 192, 28, 28)
    block = Inception(ConvNorm, 5, *MODULES["3a"])
    y = block(x, training=True)
    loss = ops.mean(y * y)
    grads = grad(loss, [x, *block.parameters()])
    return Case("Inception module, backward", (y, *grads), tolerance=1e-3, timed=True)


def product(n: int) -> Case:
    a, b = input("a", n, n), input("b", n, n)
    return Case(f"matrix product, {n}", (a @ b,), tolerance=1e-3, timed=True)


def convolution() -> Case:
    x, w = input("x", 8, 64, 56, 56), input("w", 128, 64, 3, 3)
    y = ops.relu(ops.conv2d(x, w, padding=1))
    return Case("convolution 3x3, 64 to 128", (y,), tolerance=1e-3, timed=True)
