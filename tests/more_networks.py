"""Networks that tinygraph.models does not have: MobileNetV2 and U-Net."""

from __future__ import annotations

import tinygraph as tg
from tinygraph import nn
from tinygraph.graph.ir import Node


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch normalization, and ReLU6 where it is wanted."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1,
        relu: bool = True,
    ):  # fmt: skip
        options = {"stride": stride, "padding": size // 2, "groups": groups, "bias": False}
        super().__init__(nn.Conv2d(inputs, outputs, size, **options), nn.BatchNorm2d(outputs))
        self.relu = relu

    def forward(self, x: Node, training: bool = False) -> Node:
        x = super().forward(x, training=training)
        return tg.clip(x, 0.0, 6.0) if self.relu else x


class InvertedResidual(nn.Module):
    """1x1 to a wider image, depthwise 3x3, 1x1 to a narrow one, and the input added."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        wide = inputs * expansion
        blocks = [ConvNorm(inputs, wide, 1)] if expansion > 1 else []
        blocks += [ConvNorm(wide, wide, 3, stride, groups=wide)]
        self.conv = nn.Sequential(*blocks, ConvNorm(wide, outputs, 1, relu=False))
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Node, training: bool = False) -> Node:
        y = self.conv(x, training=training)
        return x + y if self.added else y


class MobileNetV2(nn.Module):
    """Images [N, 3, 224, 224] to logits (Sandler et al., CVPR 2018, table 2)."""

    STAGES = (  # expansion, channels, blocks, stride of the first
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )  # fmt: skip

    def __init__(self, classes: int = 1000):
        blocks: list[nn.Module] = [ConvNorm(3, 32, stride=2)]
        inputs = 32
        for expansion, channels, count, stride in self.STAGES:
            for i in range(count):
                blocks.append(InvertedResidual(inputs, channels, 1 if i else stride, expansion))
                inputs = channels
        self.features = nn.Sequential(*blocks, ConvNorm(inputs, 1280, 1))
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = tg.mean(self.features(x, training=training), (2, 3))
        return self.fc(self.dropout(x, training=training))


class Double(nn.Sequential):
    """Twice a convolution 3x3, batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip


class UNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes, H, W] (Ronneberger et al., MICCAI 2015).

    Args:
        channels: of each resolution, the highest first.
        transposed: whether transposed convolutions go up, or the nearest neighbours and 1x1.
    """

    def __init__(
        self,
        inputs: int = 3,
        classes: int = 1,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        transposed: bool = True,
    ):
        self.transposed = transposed
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.down = [
            Double(i, o) for i, o in zip((inputs, *channels), channels, strict=False)
        ]
        self.up = [
            nn.ConvTranspose2d(a, b, 2, stride=2) if transposed else nn.Conv2d(a, b, 1)
            for a, b in pairs
        ]
        self.merge = [Double(2 * b, b) for _, b in pairs]
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: Node, training: bool = False) -> Node:
        skips: list[Node] = []
        for block in self.down:
            x = block(tg.max_pool2d(x, 2) if skips else x, training=training)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x if self.transposed else nearest(x))
            x = merge(tg.concat([skips.pop(), x], axis=1), training=training)
        return self.head(x)


def nearest(x: Node) -> Node:
    """Twice the height and width."""
    n, c, h, w = x.shape
    wide = tg.broadcast_to(tg.reshape(x, n, c, h, 1, w, 1), (n, c, h, 2, w, 2))
    return tg.reshape(wide, n, c, 2 * h, 2 * w)
