"""DenseNet-121 and U-Net: networks that concatenate; DenseNet has torchvision's names."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import conv, conv_norm


class DenseLayer(nn.Module):
    """Normalization, ReLU, 1x1; normalization, ReLU, 3x3: 32 new channels (section 3)."""

    def __init__(self, inputs: int, growth: int):
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, 4 * growth, 1)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = conv(4 * growth, growth, 3, padding=1)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = self.conv1(ops.relu(self.norm1(x)))
        return self.conv2(ops.relu(self.norm2(x)))


class DenseBlock(nn.Module):
    """Each layer reads the outputs of all before it (figure 1)."""

    def __init__(self, inputs: int, layers: int, growth: int):
        for i in range(layers):
            setattr(self, f"denselayer{i + 1}", DenseLayer(inputs + i * growth, growth))

    def forward(self, x: Node, training: bool = False) -> Node:
        for _, layer in self.children():
            x = ops.concat([x, layer(x)], axis=1)
        return x


class DenseNet(nn.Module):
    """Images [N, 3, 224, 224] to logits (Huang et al., CVPR 2017, table 1)."""

    def __init__(self, depths: tuple[int, ...], classes: int = 1000, growth: int = 32):
        layers: dict[str, nn.Module] = {
            "conv0": conv(3, 2 * growth, 7, stride=2, padding=3),
            "norm0": nn.BatchNorm2d(2 * growth),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, 2, 1),
        }
        channels = 2 * growth
        for i, depth in enumerate(depths, 1):
            layers[f"denseblock{i}"] = DenseBlock(channels, depth, growth)
            channels += depth * growth
            if i < len(depths):
                layers[f"transition{i}"] = nn.Sequential(
                    norm=nn.BatchNorm2d(channels),
                    relu=nn.ReLU(),
                    conv=conv(channels, channels // 2, 1),
                    pool=nn.AvgPool2d(2),
                )
                channels //= 2
        self.features = nn.Sequential(**layers, norm5=nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(ops.mean(ops.relu(self.features(x)), (2, 3)))


class UNet(nn.Module):
    """Images [N, inputs, H, W] to a logit of each class for each pixel, H and W multiples of 16.

    Ronneberger et al., MICCAI 2015, figure 1, with convolutions that keep the size and batch
    normalization after each, as is usual today.

    Args:
        classes: logits of each pixel.
        inputs: channels of an image.
        width: channels of the first level; each of the four further levels has twice as many.
    """

    def __init__(self, classes: int = 2, inputs: int = 3, width: int = 64):
        widths = [width << i for i in range(5)]
        self.down = [self._double(i, o) for i, o in zip([inputs, *widths], widths, strict=False)]
        self.up = [nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[:-1]]
        self.merge = [self._double(2 * w, w) for w in widths[:-1]]
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def _double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            conv_norm(inputs, outputs, 3, nn.ReLU), conv_norm(outputs, outputs, 3, nn.ReLU)
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        skips: list[Node] = []
        for level in self.down:
            x = level(ops.max_pool2d(x, 2, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(ops.concat([skips.pop(), up(x)], axis=1))
        return self.head(x)


@numeric
def densenet121(classes: int = 1000) -> DenseNet:
    """DenseNet-121: images [N, 3, 224, 224] to logits; 7,978,856 parameters at 1,000 classes.

    Huang et al., CVPR 2017, table 1. Names of weights are torchvision's.

    Example:
        >>> models.densenet121(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return DenseNet((6, 12, 24, 16), classes)


@numeric
def unet(classes: int = 2, inputs: int = 3, width: int = 64) -> UNet:
    """U-Net: images [N, inputs, H, W] to logits [N, classes, H, W]; see ``UNet``.

    Args:
        classes, inputs: channels of the result and of the image.
        width: channels of the first level; each further one has twice as many.

    Example:
        >>> models.unet(width=8)(tg.zeros((1, 3, 64, 64))).shape
        (1, 2, 64, 64)
    """
    return UNet(classes, inputs, width)
