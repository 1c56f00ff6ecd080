"""MobileNetV2, EfficientNet-B0, ShuffleNetV2; stochastic depth is left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(i: int, o: int, k: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False)


def unit(i: int, o: int, k: int, act, stride: int = 1, groups: int = 1) -> nn.Sequential:
    parts = [conv(i, o, k, stride, groups), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([act()] if act else []))


class InvertedResidual(nn.Module):
    def __init__(self, i: int, o: int, stride: int, t: int):
        super().__init__()
        parts = [] if t == 1 else [unit(i, t * i, 1, nn.ReLU6)]
        parts += [unit(t * i, t * i, 3, nn.ReLU6, stride, t * i), conv(t * i, o, 1)]
        self.conv = nn.Sequential(*parts, nn.BatchNorm2d(o))
        self.add = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + y if self.add else y


class MobileNetV2(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        parts: list[nn.Module] = [unit(3, 32, 3, nn.ReLU6, 2)]
        i = 32
        for t, c, n, s in (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1),
        ):  # fmt: skip
            for j in range(n):
                parts.append(InvertedResidual(i, c, 1 if j else s, t))
                i = c
        self.features = nn.Sequential(*parts, unit(320, 1280, 1, nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, few: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, few, 1), nn.Conv2d(few, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    def __init__(self, i: int, o: int, k: int, stride: int, t: int):
        super().__init__()
        parts = [] if t == 1 else [unit(i, t * i, 1, nn.SiLU)]
        parts += [unit(t * i, t * i, k, nn.SiLU, stride, t * i), SqueezeExcitation(t * i, i // 4)]
        self.block = nn.Sequential(*parts, unit(t * i, o, 1, None))
        self.add = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + y if self.add else y


class EfficientNet(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        stages: list[nn.Module] = [unit(3, 32, 3, nn.SiLU, 2)]
        i = 32
        for t, k, s, c, n in (
            (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
        ):  # fmt: skip
            blocks = []
            for j in range(n):
                blocks.append(MBConv(i, c, k, 1 if j else s, t))
                i = c
            stages.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*stages, unit(320, 1280, 1, nn.SiLU))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class ShuffleUnit(nn.Module):
    def __init__(self, i: int, o: int, stride: int):
        super().__init__()
        half, self.stride = o // 2, stride
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                conv(i, i, 3, 2, i), nn.BatchNorm2d(i), *unit(i, half, 1, nn.ReLU)
            )
        self.branch2 = nn.Sequential(
            *unit(i if stride == 2 else half, half, 1, nn.ReLU),
            conv(half, half, 3, stride, half), nn.BatchNorm2d(half), *unit(half, half, 1, nn.ReLU),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1) if self.stride == 1 else (x, x)
        y = torch.cat([self.branch1(first), self.branch2(second)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNetV2(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        self.conv1, i = unit(3, 24, 3, nn.ReLU, 2), 24
        for name, o, n in (("stage2", 116, 4), ("stage3", 232, 8), ("stage4", 464, 4)):
            units = [ShuffleUnit(o if j else i, o, 1 if j else 2) for j in range(n)]
            setattr(self, name, nn.Sequential(*units))
            i = o
        self.conv5, self.fc = unit(464, 1024, 1, nn.ReLU), nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        return self.fc(self.conv5(self.stage4(self.stage3(self.stage2(x)))).mean((2, 3)))
