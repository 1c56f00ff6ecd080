"""The networks of tinygraph.models once more, in PyTorch: same names, so that weights load by name.

Written independently of tinygraph: comparing outputs compares two readings of the papers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LeNet5(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class AlexNet(nn.Module):
    """The original of 2012."""

    def __init__(self, classes: int = 1000, hidden: int = 4096):
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(3, 96, 11, 4),
                "conv2": nn.Conv2d(96, 256, 5, padding=2, groups=2),
                "conv3": nn.Conv2d(256, 384, 3, padding=1),
                "conv4": nn.Conv2d(384, 384, 3, padding=1, groups=2),
                "conv5": nn.Conv2d(384, 256, 3, padding=1, groups=2),
            }
        )
        self.classifier = nn.ModuleDict(
            {
                "fc6": nn.Linear(9216, hidden),
                "fc7": nn.Linear(hidden, hidden),
                "fc8": nn.Linear(hidden, classes),
            }
        )
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        for name, conv in self.features.items():
            x = F.relu(conv(x))
            if name in ("conv1", "conv2"):
                x = F.local_response_norm(x, 5, 5e-4, 0.75, 2.0)
            if name in ("conv1", "conv2", "conv5"):
                x = F.max_pool2d(x, 3, 2)
        x = self.dropout(F.relu(self.classifier["fc6"](x.flatten(1))))
        x = self.dropout(F.relu(self.classifier["fc7"](x)))
        return self.classifier["fc8"](x)


class TorchvisionAlexNet(nn.Module):
    def __init__(self, classes: int = 1000, hidden: int = 4096):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(9216, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class RNN(nn.Module):
    """Sequences [N, L, inputs] to classes, by the last step."""

    kind: type[nn.Module] = nn.RNN

    def __init__(self, inputs: int, hidden: int, classes: int):
        super().__init__()
        self.layer = self.kind(inputs, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(x)
        return self.fc(y[:, -1])


class LSTM(RNN):
    kind = nn.LSTM


class CharLanguageModel(nn.Module):
    def __init__(self, symbols: int, hidden: int, layers: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(symbols, size)
        self.lstm = nn.LSTM(size, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        y, _ = self.lstm(self.embedding(tokens))
        return self.head(y)


class LanguageModel(CharLanguageModel):
    """Texts [N, L] to the logits [N L, symbols] of each next symbol."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).flatten(0, 1)


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel_size, **options):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class ConvReLU(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel_size, **options):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, **options)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x), inplace=True)


class Inception(nn.Module):
    def __init__(self, block, k: int, i: int, c1: int, r3: int, c3: int, r5: int, c5: int, p: int):
        super().__init__()
        self.branch1 = block(i, c1, 1)
        self.branch2 = nn.Sequential(block(i, r3, 1), block(r3, c3, 3, padding=1))
        self.branch3 = nn.Sequential(block(i, r5, 1), block(r5, c5, k, padding=k // 2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), block(i, p, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    def __init__(self, block, inputs: int, classes: int):
        super().__init__()
        self.conv = block(inputs, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor, windows: bool) -> Tensor:
        fits = windows and x.shape[-1] == 14
        x = F.avg_pool2d(x, 5, 3) if fits else F.adaptive_avg_pool2d(x, 4)
        return self.fc2(self.dropout(F.relu(self.fc1(self.conv(x).flatten(1)))))


class GoogLeNet(nn.Module):
    def __init__(self, variant: str = "paper", classes: int = 1000, auxiliary: bool = True):
        super().__init__()
        paper, vision = variant == "paper", variant == "torchvision"
        block = ConvReLU if paper else ConvNorm
        k, self.paper, self.vision = 3 if vision else 5, paper, vision
        self.conv1 = block(3, 64, 7, stride=2, padding=3)
        self.conv2 = block(64, 64, 1)
        self.conv3 = block(64, 192, 3, padding=1)
        self.inception3a = Inception(block, k, 192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(block, k, 256, 128, 128, 192, 32, 96, 64)
        self.inception4a = Inception(block, k, 480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(block, k, 512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(block, k, 512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(block, k, 512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(block, k, 528, 256, 160, 320, 32, 128, 128)
        self.inception5a = Inception(block, k, 832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(block, k, 832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(block, 512, classes) if auxiliary else None
        self.aux2 = InceptionAux(block, 528, classes) if auxiliary else None
        self.dropout = nn.Dropout(0.2 if vision else 0.4)
        self.fc = nn.Linear(1024, classes)

    def norm(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5) if self.paper else x

    def forward(self, x: Tensor):
        x = self.norm(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True))
        x = F.max_pool2d(self.norm(self.conv3(self.conv2(x))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.inception3b(self.inception3a(x)), 3, 2, ceil_mode=True)
        first = x = self.inception4a(x)
        second = x = self.inception4d(self.inception4c(self.inception4b(x)))
        x = F.max_pool2d(self.inception4e(x), 2 if self.vision else 3, 2, ceil_mode=True)
        x = self.inception5b(self.inception5a(x)).mean((2, 3))
        logits = self.fc(self.dropout(x))
        if not self.training or self.aux1 is None:
            return logits
        return logits, self.aux1(first, not self.vision), self.aux2(second, not self.vision)


class InceptionA(nn.Module):
    def __init__(self, i: int, pooled: int):
        super().__init__()
        self.branch1x1 = ConvNorm(i, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = ConvNorm(i, 48, 1), ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(i, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(i, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, pooled], 1)


class InceptionB(nn.Module):
    def __init__(self, i: int):
        super().__init__()
        self.branch3x3 = ConvNorm(i, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(i, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    def __init__(self, i: int, c: int):
        super().__init__()
        wide, tall = {"padding": (0, 3)}, {"padding": (3, 0)}
        self.branch1x1 = ConvNorm(i, 192, 1)
        self.branch7x7_1 = ConvNorm(i, c, 1)
        self.branch7x7_2 = ConvNorm(c, c, (1, 7), **wide)
        self.branch7x7_3 = ConvNorm(c, 192, (7, 1), **tall)
        self.branch7x7dbl_1 = ConvNorm(i, c, 1)
        self.branch7x7dbl_2 = ConvNorm(c, c, (7, 1), **tall)
        self.branch7x7dbl_3 = ConvNorm(c, c, (1, 7), **wide)
        self.branch7x7dbl_4 = ConvNorm(c, c, (7, 1), **tall)
        self.branch7x7dbl_5 = ConvNorm(c, 192, (1, 7), **wide)
        self.branch_pool = ConvNorm(i, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), single, double, pooled], 1)


class InceptionD(nn.Module):
    def __init__(self, i: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = ConvNorm(i, 192, 1), ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(i, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    def __init__(self, i: int):
        super().__init__()
        self.branch1x1 = ConvNorm(i, 320, 1)
        self.branch3x3_1 = ConvNorm(i, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(i, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(i, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        once = torch.cat([self.branch3x3_2a(once), self.branch3x3_2b(once)], 1)
        twice = torch.cat([self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)], 1)
        pooled = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), once, twice, pooled], 1)


class InceptionV3Aux(nn.Module):
    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.conv0, self.conv1 = ConvNorm(inputs, 128, 1), ConvNorm(128, 768, 5)
        self.fc = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class InceptionV3(nn.Module):
    def __init__(self, classes: int = 1000, auxiliary: bool = True):
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = ConvNorm(32, 32, 3), ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = ConvNorm(64, 80, 1), ConvNorm(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c = InceptionA(192, 32), InceptionA(256, 64)
        self.Mixed_5d, self.Mixed_6a = InceptionA(288, 64), InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(768, 128), InceptionC(768, 160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(768, 160), InceptionC(768, 192)
        self.AuxLogits = InceptionV3Aux(768, classes) if auxiliary else None
        self.Mixed_7a, self.Mixed_7b = InceptionD(768), InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor):
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2))), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        middle = x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        logits = self.fc(self.dropout(x))
        if not self.training or self.AuxLogits is None:
            return logits
        return logits, self.AuxLogits(middle)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or inputs != 4 * width:
            projection = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for i, depth in enumerate((3, 4, 6, 3)):
            width, blocks = 64 << i, []
            for j in range(depth):
                blocks.append(Bottleneck(inputs, width, 2 if i and not j else 1))
                inputs = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class TokenEmbedding(nn.Module):
    def __init__(self, symbols: int, length: int, size: int):
        super().__init__()
        self.symbols, self.positions = nn.Embedding(symbols, size), nn.Embedding(length, size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.symbols(tokens) + self.positions.weight[: tokens.shape[1]]


class Encoder(nn.Module):
    def __init__(self, layers: int, size: int, heads: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, heads, 4 * size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=mask is not None)
        return self.norm(x)


class TransformerClassifier(nn.Module):
    def __init__(
        self, symbols: int, classes: int, length: int, size: int, layers: int, heads: int
    ):
        super().__init__()
        self.embedding = TokenEmbedding(symbols, length, size)
        self.encoder, self.fc = Encoder(layers, size, heads), nn.Linear(size, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc(self.encoder(self.embedding(tokens)).mean(1))


class TransformerLanguageModel(nn.Module):
    def __init__(self, symbols: int, length: int, size: int, layers: int, heads: int):
        super().__init__()
        self.embedding = TokenEmbedding(symbols, length, size)
        self.encoder, self.head = Encoder(layers, size, heads), nn.Linear(size, symbols, bias=False)
        self.head.weight = self.embedding.symbols.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.head(self.encoder(x, mask))
