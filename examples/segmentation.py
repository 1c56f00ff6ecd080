"""A small U-Net finds discs in noise: skip connections, a Dice loss, joint flips of image and mask.

(Ronneberger et al., MICCAI 2015; the loss of Milletari et al., 3DV 2016.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import Batches, RandomFlip
from tinygraph.pictures import gallery, save
from tinygraph.train import fit

SIDE, CHANNELS = 32, (4, 8, 16)


class Double(nn.Module):
    """Two convolutions, each with batch normalization."""

    def __init__(self, inputs: int, outputs: int):
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        x = tg.relu(self.norm1(self.conv1(x)))
        return tg.relu(self.norm2(self.conv2(x)))


class UNet(nn.Module):
    def __init__(self) -> None:
        self.down = [Double(i, o) for i, o in zip((1, *CHANNELS), CHANNELS, strict=False)]
        self.up = [Double(i + o, o) for i, o in zip(CHANNELS[:0:-1], CHANNELS[-2::-1], strict=True)]
        self.larger, self.head = nn.Upsample(scale_factor=2), nn.Conv2d(CHANNELS[0], 1, 1)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = tg.max_pool2d(x, 2)
        x = self.down[-1](x)
        for block in self.up:
            x = block(tg.concat([skips.pop(), self.larger(x)], axis=1))
        return self.head(x)


def discs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with noise, and masks, float32 [n, 1, SIDE, SIDE]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centre, radius = rng.uniform(6, SIDE - 6, (2, n, 1, 1)), rng.uniform(3, 8, (n, 1, 1))
    masks = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.float32)[:, None]
    return (masks + rng.normal(0, 1, masks.shape)).astype(np.float32), masks


def iou(logits: np.ndarray, masks: np.ndarray) -> float:
    """Intersection over union of all pixels: a metric of one's own."""
    found, right = logits > 0, masks > 0.5
    return float((found & right).sum() / (found | right).sum())


def main(folder: Path = Path("pictures"), epochs: int = 6) -> dict[str, float]:
    nn.manual_seed(0)
    net = UNet()
    x, mask = (tg.input(name, None, 1, SIDE, SIDE) for name in ("image", "mask"))

    def dice(logits: tg.Node) -> tg.Node:
        p = tg.sigmoid(logits)
        return 1 - (2 * tg.sum(p * mask) + 1) / (tg.sum(p) + tg.sum(mask) + 1)

    loss = dice(net(x, training=True))
    updates = optim.Adam(5e-3).updates(loss, net.parameters())
    step = tg.compile([x, mask], [loss], updates=updates, name="train")
    check = tg.compile([x, mask], [dice(net(x)), net(x)], name="check")
    both = RandomFlip(arrays=(0, 1))
    batches, test = Batches(*discs(512, 0), batch_size=16, transform=both), discs(128, 1)
    history = fit(step, batches, epochs, validation=(check, test), metrics=[iou])

    logits = check(*test)[1]
    shown = []
    for image, mask, found in zip(test[0][:4, 0], test[1][:4, 0], logits[:4, 0] > 0, strict=True):
        shown += [("image", image / 4 + 0.4), ("mask", mask), ("found", found)]
    print(save(folder / "segmentation.svg", gallery(shown, 6, zoom=4)))
    return {"IoU": history["val_iou"][-1], "IoU of a threshold": iou(test[0] - 0.5, test[1])}


if __name__ == "__main__":
    main()
