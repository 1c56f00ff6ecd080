"""GoogLeNet and Inception v3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
