"""What a bundle checks: every operator's example and gradient, and parts of networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinygraph import models, nn, ops, optim
from tinygraph.autodiff import grad
from tinygraph.graph.dtype import is_float
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT, OPS, Op, input
from tinygraph.models.blocks import ConvNorm
from tinygraph.models.googlenet import MODULES, Inception
from tinygraph.nn import manual_seed
from tinygraph.passes import Update

Torch = tuple[str, tuple[Any, ...]]  # a class of benchmarks/torch_networks.py, its arguments


@dataclass(frozen=True, slots=True)
class Case:
    """A program to be checked.

    Attributes:
        tolerance: relative to 1 or to the value, if that is larger.
        timed: large enough that its kernels' times say something.
        step: a training step of a whole network. Its parameters are drawn, where it runs as well,
            and of three steps the losses are compared, with those of the CPU backend.
        torch: the same network in PyTorch.
    """

    name: str
    outputs: tuple[Node, ...]
    updates: tuple[Update, ...] = ()
    tolerance: float = 2e-5
    timed: bool = False
    step: bool = False
    torch: Torch | None = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        reached = Graph(self.name, (), (*self.outputs, *(new for _, new in self.updates))).nodes
        return tuple(n for n in reached if n.op is INPUT)


def cases(only: str = "") -> Iterator[Case]:
    """Those with ``only`` in their names."""
    manual_seed(0)
    for op in OPS.values():
        if op.example is not None:
            yield from (case for case in examples(op) if only in case.name)
    parts = (lenet(), inception(), product(1024), convolution(), *by_tensor_cores(1024))
    yield from (case for case in parts if only in case.name)
    for name, (make, shape, torch) in STEPS.items():
        title = f"{name}, batch {shape[0]}, whole step"
        if only in title:
            yield step(title, make(), shape, torch)


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


def by_tensor_cores(n: int) -> tuple[Case, Case]:
    """A product and a convolution, channels last, of numbers that are rounded to bfloat16."""
    a, b = (ops.cast(input(name, n, n), "bfloat16") for name in "ab")
    y = ops.matmul(a, b, accumulate="float32")
    x, w = input("x", 8, 56, 56, 64), input("w", 3, 3, 64, 128)
    x, w = ops.transpose(x, (0, 3, 1, 2)), ops.transpose(w, (3, 2, 0, 1))
    x, w = ops.cast(x, "bfloat16"), ops.cast(w, "bfloat16")
    z = ops.relu(ops.conv2d(x, w, padding=1, accumulate="float32"))
    z = ops.transpose(z, (0, 2, 3, 1))
    return (
        Case(f"product in bfloat16, {n}", (y,), tolerance=1e-3, timed=True),
        Case("3x3 in bfloat16, 64 to 128", (z,), tolerance=1e-3, timed=True),
    )


# a network, the shape of its inputs, and the same in PyTorch; inputs of two axes are texts
STEPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Torch]] = {
    "LeNet-5": (models.lenet5, (64, 1, 28, 28), ("LeNet5", ())),
    "AlexNet": (models.alexnet, (16, 3, 227, 227), ("AlexNet", ())),
    "GoogLeNet": (
        lambda: models.googlenet("batch_norm", auxiliary=False),
        (32, 3, 224, 224),
        ("GoogLeNet", ("batch_norm", 1000, False)),
    ),
    "ResNet-50": (models.resnet50, (32, 3, 224, 224), ("ResNet50", ())),
    "LSTM": (lambda: models.lstm(256, 256, 10), (32, 64, 256), ("LSTM", (256, 256, 10))),
    "Transformer": (
        lambda: models.TransformerClassifier(62, 10, 128, size=128, layers=2, heads=4),
        (32, 128),
        ("TransformerClassifier", (62, 10, 128, 128, 2, 4)),
    ),
}


def step(name: str, net: nn.Module, shape: tuple[int, ...], torch: Torch) -> Case:
    """A training step by SGD with momentum."""
    kind = "int32" if len(shape) == 2 else "float32"
    x, label = input("x", *shape, dtype=kind), input("label", shape[0], dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = tuple(optim.SGD(lr=0.01, momentum=0.9).updates(loss, net.parameters()))
    return Case(name, (loss,), updates, 1e-3, timed=True, step=True, torch=torch)
