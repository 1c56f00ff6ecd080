"""Pooling: four kinds side by side, and the invariance that each buys.

Max, mean, L2 and distance-weighted pooling of the outlines of digits: how bright outlines stay, and
how many values change when the picture moves by one pixel. Then an invariance that is learned: each
class has several filters and takes the maximum across them, so each filter can see one rotation
(Goodfellow et al., Deep Learning, 2016, figure 9.9). The same network with the mean instead of the
maximum, as large and trained alike, has no such choice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinygraph as tg
from pictures import FOLDER, save, tiles
from tinygraph import nn, optim
from tinygraph.data import Batches, RandomAffine, digits, warp
from tinygraph.train import evaluate, fit

POOLS = {
    "max": tg.max_pool2d,
    "mean": tg.avg_pool2d,
    "L2": tg.l2_pool2d,
    "distance-weighted": tg.center_weighted_pool2d,
}
ONES = {"L2": 3.0}  # what a 3x3 window of ones gives, if not 1
CLASSES, FILTERS, BATCH = 10, 8, 64
ANGLES = (-40, -20, 0, 20, 40)
Combine = Callable[..., tg.Node]


def outlines(picture: tg.Node) -> tg.Node:
    """Where brightness changes: the length of its gradient, by Sobel's filters."""
    slope = np.outer([1, 2, 1], [-1, 0, 1]) / 4
    edges = tg.conv2d(picture, tg.constant([[slope], [slope.T]], "float32"), padding=1)
    return tg.sqrt(tg.sum(edges**2, axis=1, keepdims=True))


def compare_pools(page: np.ndarray, folder: Path) -> dict[str, float]:
    """Pools the outlines of a page of digits [1, 1, height, width]."""
    x = tg.input("page", *page.shape)
    y = outlines(x)
    small = tg.compile([x], [y, *(pool(y, 3) for pool in POOLS.values())], name="small")
    dense = tg.compile([x], [y, *(pool(y, 3, stride=1) for pool in POOLS.values())], name="dense")
    outline, *pooled = [image[0, 0] for image in small(page)]
    enlarged = [image.repeat(3, 0).repeat(3, 1) for image in pooled]
    save(folder / "pooling.png", tiles([outline, *enlarged], columns=1, zoom=2))

    drawn = pooled[0] > 0.5  # windows with a piece of a clear outline
    found = {
        f"{name}: brightness that outlines keep": float(
            (image[drawn] / pooled[0][drawn]).mean() / ONES.get(name, 1)
        )
        for name, image in zip(POOLS, pooled, strict=True)
    }
    moved = np.roll(page, 1, axis=3)
    for name, old, new in zip(("before", *POOLS), dense(page), dense(moved), strict=True):
        changed = np.abs(new - old) > 0.1 * old.max()
        found[f"{name}: values that a move by one pixel changes"] = float(changed.mean())
    return found


def scores(x: tg.Node, w: tg.Node, b: tg.Node, combine: Combine) -> tg.Node:
    """Pictures [n, 1, 28, 28] -> [n, classes]: each class combines its filters' answers."""
    answers = tg.flatten(x) @ w + b
    return combine(tg.reshape(answers, x.shape[0], CLASSES, FILTERS), axis=2)


def learn(combine: Combine, epochs: int) -> tuple[list[float], np.ndarray]:
    """Trains on digits turned by up to 45 degrees; the accuracy at each angle, and the filters."""
    training, held_back = digits()
    rng = np.random.default_rng(0)
    w = tg.parameter(rng.normal(0, 0.0003, (28 * 28, CLASSES * FILTERS)), "filters")
    b = tg.parameter(np.zeros(CLASSES * FILTERS), "bias")
    x, y = tg.input("images", BATCH, 1, 28, 28), tg.input("labels", BATCH, dtype="int32")
    loss = nn.cross_entropy(scores(x, w, b, combine), y)
    step = tg.compile(
        [x, y], [loss], updates=optim.SGD(lr=0.05, momentum=0.9).updates(loss, [w, b])
    )
    turn = RandomAffine(shift=0, rotate=45, scale=0, shear=0)
    fit(step, Batches(*training, batch_size=BATCH, transform=turn), epochs, show=False)

    many = tg.input("images", 500, 1, 28, 28)
    predict = tg.compile([many], [scores(many, w, b, combine)])
    turned = [(rotated(held_back.images, angle), held_back.labels) for angle in ANGLES]
    filters = w.value.T.reshape(-1, 28, 28)
    return [evaluate(predict, *examples).accuracy for examples in turned], filters


def rotated(images: np.ndarray, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return warp(images, np.tile([[cos, -sin, 0], [sin, cos, 0]], (len(images), 1, 1)))


def main(folder: Path = FOLDER, short: bool = False) -> dict[str, float]:
    page = tiles(digits()[0].images[:24, 0], columns=12, gap=0).astype(np.float32)[None, None]
    found = compare_pools(page, folder)
    for name, number in found.items():
        print(f"{name}: {number:.1%}")

    print("\nturned by     " + "".join(f"{angle:8}°" for angle in ANGLES))
    for name, combine in (("max", tg.max), ("mean", tg.mean)):
        accuracy, filters = learn(combine, epochs=15 if short else 40)
        print(f"{name + ' of filters':14}" + "".join(f"{a:9.1%}" for a in accuracy))
        found |= {f"{name}: right at {d}": a for d, a in zip(ANGLES, accuracy, strict=True)}
        if combine is tg.max:
            save(folder / "pooling_filters.png", tiles(filters, columns=FILTERS, zoom=2))
    return found


if __name__ == "__main__":
    main()
