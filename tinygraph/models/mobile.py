"""MobileNetV2, EfficientNet-B0, ShuffleNetV2: depthwise convolutions, torchvision's names."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import StochasticDepth, conv, conv_norm

# expansion, channels, blocks, stride of the first (table 2 of the paper)
MOBILENET = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip

# expansion, kernel, stride, channels, blocks (table 1 of the paper)
EFFICIENTNET = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip

# channels, blocks of stages 2, 3 and 4 (table 5 of the paper, 1x)
SHUFFLENET = ((116, 4), (232, 8), (464, 4))


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise 3x3, 1x1 to few, the input added (figure 3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        wide = inputs * expansion
        self.conv = nn.Sequential(
            *([conv_norm(inputs, wide, 1, nn.ReLU6)] if expansion > 1 else []),
            conv_norm(wide, wide, 3, nn.ReLU6, stride, groups=wide),
            conv(wide, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Node, training: bool = False) -> Node:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Images [N, 3, 224, 224] to logits (Sandler et al., CVPR 2018, section 4)."""

    def __init__(self, classes: int = 1000):
        layers: list[nn.Module] = [conv_norm(3, 32, 3, nn.ReLU6, stride=2)]
        inputs = 32
        for expansion, channels, blocks, stride in MOBILENET:
            for i in range(blocks):
                step = stride if i == 0 else 1
                layers.append(InvertedResidual(inputs, channels, step, expansion))
                inputs = channels
        self.features = nn.Sequential(*layers, conv_norm(inputs, 1280, 1, nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(ops.mean(self.features(x), (2, 3)))


class SqueezeExcitation(nn.Module):
    """Each channel scaled by a function of all channels' means (Hu et al., CVPR 2018, figure 3)."""

    def __init__(self, channels: int, squeeze: int):
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Node, training: bool = False) -> Node:
        means = ops.mean(x, (2, 3), keepdims=True)
        return x * ops.sigmoid(self.fc2(ops.silu(self.fc1(means))))


class MBConv(nn.Module):
    """An inverted residual with squeeze and excitation (Tan and Le, ICML 2019, section 4)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, drop: float
    ):
        wide = inputs * expansion
        self.block = nn.Sequential(
            *([conv_norm(inputs, wide, 1, nn.SiLU)] if expansion > 1 else []),
            conv_norm(wide, wide, kernel, nn.SiLU, stride, groups=wide),
            SqueezeExcitation(wide, max(1, inputs // 4)),
            conv_norm(wide, outputs, 1, None),
        )
        self.stochastic_depth = StochasticDepth(drop)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Node, training: bool = False) -> Node:
        return x + self.stochastic_depth(self.block(x)) if self.residual else self.block(x)


class EfficientNet(nn.Module):
    """Images [N, 3, 224, 224] to logits (Tan and Le, ICML 2019, table 1): B0.

    Args:
        classes: how many logits.
        stochastic_depth: the probability that the last block is left out in training; that of
            earlier ones grows from 0 to it.
    """

    def __init__(self, classes: int = 1000, stochastic_depth: float = 0.2):
        stages: list[nn.Module] = [conv_norm(3, 32, 3, nn.SiLU, stride=2)]
        inputs, done, total = 32, 0, sum(stage[-1] for stage in EFFICIENTNET)
        for expansion, kernel, stride, channels, blocks in EFFICIENTNET:
            stage = []
            for i in range(blocks):
                step, drop = stride if i == 0 else 1, stochastic_depth * done / total
                stage.append(MBConv(inputs, channels, kernel, step, expansion, drop))
                inputs, done = channels, done + 1
            stages.append(nn.Sequential(*stage))
        self.features = nn.Sequential(*stages, conv_norm(inputs, 1280, 1, nn.SiLU))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(ops.mean(self.features(x), (2, 3)))


class ShuffleUnit(nn.Module):
    """Two branches whose channels alternate after it (Ma et al., ECCV 2018, figure 3c and d).

    With stride 1 the first branch is half of the channels as they are, with stride 2 both see all.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        half, seen = outputs // 2, inputs if stride > 1 else outputs // 2
        self.branch1 = (
            nn.Sequential(
                conv(inputs, inputs, 3, stride=stride, padding=1, groups=inputs),
                nn.BatchNorm2d(inputs),
                *conv_norm(inputs, half, 1, nn.ReLU),
            )
            if stride > 1
            else nn.Identity()
        )
        self.branch2 = nn.Sequential(
            *conv_norm(seen, half, 1, nn.ReLU),
            conv(half, half, 3, stride=stride, padding=1, groups=half),
            nn.BatchNorm2d(half),
            *conv_norm(half, half, 1, nn.ReLU),
        )
        self.stride = stride

    def forward(self, x: Node, training: bool = False) -> Node:
        first, second = (x, x) if self.stride > 1 else ops.split(x, 2, axis=1)
        y = ops.concat([self.branch1(first), self.branch2(second)], axis=1)
        n, channels, height, width = y.shape
        pairs = ops.reshape(y, (n, 2, channels // 2, height, width))
        return ops.reshape(ops.transpose(pairs, (0, 2, 1, 3, 4)), y.shape)


class ShuffleNetV2(nn.Module):
    """Images [N, 3, 224, 224] to logits (Ma et al., ECCV 2018, table 5)."""

    def __init__(self, classes: int = 1000):
        self.conv1 = conv_norm(3, 24, 3, nn.ReLU, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 24
        for i, (channels, blocks) in enumerate(SHUFFLENET):
            units = [ShuffleUnit(inputs, channels, 2)]
            units += [ShuffleUnit(channels, channels, 1) for _ in range(blocks - 1)]
            setattr(self, f"stage{i + 2}", nn.Sequential(*units))
            inputs = channels
        self.stages = len(SHUFFLENET)
        self.conv5 = conv_norm(inputs, 1024, 1, nn.ReLU)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = self.maxpool(self.conv1(x))
        for i in range(self.stages):
            x = getattr(self, f"stage{i + 2}")(x)
        return self.fc(ops.mean(self.conv5(x), (2, 3)))


@numeric
def mobilenet_v2(classes: int = 1000) -> MobileNetV2:
    """MobileNetV2: images [N, 3, 224, 224] to logits; 3,504,872 parameters at 1,000 classes.

    Sandler et al., CVPR 2018, table 2. Names of weights are torchvision's.

    Example:
        >>> models.mobilenet_v2(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return MobileNetV2(classes)


@numeric
def efficientnet_b0(classes: int = 1000) -> EfficientNet:
    """EfficientNet-B0: images [N, 3, 224, 224] to logits; 5,288,548 parameters at 1,000.

    Tan and Le, ICML 2019, table 1. Names of weights are torchvision's.

    Example:
        >>> models.efficientnet_b0(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return EfficientNet(classes)


@numeric
def shufflenet_v2(classes: int = 1000) -> ShuffleNetV2:
    """ShuffleNetV2 1x: images [N, 3, 224, 224] to logits; 2,278,604 parameters at 1,000.

    Ma et al., ECCV 2018, table 5. Names of weights are torchvision's.

    Example:
        >>> models.shufflenet_v2(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return ShuffleNetV2(classes)
