"""ResNet-50, with torchvision's names."""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from ..graph.ir import Node


def _conv(inputs: int, outputs: int, kernel_size: int, **options: Any) -> nn.Conv2d:
    initial = nn.init.he(fan="out")
    return nn.Conv2d(inputs, outputs, kernel_size, bias=False, initial=initial, **options)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and the input added (He et al., CVPR 2016, figure 5).

    The stride is the 3x3 convolution's, as in torchvision (ResNet v1.5), not the first one's.
    """

    def __init__(self, inputs: int, width: int, stride: int):
        outputs = 4 * width
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(_conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        shortcut = self.downsample(x, training=training)
        x = ops.relu(self.bn1(self.conv1(x), training=training))
        x = ops.relu(self.bn2(self.conv2(x), training=training))
        return ops.relu(self.bn3(self.conv3(x), training=training) + shortcut)


class ResNet(nn.Module):
    """Images [N, 3, 224, 224] to logits; ``depths`` says how many blocks each stage has."""

    def __init__(self, depths: tuple[int, ...], classes: int = 1000):
        self.conv1 = _conv(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, depth in enumerate(depths):
            width = 64 << i
            blocks = [Bottleneck(inputs, width, stride=2 if i else 1)]
            blocks += [Bottleneck(4 * width, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = 4 * width
        self.stages = len(depths)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = self.maxpool(ops.relu(self.bn1(self.conv1(x), training=training)))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x, training=training)
        return self.fc(ops.mean(x, (2, 3)))


def resnet50(classes: int = 1000) -> ResNet:
    """ResNet-50: images [N, 3, 224, 224] to logits [N, classes]; 25,557,032 parameters at 1,000."""
    return ResNet((3, 4, 6, 3), classes)
