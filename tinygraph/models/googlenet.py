"""GoogLeNet: nine Inception modules, two auxiliary classifiers."""

from __future__ import annotations

from .. import nn, ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .blocks import ConvNorm, ConvReLU, from_imagenet

Block = type[ConvReLU] | type[ConvNorm]

# inputs, 1x1, reduction before 3x3, 3x3, reduction before 5x5, 5x5, projection after pooling
# (table 1 of the paper)
MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
VARIANTS = ("paper", "batch_norm", "torchvision")


class Inception(nn.Module):
    """Four branches over one input, concatenated: 1x1, 3x3, 5x5 and pooling (figure 2b)."""

    def __init__(self, block: Block, kernel_size: int, inputs: int, *sizes: int):
        ones, reduce3, threes, reduce5, fives, pooled = sizes
        self.branch1 = block(inputs, ones, 1)
        self.branch2 = nn.Sequential(
            block(inputs, reduce3, 1), block(reduce3, threes, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            block(inputs, reduce5, 1),
            block(reduce5, fives, kernel_size, padding=kernel_size // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True), block(inputs, pooled, 1)
        )

    def forward(self, x: Node, training: bool = False) -> Node:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return ops.concat([branch(x, training=training) for branch in branches], axis=1)


class AuxiliaryClassifier(nn.Module):
    """Logits from the middle of the network, for a gradient to the layers below (section 5)."""

    def __init__(self, block: Block, inputs: int, classes: int, windows: bool):
        self.conv = block(inputs, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)
        self.windows = windows

    def forward(self, x: Node, training: bool = False) -> Node:
        if self.windows and x.shape[2:] == (14, 14):
            x = ops.avg_pool2d(x, 5, 3)
        else:  # other image sizes, and torchvision: any maps to the 4 x 4 that fc1 wants
            x = ops.adaptive_avg_pool2d(x, 4)
        x = ops.flatten(self.conv(x, training=training))
        return self.fc2(self.dropout(ops.relu(self.fc1(x)), training=training))


class GoogLeNet(nn.Module):
    """Images [N, 3, 224, 224] to logits (Szegedy et al., CVPR 2015).

    In training it returns (logits, logits of the first auxiliary classifier, of the second).

    Args:
        variant: ``paper`` has biases and local response normalization; ``batch_norm`` batch
            normalization after every convolution instead; ``torchvision`` that, a 3x3 kernel where
            the paper has 5x5, and torchvision's names.
        classes: how many logits.
        auxiliary: whether there are auxiliary classifiers.
        transform_input: take images normalized as for ImageNet, which torchvision's weights want.
    """

    def __init__(
        self,
        variant: str = "paper",
        classes: int = 1000,
        auxiliary: bool = True,
        transform_input: bool = False,
    ):
        if variant not in VARIANTS:
            raise ValueError(f"variant is one of {', '.join(VARIANTS)}, got {variant!r}")
        torchvision = variant == "torchvision"
        block: Block = ConvReLU if variant == "paper" else ConvNorm
        self.transform_input = transform_input
        self.conv1 = block(3, 64, 7, stride=2, padding=3)
        self.conv2 = block(64, 64, 1)
        self.conv3 = block(64, 192, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.last_pool = nn.MaxPool2d(2 if torchvision else 3, 2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5) if variant == "paper" else nn.Identity()
        for name, sizes in MODULES.items():
            setattr(self, f"inception{name}", Inception(block, 3 if torchvision else 5, *sizes))
        heads = {"4a": "aux1", "4d": "aux2"} if auxiliary else {}
        for name, head in heads.items():
            inputs = sum(MODULES[name][i] for i in (1, 3, 5, 6))
            setattr(self, head, AuxiliaryClassifier(block, inputs, classes, not torchvision))
        self.heads = heads
        self.dropout = nn.Dropout(0.2 if torchvision else 0.4)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Node, training: bool = False) -> Node | tuple[Node, ...]:
        if self.transform_input:
            x = from_imagenet(x)
        x = self.norm(self.pool(self.conv1(x, training=training)))
        x = self.conv3(self.conv2(x, training=training), training=training)
        x = self.pool(self.norm(x))
        others = []
        for name in MODULES:
            x = getattr(self, f"inception{name}")(x, training=training)
            if training and name in self.heads:
                others.append(getattr(self, self.heads[name])(x, training=training))
            if name == "3b":
                x = self.pool(x)
            elif name == "4e":
                x = self.last_pool(x)
        logits = self.fc(self.dropout(ops.mean(x, (2, 3)), training=training))
        return (logits, *others) if others else logits


@numeric
def googlenet(
    variant: str = "paper",
    classes: int = 1000,
    auxiliary: bool = True,
    transform_input: bool = False,
) -> GoogLeNet:
    """GoogLeNet: images [N, 3, 224, 224] to logits [N, classes]; see the class for its variants.

    In training with ``auxiliary`` a tuple: also the logits of two more classifiers. Without them
    it has 6,998,552 parameters (the paper says 6.8 million), torchvision's variant 6,624,904.

    Args:
        variant: ``paper`` (Szegedy et al., CVPR 2015, table 1) or ``torchvision``.
        classes: how many logits.
        transform_input: whether images come normalized as torchvision's do.

    Raises:
        ValueError: an unknown variant.

    Example:
        >>> models.googlenet(classes=10)(tg.zeros((1, 3, 224, 224))).shape
        (1, 10)
    """
    return GoogLeNet(variant, classes, auxiliary, transform_input)
