"""GoogLeNet's three losses and its 1x1 reductions (Szegedy et al., CVPR 2015, sections 4 and 5).

22 layers are deep: little of the gradient comes through to the first of them. Two auxiliary
classifiers in the middle, their losses weighted by 0.3, bring more. And an Inception module is
affordable only because 1x1 convolutions make its inputs narrow before the 3x3 and 5x5 ones.
At the end the network learns from Fashion-MNIST (arXiv:1708.07747), the IDX files in a folder that
is the first argument, by default that of Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.data import Batches, digits, load_idx
from tinygraph.models.blocks import ConvReLU
from tinygraph.models.googlenet import MODULES, Inception
from tinygraph.train import evaluate, fit

BATCH, WEIGHT = 32, 0.3  # examples; of the auxiliary losses
FIRST = ("conv1", "conv2", "conv3")
FASHION = Path("/usr/share/datasets/fashion-mnist")


def layers(net: nn.Module) -> int:
    """Layers with weights on the longest way to the logits: a module counts two."""
    names = {name.split(".")[0] for name in net.named_parameters()}
    return sum(1 + name.startswith("inception") for name in names if not name.startswith("aux"))


def gradient_norms(net: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Norms of the gradients of the first layers' weights: by the last loss, and by all three."""
    images, labels = (array[:2] for array in digits()[0])
    x, y = tg.input("images", 2, 3, 64, 64), tg.input("labels", 2, dtype="int32")
    last, whole = losses(net, x, y)
    weights = [net.named_parameters()[f"{name}.conv.weight"] for name in FIRST]
    gradients = (tg.grad(loss, weights) for loss in (last, whole))
    norms = tuple(tg.stack([tg.sqrt(tg.sum(g**2)) for g in each]) for each in gradients)
    graph = tg.Graph("gradient_norms", (x, y), norms)
    alone, all_three = tg.run(graph, enlarge(255 * images[:, 0]), labels)  # once: not compiled
    return alone, all_three


def losses(net: nn.Module, x: tg.Node, y: tg.Node) -> tuple[tg.Node, tg.Node]:
    """The last loss, and all three together."""
    last, *auxiliary = (nn.cross_entropy(logits, y) for logits in net(x, training=True))
    return last, last + WEIGHT * (auxiliary[0] + auxiliary[1])


def enlarge(images: np.ndarray) -> np.ndarray:
    """Pixels 0..255 [n, 28, 28] as [n, 3, 64, 64] with mean and deviation near 0 and 1."""
    large = np.pad(images, ((0, 0), (2, 2), (2, 2))).repeat(2, 1).repeat(2, 2)[:, None].repeat(3, 1)
    return ((large - np.float32(73)) / np.float32(90)).astype(np.float32)


def learn(net: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int = 1) -> np.ndarray:
    """Trains with all three losses; the mean of their sum in each epoch."""
    enlarged = lambda batch, _: (enlarge(batch[0]), batch[1])  # noqa: E731
    batches = Batches(images, labels, batch_size=BATCH, transform=enlarged)
    x, y = tg.input("images", BATCH, 3, 64, 64), tg.input("labels", BATCH, dtype="int32")
    _, loss = losses(net, x, y)
    updates = optim.SGD(lr=0.01, momentum=0.9).updates(loss, net.parameters())
    train = tg.compile([x, y], [loss], updates=updates, name="train")
    return fit(train, batches, epochs, show=epochs == 1)["loss"]


def by_heart(net: nn.Module) -> float:
    """The part of the loss that is left after 110 looks at one batch of digits."""
    images, labels = (array[:BATCH] for array in digits()[0])
    history = learn(net, 255 * images[:, 0], labels, 110)
    return min(history) / history[0]


def fashion(net: nn.Module, folder: Path) -> float:
    """The accuracy on the test pictures after one look at every training picture."""

    def read(part: str) -> tuple[np.ndarray, np.ndarray]:
        images = load_idx(folder / f"{part}-images-idx3-ubyte.gz")
        return images, load_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int32)

    images, labels = read("train")
    print(f"\nlearning clothes in {len(images) // BATCH:,} steps")
    learn(net, images, labels)
    x = tg.input("images", BATCH, 3, 64, 64)
    predict = tg.compile([x], [net(x)], name="predict")
    images, labels = read("t10k")
    return evaluate(predict, enlarge(images), labels).accuracy


class NaiveInception(nn.Module):
    """The module without reductions: pooling keeps all of its channels (figure 2a)."""

    def __init__(self, inputs: int, ones: int, threes: int, fives: int):
        self.branch1 = ConvReLU(inputs, ones, 1)
        self.branch2 = ConvReLU(inputs, threes, 3, padding=1)
        self.branch3 = ConvReLU(inputs, fives, 5, padding=2)
        self.pool = nn.MaxPool2d(3, 1, 1)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        branches = (self.branch1, self.branch2, self.branch3, self.pool)
        return tg.concat([branch(x) for branch in branches], axis=1)


def module_cost(module: nn.Module, inputs: int, size: int) -> tuple[int, int, int]:
    """Parameters, operations for a picture [inputs, size, size], and channels of the result."""
    x = tg.input("picture", 1, inputs, size, size)
    y = module(x)
    cost = tg.compile([x], [y]).cost()
    return cost["parameters"], cost["flops"], y.shape[1]


def main(folder: Path = FASHION) -> dict[str, float]:
    nn.manual_seed(0)
    net = models.googlenet(classes=10)
    found: dict[str, float] = {
        "layers": layers(net),
        "parameters": sum(p.type.size for p in models.googlenet(auxiliary=False).parameters()),
    }
    alone, all_three = gradient_norms(net)
    print("norm of the gradient    by the last loss    by all three")
    for name, one, three in zip(FIRST, alone, all_three, strict=True):
        print(f"{name:20}{one:20.4f}{three:16.4f}")
        found[f"{name}: more gradient"] = float(three / one)

    inputs, ones, _, threes, _, fives, _ = MODULES["3a"]
    reduced = module_cost(Inception(ConvReLU, 5, *MODULES["3a"]), inputs, 28)
    naive = module_cost(NaiveInception(inputs, ones, threes, fives), inputs, 28)
    print("\nmodule 3a        parameters    operations    channels")
    for kind, (parameters, operations, channels) in (("naive", naive), ("reduced", reduced)):
        print(f"{kind:10}{parameters:17,}{operations:14,}{channels:12}")
    for number, what in enumerate(("parameters", "operations", "channels")):
        found[f"naive module: times the {what}"] = naive[number] / reduced[number]
    if folder.exists():
        found["accuracy on Fashion-MNIST"] = fashion(net, folder)
    else:
        print(f"\nwithout {folder}, it learns one batch of digits by heart")
        found["part of the loss that is left"] = by_heart(net)
    print()
    for label, value in found.items():
        print(f"{label}: {value:,}" if isinstance(value, int) else f"{label}: {value:.2f}")
    return found


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
