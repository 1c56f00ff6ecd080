"""VGG-16 and SqueezeNet 1.1: plain stacks of small convolutions, with torchvision's names."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import conv

# channels of 3x3 convolutions; 0 is a 2x2 max pooling (configuration D, table 1)
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)

# inputs, squeeze, expand (each of the two); None is a 3x3 max pooling
SQUEEZENET = (
    None, (64, 16, 64), (128, 16, 64), None, (128, 32, 128), (256, 32, 128), None,
    (256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256),
)  # fmt: skip


class VGG(nn.Module):
    """Images [N, 3, 224, 224] to logits (Simonyan and Zisserman, ICLR 2015, section 2)."""

    def __init__(self, classes: int = 1000, hidden: int = 4096):
        layers: list[nn.Module] = []
        inputs = 3
        for channels in VGG16:
            if channels:
                layers += [conv(inputs, channels, 3, bias=True, padding=1), nn.ReLU()]
                inputs = channels
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 49, hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(ops.flatten(self.avgpool(self.features(x))))


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 one beside each other (figure 1)."""

    def __init__(self, inputs: int, squeeze: int, expand: int):
        self.squeeze = conv(inputs, squeeze, 1, bias=True)
        self.expand1x1 = conv(squeeze, expand, 1, bias=True)
        self.expand3x3 = conv(squeeze, expand, 3, bias=True, padding=1)

    def forward(self, x: Node, training: bool = False) -> Node:
        x = ops.relu(self.squeeze(x))
        return ops.concat([ops.relu(self.expand1x1(x)), ops.relu(self.expand3x3(x))], axis=1)


class SqueezeNet(nn.Module):
    """Images [N, 3, 224, 224] to logits (Iandola et al., 2016, arXiv 1602.07360), version 1.1."""

    def __init__(self, classes: int = 1000):
        layers = [Fire(*f) if f else nn.MaxPool2d(3, 2, ceil_mode=True) for f in SQUEEZENET]
        self.features = nn.Sequential(conv(3, 64, 3, bias=True, stride=2), nn.ReLU(), *layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), conv(512, classes, 1, bias=True), nn.ReLU(), nn.GlobalAvgPool()
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        return self.classifier(self.features(x))


@numeric
def vgg16(classes: int = 1000, hidden: int = 4096) -> VGG:
    """VGG-16: images [N, 3, 224, 224] to logits [N, classes]; 138,357,544 parameters at 1,000.

    ``hidden`` is the size of the two hidden layers of the classifier.

    Simonyan and Zisserman, ICLR 2015, table 1, D.

    Example:
        >>> net = models.vgg16(classes=10, hidden=256)
    """
    return VGG(classes, hidden)


@numeric
def squeezenet(classes: int = 1000) -> SqueezeNet:
    """SqueezeNet 1.1: images [N, 3, 224, 224] to logits; 1,235,496 parameters at 1,000.

    Iandola et al., 2016, with the smaller first layers of its version 1.1.

    Example:
        >>> models.squeezenet(classes=10)(tg.zeros((1, 3, 64, 64))).shape
        (1, 10)
    """
    return SqueezeNet(classes)
