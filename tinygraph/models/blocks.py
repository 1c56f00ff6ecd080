"""What several networks share: convolution blocks, stochastic depth, auxiliary losses, input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..graph.op import constant


def conv(
    inputs: int, outputs: int, kernel_size: Any, bias: bool = False, **options: Any
) -> nn.Conv2d:
    """A convolution with He's initial values by fan-out; without a bias, for a norm follows."""
    initial = nn.init.he(fan="out")
    return nn.Conv2d(inputs, outputs, kernel_size, bias=bias, initial=initial, **options)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel_size: int,
    activation: type[nn.Module] | None,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, batch normalization, an activation."""
    layers: list[nn.Module] = [
        conv(inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class StochasticDepth(nn.Module):
    """In training, leaves each example's branch out with probability p (Huang et al., ECCV 2016).

    Branches that stay are scaled by 1 / (1 - p), as dropout does, so that inference needs nothing.
    """

    def __init__(self, p: float):
        self.dropout = nn.Dropout(p)

    def forward(self, x: Node, training: bool = False) -> Node:
        if not training or self.dropout.p == 0:
            return x
        kept = ops.broadcast_to(constant(1.0, x.dtype), (x.shape[0],) + (1,) * (x.ndim - 1))
        return x * self.dropout(kept)


class ConvReLU(nn.Module):
    """A convolution with bias, then ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: Any, **options: Any):
        options = {"initial": nn.init.xavier(), **options}
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, **options)

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.relu(self.conv(x, training=training))


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalization, ReLU: torchvision's BasicConv2d."""

    def __init__(self, inputs: int, outputs: int, kernel_size: Any, **options: Any):
        options = {"initial": nn.init.normal(0.1), **options}
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.relu(self.bn(self.conv(x, training=training), training=training))


@numeric
def auxiliary_loss(
    outputs: Node | Sequence[Node],
    labels: Node,
    weight: float = 0.3,
    label_smoothing: float = 0.0,
) -> Node:
    """The cross entropy of the logits plus ``weight`` times that of each auxiliary classifier.

    Args:
        outputs: what a network returns in training: the logits, or several, the last layer's first.
        labels: integers [N].
        weight: 0.3 in GoogLeNet (Szegedy et al., CVPR 2015, section 5), 0.4 in torchvision's
            training of Inception v3.
        label_smoothing: 0.1 in Inception v3 (Szegedy et al., CVPR 2016, section 7).

    Example:
        >>> net, y = models.googlenet(classes=10), tg.input("label", 1, dtype="int32")
        >>> loss = models.auxiliary_loss(net(tg.input("x", 1, 3, 224, 224), training=True), y)
    """
    several = (outputs,) if isinstance(outputs, Node) else outputs
    main, *others = (nn.cross_entropy(o, labels, label_smoothing=label_smoothing) for o in several)
    for loss in others:
        main = main + loss * weight
    return main


def from_imagenet(x: Node) -> Node:
    """Images normalized by ImageNet's mean and deviation to those normalized by 0.5 and 0.5.

    torchvision's checkpoints of GoogLeNet and Inception v3 want the latter.
    """
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scale, shift = deviation / 0.5, (mean - 0.5) / 0.5
    return x * constant(scale.reshape(3, 1, 1), x.dtype) + constant(shift.reshape(3, 1, 1), x.dtype)
