"""LeNet-5 on the digits that come with tinygraph: five seeds, learned side by side."""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.data import Batches, RandomAffine, digits
from tinygraph.train import evaluate, fit

EPOCHS, BATCH, SEEDS = 20, 64, 5


def network(seed: int) -> nn.Module:
    nn.manual_seed(seed)
    return models.lenet5()


def test_the_median_of_five_seeds_reads_985_of_1000_digits_held_back() -> None:
    """One program: the gradient of a sum of losses is that of each for its own network."""
    nets = [network(seed) for seed in range(SEEDS)]
    training, held_back = digits()
    warp = RandomAffine(shift=2, rotate=10, scale=0.1, shear=0.1)
    batches = Batches(*training, batch_size=BATCH, transform=warp)
    x, y = tg.input("images", BATCH, 1, 28, 28), tg.input("labels", BATCH, dtype="int32")
    loss = sum(nn.cross_entropy(net(x, training=True), y) for net in nets)
    steps = EPOCHS * len(batches)
    optimizer = optim.SGD(
        optim.cosine(0.05, steps, warmup=steps // 20), momentum=0.9, weight_decay=5e-4
    )
    updates = optimizer.updates(loss, [p for net in nets for p in net.parameters()])
    fit(tg.compile([x, y], [loss], updates=updates), batches, EPOCHS, show=False)

    many = tg.input("images", 500, 1, 28, 28)
    predict = [tg.compile([many], [net(many)]) for net in nets]
    found = [evaluate(program, *held_back).accuracy for program in predict]
    print(found)
    assert np.median(found) >= 0.985
