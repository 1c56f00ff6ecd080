"""What several networks share: convolution blocks, auxiliary losses, the ImageNet input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..graph.ir import Node
from ..graph.op import constant


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
