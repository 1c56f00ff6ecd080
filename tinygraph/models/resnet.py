"""ResNet-18 to -152 and ResNeXt-50, with torchvision's names."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import conv


class _Block(nn.Module):
    """A branch and the input added to it, projected by a 1x1 convolution where shapes differ."""

    expansion: int  # output channels of a block of width 1

    def __init__(self, inputs: int, width: int, stride: int):
        outputs = self.expansion * width
        self.downsample = (
            nn.Sequential(conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )


class BasicBlock(_Block):
    """3x3, 3x3 and the input added (He et al., CVPR 2016, figure 2)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, groups: int = 1, base: int = 64):
        if (groups, base) != (1, 64):
            raise ValueError(f"a basic block has one group of width 64, got {groups} of {base}")
        self.conv1 = conv(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        super().__init__(inputs, width, stride)

    def forward(self, x: Node, training: bool = False) -> Node:
        shortcut = self.downsample(x)
        x = ops.relu(self.bn1(self.conv1(x)))
        return ops.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(_Block):
    """1x1, 3x3, 1x1 and the input added (He et al., CVPR 2016, figure 5).

    The stride is the 3x3 convolution's, as in torchvision (ResNet v1.5), not the first one's.
    ResNeXt's has ``groups`` of ``base`` / 64 times the width (Xie et al., CVPR 2017, figure 3c).
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, groups: int = 1, base: int = 64):
        inner, outputs = width * base // 64 * groups, 4 * width
        self.conv1 = conv(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride=stride, padding=1, groups=groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        super().__init__(inputs, width, stride)

    def forward(self, x: Node, training: bool = False) -> Node:
        shortcut = self.downsample(x)
        x = ops.relu(self.bn1(self.conv1(x)))
        x = ops.relu(self.bn2(self.conv2(x)))
        return ops.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Images [N, 3, 224, 224] to logits.

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        depths: how many blocks each stage has.
        classes: how many logits.
        groups, base: of a bottleneck's 3x3 convolutions.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        classes: int = 1000,
        groups: int = 1,
        base: int = 64,
    ):
        self.conv1 = conv(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(block(inputs, 64 << i, 2 if i and not j else 1, groups, base))
                inputs = block.expansion * (64 << i)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = self.maxpool(ops.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(ops.mean(x, (2, 3)))


@numeric
def resnet18(classes: int = 1000) -> ResNet:
    """ResNet-18: images [N, 3, 224, 224] to logits [N, classes]; 11,689,512 parameters at 1,000.

    He et al., CVPR 2016, table 1. Names of weights are torchvision's, as those of all ResNets.

    Example:
        >>> models.resnet18(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), classes)


@numeric
def resnet34(classes: int = 1000) -> ResNet:
    """ResNet-34: images [N, 3, 224, 224] to logits [N, classes]; 21,797,672 parameters at 1,000.

    Example:
        >>> net = models.resnet34(classes=10)
    """
    return ResNet(BasicBlock, (3, 4, 6, 3), classes)


@numeric
def resnet50(classes: int = 1000) -> ResNet:
    """ResNet-50: images [N, 3, 224, 224] to logits [N, classes]; 25,557,032 parameters at 1,000.

    Example:
        >>> net = models.resnet50(classes=10)
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), classes)


@numeric
def resnet101(classes: int = 1000) -> ResNet:
    """ResNet-101: images [N, 3, 224, 224] to logits; 44,549,160 parameters at 1,000 classes.

    Example:
        >>> net = models.resnet101(classes=10)
    """
    return ResNet(Bottleneck, (3, 4, 23, 3), classes)


@numeric
def resnet152(classes: int = 1000) -> ResNet:
    """ResNet-152: images [N, 3, 224, 224] to logits; 60,192,808 parameters at 1,000 classes.

    Example:
        >>> net = models.resnet152(classes=10)
    """
    return ResNet(Bottleneck, (3, 8, 36, 3), classes)


@numeric
def resnext50(classes: int = 1000) -> ResNet:
    """ResNeXt-50 32x4d: images [N, 3, 224, 224] to logits; 25,028,904 parameters at 1,000.

    Xie et al., CVPR 2017, table 1.

    Example:
        >>> net = models.resnext50(classes=10)
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, groups=32, base=4)
