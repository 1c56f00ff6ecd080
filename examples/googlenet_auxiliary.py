"""GoogLeNet's three losses and its 1x1 reductions (Szegedy et al., CVPR 2015, sections 4 and 5).

22 layers are deep: little of the gradient comes through to the first of them. Two auxiliary
classifiers in the middle, their losses weighted by 0.3, bring more. And an Inception module is
affordable only because 1x1 convolutions make its inputs narrow before the 3x3 and 5x5 ones.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import models, nn
from tinygraph.data import digits
from tinygraph.models.blocks import ConvReLU
from tinygraph.models.googlenet import MODULES, Inception

BATCH, WEIGHT = 2, 0.3  # examples; of the auxiliary losses
FIRST = ("conv1", "conv2", "conv3")


def layers(net: nn.Module) -> int:
    """Layers with weights on the longest way to the logits: a module counts two."""
    names = {name.split(".")[0] for name in net.named_parameters()}
    return sum(1 + name.startswith("inception") for name in names if not name.startswith("aux"))


def gradient_norms(net: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Norms of the gradients of the first layers' weights: by the last loss, and by all three."""
    images, labels = (array[:BATCH] for array in digits()[0])
    large = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))).repeat(2, 2).repeat(2, 3)
    large = large.repeat(3, 1)  # 64 x 64, three channels
    x, y = tg.input("images", *large.shape), tg.input("labels", BATCH, dtype="int32")
    last, *auxiliary = (nn.cross_entropy(logits, y) for logits in net(x, training=True))
    whole = last + WEIGHT * (auxiliary[0] + auxiliary[1])
    weights = [net.named_parameters()[f"{name}.conv.weight"] for name in FIRST]
    norms = [
        tg.stack([tg.sqrt(tg.sum(g**2)) for g in tg.grad(loss, weights)]) for loss in (last, whole)
    ]
    graph = tg.Graph("gradient_norms", (x, y), tuple(norms))
    alone, all_three = tg.run(graph, large, labels)  # once: not worth compiling
    return alone, all_three


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


def main() -> dict[str, float]:
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
    print()
    for label, value in found.items():
        print(f"{label}: {value:,}" if isinstance(value, int) else f"{label}: {value:.2f}")
    return found


if __name__ == "__main__":
    main()
