"""A GAN learns a ring of eight clouds: two networks, two optimizers, one step (Goodfellow, 2014).

The discriminator learns to tell points of the data from generated ones; the generator, to be taken
for data. Noise is drawn in the graph, and both updates are part of one program.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.pictures import gallery, save
from tinygraph.train import fit

BATCH, NOISE, CLOUDS, STEPS, EPOCHS = 256, 8, 8, 300, 8
CENTRES = 2 * np.exp(2j * np.pi * np.arange(CLOUDS) / CLOUDS).view(np.float64).reshape(-1, 2)


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, outputs),
    )  # fmt: skip


def clouds(epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: points [BATCH, 2] around the centres."""
    rng = np.random.default_rng(epoch)
    places = CENTRES[rng.integers(0, CLOUDS, (STEPS, BATCH))]
    return list((places + rng.normal(0, 0.1, places.shape)).astype(np.float32))


def picture(points: np.ndarray) -> np.ndarray:
    """How many points are where, from -3 to 3: an image [60, 60]."""
    counts, *_ = np.histogram2d(points[:, 1], points[:, 0], bins=60, range=[[-3, 3]] * 2)
    return np.minimum(counts / 8, 1)


def main(folder: Path = Path("pictures")) -> dict[str, float]:
    nn.manual_seed(0)
    generator, discriminator = network(NOISE, 2), network(2, 1)
    real = tg.input("real", BATCH, 2)
    fake = generator(tg.random_normal((BATCH, NOISE)))

    def taken_for(points: tg.Node, data: float) -> tg.Node:
        logits = discriminator(points)
        return nn.binary_cross_entropy_with_logits(logits, tg.zeros_like(logits) + data)

    tell = taken_for(real, 1.0) + taken_for(tg.stop_gradient(fake), 0.0)
    fool = taken_for(fake, 1.0)
    updates = optim.Adam(1e-3, betas=(0.5, 0.9)).updates(tell, discriminator.parameters())
    updates += optim.Adam(1e-3, betas=(0.5, 0.9)).updates(fool, generator.parameters())
    fit(tg.compile([real], [tell, fool], updates=updates, name="gan"), clouds, EPOCHS)

    z = tg.input("noise", None, NOISE)
    generate = tg.compile([z], [generator(z)], name="generate")
    (points,) = generate(np.random.default_rng(1).normal(size=(8000, NOISE)).astype(np.float32))
    distance = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    near, nearest = distance.min(axis=1) < 0.4, distance.argmin(axis=1)
    found = {
        "points in a cloud": float(near.mean()),
        "clouds with points": float((np.bincount(nearest[near], minlength=CLOUDS) > 200).sum()),
    }
    print(", ".join(f"{name}: {value:.3g}" for name, value in found.items()))
    images = [("data", picture(np.concatenate(clouds(99)[:31]))), ("generated", picture(points))]
    print(save(folder / "gan.svg", gallery(images, columns=2, zoom=5)))
    return found


if __name__ == "__main__":
    main()
