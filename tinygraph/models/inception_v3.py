"""Inception v3: factorized and asymmetric convolutions, with torchvision's names."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import ConvNorm, from_imagenet

WIDE, TALL = {"padding": (0, 3)}, {"padding": (3, 0)}  # of 1x7 and 7x1


class InceptionA(nn.Module):
    """35 x 35 maps; 5x5 as two 3x3 (Szegedy et al., CVPR 2016, figure 5)."""

    def __init__(self, inputs: int, pooled: int):
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(inputs, pooled, 1)

    def forward(self, x: Node, training: bool = False) -> Node:
        return _concat(
            _chain(x, training, self.branch1x1),
            _chain(x, training, self.branch5x5_1, self.branch5x5_2),
            _chain(x, training, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
            _chain(_mean3(x), training, self.branch_pool),
        )


class InceptionB(nn.Module):
    """35 x 35 to 17 x 17 (figure 10)."""

    def __init__(self, inputs: int):
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: Node, training: bool = False) -> Node:
        return _concat(
            _chain(x, training, self.branch3x3),
            _chain(x, training, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
            ops.max_pool2d(x, 3, 2),
        )


class InceptionC(nn.Module):
    """17 x 17 maps; 7x7 as 1x7 and 7x1 (figure 6)."""

    def __init__(self, inputs: int, middle: int):
        c = middle
        self.branch1x1 = ConvNorm(inputs, 192, 1)
        self.branch7x7_1 = ConvNorm(inputs, c, 1)
        self.branch7x7_2 = ConvNorm(c, c, (1, 7), **WIDE)
        self.branch7x7_3 = ConvNorm(c, 192, (7, 1), **TALL)
        self.branch7x7dbl_1 = ConvNorm(inputs, c, 1)
        self.branch7x7dbl_2 = ConvNorm(c, c, (7, 1), **TALL)
        self.branch7x7dbl_3 = ConvNorm(c, c, (1, 7), **WIDE)
        self.branch7x7dbl_4 = ConvNorm(c, c, (7, 1), **TALL)
        self.branch7x7dbl_5 = ConvNorm(c, 192, (1, 7), **WIDE)
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Node, training: bool = False) -> Node:
        twice = [getattr(self, f"branch7x7dbl_{i}") for i in range(1, 6)]
        return _concat(
            _chain(x, training, self.branch1x1),
            _chain(x, training, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3),
            _chain(x, training, *twice),
            _chain(_mean3(x), training, self.branch_pool),
        )


class InceptionD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, inputs: int):
        self.branch3x3_1 = ConvNorm(inputs, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(inputs, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), **WIDE)
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), **TALL)
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: Node, training: bool = False) -> Node:
        factored = [getattr(self, f"branch7x7x3_{i}") for i in range(1, 5)]
        return _concat(
            _chain(x, training, self.branch3x3_1, self.branch3x3_2),
            _chain(x, training, *factored),
            ops.max_pool2d(x, 3, 2),
        )


class InceptionE(nn.Module):
    """8 x 8 maps; 1x3 and 3x1 side by side (figure 7)."""

    def __init__(self, inputs: int):
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Node, training: bool = False) -> Node:
        once = _chain(x, training, self.branch3x3_1)
        twice = _chain(x, training, self.branch3x3dbl_1, self.branch3x3dbl_2)
        return _concat(
            _chain(x, training, self.branch1x1),
            _chain(once, training, self.branch3x3_2a),
            _chain(once, training, self.branch3x3_2b),
            _chain(twice, training, self.branch3x3dbl_3a),
            _chain(twice, training, self.branch3x3dbl_3b),
            _chain(_mean3(x), training, self.branch_pool),
        )


class AuxiliaryClassifier(nn.Module):
    """Batch-normalized logits from the last 17 x 17 maps (section 4)."""

    def __init__(self, inputs: int, classes: int):
        self.conv0 = ConvNorm(inputs, 128, 1)
        self.conv1 = ConvNorm(128, 768, 5, initial=nn.init.normal(0.01))
        self.fc = nn.Linear(768, classes, initial=nn.init.normal(0.001))

    def forward(self, x: Node, training: bool = False) -> Node:
        x = _chain(ops.avg_pool2d(x, 5, 3), training, self.conv0, self.conv1)
        return self.fc(ops.mean(x, (2, 3)))


class InceptionV3(nn.Module):
    """Images [N, 3, 299, 299] to logits (Szegedy et al., Rethinking Inception, CVPR 2016).

    In training it returns (logits, logits of the auxiliary classifier).

    Args:
        classes: how many logits.
        auxiliary: whether there is an auxiliary classifier.
        transform_input: take images normalized as for ImageNet, which torchvision's weights want.
    """

    def __init__(self, classes: int = 1000, auxiliary: bool = True, transform_input: bool = False):
        self.transform_input = transform_input
        trunk: dict[str, nn.Module] = {
            "Conv2d_1a_3x3": ConvNorm(3, 32, 3, stride=2),
            "Conv2d_2a_3x3": ConvNorm(32, 32, 3),
            "Conv2d_2b_3x3": ConvNorm(32, 64, 3, padding=1),
            "maxpool1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": ConvNorm(64, 80, 1),
            "Conv2d_4a_3x3": ConvNorm(80, 192, 3),
            "maxpool2": nn.MaxPool2d(3, 2),
            "Mixed_5b": InceptionA(192, 32),
            "Mixed_5c": InceptionA(256, 64),
            "Mixed_5d": InceptionA(288, 64),
            "Mixed_6a": InceptionB(288),
            "Mixed_6b": InceptionC(768, 128),
            "Mixed_6c": InceptionC(768, 160),
            "Mixed_6d": InceptionC(768, 160),
            "Mixed_6e": InceptionC(768, 192),
            "Mixed_7a": InceptionD(768),
            "Mixed_7b": InceptionE(1280),
            "Mixed_7c": InceptionE(2048),
        }
        for name, layer in trunk.items():
            setattr(self, name, layer)
        self.trunk = tuple(trunk)
        self.AuxLogits = AuxiliaryClassifier(768, classes) if auxiliary else None
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, classes, initial=nn.init.normal(0.1))

    def forward(self, x: Node, training: bool = False) -> Node | tuple[Node, Node]:
        if self.transform_input:
            x = from_imagenet(x)
        others = []
        for name in self.trunk:
            x = getattr(self, name)(x, training=training)
            if name == "Mixed_6e" and training and self.AuxLogits is not None:
                others.append(self.AuxLogits(x, training=training))
        logits = self.fc(self.dropout(ops.mean(x, (2, 3)), training=training))
        return (logits, *others) if others else logits


def _chain(x: Node, training: bool, *layers: ConvNorm) -> Node:
    for layer in layers:
        x = layer(x, training=training)
    return x


def _concat(*branches: Node) -> Node:
    return ops.concat(branches, axis=1)


def _mean3(x: Node) -> Node:
    """Means of 3x3 windows at every pixel; padded zeros count."""
    return ops.avg_pool2d(x, 3, 1, 1)


@numeric
def inception_v3(
    classes: int = 1000, auxiliary: bool = True, transform_input: bool = False
) -> InceptionV3:
    """Inception v3: 27,161,264 parameters, 23,834,568 without the auxiliary classifier.

    Szegedy et al., CVPR 2016, table 1. Images are [N, 3, 299, 299].

    Args:
        classes: how many logits.
        auxiliary: whether there is a second classifier, in training.
        transform_input: whether images come normalized as torchvision's do.

    Example:
        >>> net = models.inception_v3(classes=10)
    """
    return InceptionV3(classes, auxiliary, transform_input)
