"""AlexNet: the original in two groups, and torchvision's."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..nn.drawn import drawn


def _conv(inputs: int, outputs: int, kernel_size: int, bias: float, **options: Any) -> nn.Conv2d:
    """A convolution with the original's initial values (section 5)."""
    layer = nn.Conv2d(inputs, outputs, kernel_size, initial=nn.init.normal(0.01), **options)
    layer.bias = drawn((outputs,), nn.init.constant(bias))
    return layer


def _linear(inputs: int, outputs: int, bias: float) -> nn.Linear:
    """A linear layer with the original's initial values (section 5)."""
    layer = nn.Linear(inputs, outputs, initial=nn.init.normal(0.01))
    layer.bias = drawn((outputs,), nn.init.constant(bias))
    return layer


def _norm() -> nn.LocalResponseNorm:
    """k = 2, n = 5, alpha = 1e-4, beta = 0.75; the layer divides alpha by n, the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """Images [N, 3, 227, 227] to logits (Krizhevsky et al., NIPS 2012, section 3.5).

    The second, fourth and fifth convolution see the half of the channels that their GPU held:
    they have two groups. The paper says 224 pixels, its 55 x 55 maps need 227.
    """

    def __init__(self, classes: int = 1000, hidden: int = 4096):
        self.features = nn.Sequential(
            conv1=_conv(3, 96, 11, 0, stride=4),
            relu1=nn.ReLU(),
            norm1=_norm(),
            pool1=nn.MaxPool2d(3, 2),
            conv2=_conv(96, 256, 5, 1, padding=2, groups=2),
            relu2=nn.ReLU(),
            norm2=_norm(),
            pool2=nn.MaxPool2d(3, 2),
            conv3=_conv(256, 384, 3, 0, padding=1),
            relu3=nn.ReLU(),
            conv4=_conv(384, 384, 3, 1, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=_conv(384, 256, 3, 1, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            flatten=nn.Flatten(),
            fc6=_linear(9216, hidden, 1),
            relu6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=_linear(hidden, hidden, 1),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            fc8=_linear(hidden, classes, 0),
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(self.features(x, training=training), training=training)


class TorchvisionAlexNet(nn.Module):
    """Images [N, 3, 224, 224] to logits: one tower, no normalization, torchvision's names.

    (Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.)
    """

    def __init__(self, classes: int = 1000, hidden: int = 4096):
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(9216, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        x = self.flatten(self.avgpool(self.features(x, training=training)))
        return self.classifier(x, training=training)


@numeric
def alexnet(variant: str = "original", classes: int = 1000, hidden: int = 4096) -> nn.Module:
    """AlexNet: ``original`` (60,965,224 parameters) or ``torchvision`` (61,100,840).

    ``hidden`` is the size of the two hidden fully connected layers.

    Krizhevsky et al., NIPS 2012, section 3.

    Args:
        variant: the paper's with two halves, or torchvision's.
        classes: how many logits.

    Raises:
        ValueError: an unknown variant.

    Example:
        >>> models.alexnet(classes=10)(tg.zeros((1, 3, 227, 227))).shape
        (1, 10)
    """
    variants = {"original": AlexNet, "torchvision": TorchvisionAlexNet}
    if variant not in variants:
        raise ValueError(f"variant is one of {', '.join(variants)}, got {variant!r}")
    return variants[variant](classes, hidden)
