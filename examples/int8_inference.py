"""LeNet-5 in integers: learns digits in floats, is calibrated on 256 of them, and reads 2,000.

The integer program stores activations and weights in a byte each and adds their products up in
int32: the same bits on any processor, and in NumPy.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.data import Batches, RandomAffine, digits
from tinygraph.train import fit

BATCH, MANY = 64, 500
WARP = RandomAffine(shift=2, rotate=10, scale=0.1, shear=0.1)


def learn(net: nn.Module, epochs: int) -> None:
    """Trains the network in floats."""
    training, _ = digits()
    batches = Batches(*training, batch_size=BATCH, transform=WARP)
    x, y = tg.input("images", BATCH, 1, 28, 28), tg.input("labels", BATCH, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    steps = epochs * len(batches)
    updates = optim.SGD(optim.cosine(0.05, steps), momentum=0.9).updates(loss, net.parameters())
    fit(tg.compile([x, y], [loss], updates=updates), batches, epochs)


def logits_of(program: tg.Program, images: np.ndarray) -> np.ndarray:
    return np.concatenate([program(images[i : i + MANY])[0] for i in range(0, len(images), MANY)])


def main(epochs: int = 4) -> tuple[int, float]:
    """How many of 2,000 answers are others in integers, and the rms error of the logits."""
    tg.manual_seed(0)
    net = models.lenet5()
    learn(net, epochs)
    x = tg.input("images", None, 1, 28, 28)
    y = net(x)
    floats = tg.compile([x], [y])
    (images, _), test = digits()
    ranges = tg.calibrate(floats, [images[:256]])
    integers = tg.compile([x], [y], quantize=ranges)
    want, got = logits_of(floats, test.images), logits_of(integers, test.images)
    changed = int((want.argmax(1) != got.argmax(1)).sum())
    error = float(np.sqrt(np.mean((got - want) ** 2)) / want.std())
    right = [int((z.argmax(1) == test.labels).sum()) for z in (want, got)]
    print(f"of {len(want)} digits, floats read {right[0]} right, integers {right[1]}")
    print(f"{changed} answers differ; rms error {error:.4f} of the logits' deviation")
    return changed, error


if __name__ == "__main__":
    main()
