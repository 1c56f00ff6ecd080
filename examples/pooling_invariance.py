"""Pooling: four kinds side by side, and the invariance that each buys.

Max, mean, L2 and distance-weighted pooling of the outlines of digits: how bright outlines stay, and
how many values change when the picture moves by one pixel. Then an invariance that is learned: each
class has several filters and takes the maximum across them, so each filter can see one rotation
(Goodfellow et al., Deep Learning, 2016, figure 9.9). The same network with the mean instead of the
maximum, with the same first filters and trained alike, has no such choice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import Batches, Labelled, RandomAffine, digits, warp
from tinygraph.pictures import curves, gallery, page, save, stretched
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


def compare_pools(digits: np.ndarray, folder: Path) -> dict[str, float]:
    """Pools the outlines of a page of digits [1, 1, height, width]."""
    x = tg.input("page", *digits.shape)
    y = outlines(x)
    pooled = [pool(y, 3, stride=1) / ONES.get(name, 1.0) for name, pool in POOLS.items()]
    program = tg.compile([x], [y, *pooled], name="pools")
    before, after = program(digits), program(np.roll(digits, 1, axis=3))
    drawn = before[1] > 0.5  # windows with a piece of a clear outline
    found, panels = {}, []
    for name, old, new in zip(("before", *POOLS), before, after, strict=True):
        changed = np.abs(new - old) > 0.1 * old.max()
        found[f"{name}: values that a move by one pixel changes"] = float(changed.mean())
        caption = "outlines"
        if name != "before":
            kept = float((old[drawn] / before[1][drawn]).mean())
            found[f"{name}: brightness that outlines keep"] = kept
            caption = f"{name}: keeps {kept:.0%}"
        panels.append((caption, old[0, 0, :28, : 4 * 28]))
    title = "How bright outlines are after 3x3 pooling"
    print(save(folder / "pooling.svg", gallery(panels, columns=2, zoom=3, title=title)))
    return found


def scores(x: tg.Node, w: tg.Node, b: tg.Node, combine: Combine) -> tg.Node:
    """Pictures [n, 1, 28, 28] -> [n, classes]: each class combines its filters' answers."""
    answers = tg.flatten(x) @ w + b
    return combine(tg.reshape(answers, x.shape[0], CLASSES, FILTERS), axis=2)


def first_filters(training: Labelled) -> np.ndarray:
    """Each is a faint picture of its class, turned at random; from noise, few would ever win."""
    rng = np.random.default_rng(0)
    each = [training.images[training.labels == c][:FILTERS] for c in range(CLASSES)]
    turned = [rotated(image[None], rng.uniform(-45, 45)) for image in np.concatenate(each)]
    filters = np.concatenate(turned).reshape(-1, 28 * 28).T
    filters -= filters.mean(axis=1, keepdims=True)
    return 2 * filters / np.linalg.norm(filters, axis=0)


def learn(combine: Combine, epochs: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Trains on digits turned by up to 45 degrees; the accuracy at each angle, filters, biases."""
    training, held_back = digits()
    w = tg.parameter(first_filters(training), "filters")
    b = tg.parameter(np.zeros(CLASSES * FILTERS), "bias")
    x, y = tg.input("images", BATCH, 1, 28, 28), tg.input("labels", BATCH, dtype="int32")
    loss = nn.cross_entropy(scores(x, w, b, combine), y)
    updates = optim.SGD(lr=0.05, momentum=0.9).updates(loss, [w, b])
    step = tg.compile([x, y], [loss], updates=updates)
    turn = RandomAffine(shift=0, rotate=45, scale=0, shear=0)
    fit(step, Batches(*training, batch_size=BATCH, transform=turn), epochs, show=False)

    many = tg.input("images", 500, 1, 28, 28)
    predict = tg.compile([many], [scores(many, w, b, combine)])
    turned = [(rotated(held_back.images, angle), held_back.labels) for angle in ANGLES]
    return [evaluate(predict, *examples).accuracy for examples in turned], w.value, b.value


def draw_filters(w: np.ndarray, b: np.ndarray, folder: Path) -> None:
    """A row for each class: its filters by the mean angle of the digits in which they win."""
    examples = digits()[1]
    wins, angles = np.zeros((2, CLASSES, FILTERS))
    for angle in range(-45, 46, 5):
        images = rotated(examples.images, angle).reshape(-1, 28 * 28)
        answers = (images @ w + b).reshape(-1, CLASSES, FILTERS)
        winner = answers[np.arange(len(images)), examples.labels].argmax(axis=1)
        np.add.at(wins, (examples.labels, winner), 1)
        np.add.at(angles, (examples.labels, winner), angle)
    angles /= np.maximum(wins, 1)
    panels = []
    for c in range(CLASSES):
        for f in angles[c].argsort():
            often = wins[c, f] > 0.02 * wins[c].sum()
            image = stretched(w[:, c * FILTERS + f].reshape(28, 28), around=0)
            panels.append((f"{angles[c, f]:+.0f}°" if often else "", image))
    title = "Filters, by the mean angle at which they win, if they do"
    drawn = gallery(panels, columns=FILTERS, zoom=2, title=title)
    print(save(folder / "pooling_filters.svg", drawn))


def rotated(images: np.ndarray, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return warp(images, np.tile([[cos, -sin, 0], [sin, cos, 0]], (len(images), 1, 1)))


def main(folder: Path = Path("pictures"), short: bool = False) -> dict[str, float]:
    sample = page(digits()[0].images[:24, 0], columns=12)[None, None]
    found = compare_pools(sample, folder)
    for name, number in found.items():
        print(f"{name}: {number:.1%}")

    print("\nturned by     " + "".join(f"{angle:8}°" for angle in ANGLES))
    right = {}
    for name, combine in (("max", tg.max), ("mean", tg.mean)):
        accuracy, filters, biases = learn(combine, epochs=15 if short else 40)
        print(f"{name + ' of filters':14}" + "".join(f"{a:9.1%}" for a in accuracy))
        found |= {f"{name}: right at {d}": a for d, a in zip(ANGLES, accuracy, strict=True)}
        right[f"{name} of {FILTERS} filters"] = [100 * a for a in accuracy]
        if combine is tg.max:
            draw_filters(filters, biases, folder)
    title = "A maximum across filters learns to see what is turned"
    print(save(folder / "pooling_rotation.svg", curves(
        ANGLES, right, "turned by, degrees", "read right, %", title
    )))  # fmt: skip
    return found


if __name__ == "__main__":
    main()
