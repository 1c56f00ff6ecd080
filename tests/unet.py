"""U-Net, which tinygraph.models does not have."""

from __future__ import annotations

import tinygraph as tg
from tinygraph import nn
from tinygraph.graph.ir import Node


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
