"""Fine-tuning: a network that knows the digits 0 to 4 learns 5 to 9 in twelve steps.

There are 50 pictures, all of them in each batch. First the body is frozen, and the new head
learns alone; then all of it learns, the head at twice the rate of the body. The same network
without what it knows gets less far in as many steps.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import metrics, models, nn, optim
from tinygraph.data import Batches, Labelled, RandomAffine, digits
from tinygraph.train import fit

CLASSES, FEW, STEPS = 5, 50, 12
Data = tuple[np.ndarray, np.ndarray]


def half(examples: Labelled, upper: bool, n: int | None = None) -> Data:
    """The first n digits 0 to 4, or 5 to 9, with classes 0 to 4."""
    chosen = np.flatnonzero((examples.labels >= CLASSES) == upper)[:n]
    return examples.images[chosen], examples.labels[chosen] % CLASSES


def train(net: nn.Module, optimizer: optim.Optimizer, data: Data, test: Data, epochs: int) -> float:
    """Trains what is not frozen; the accuracy on the test's pictures."""
    x, y = tg.input("images", None, 1, 28, 28), tg.input("labels", None, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    step = tg.compile([x, y], [loss], updates=optimizer.updates(loss, net.parameters()))
    check = tg.compile([x, y], [nn.cross_entropy(net(x), y), net(x)])
    batches = Batches(*data, batch_size=FEW, transform=RandomAffine())
    history = fit(
        step, batches, epochs, validation=(check, test), metrics=[metrics.accuracy], show=False
    )
    return float(history["val_accuracy"][-1])


def main() -> dict[str, float]:
    training, held_back = digits()
    few, test = half(training, True, FEW), half(held_back, True)

    nn.manual_seed(1)
    scratch = train(models.lenet5(CLASSES), optim.Adam(2e-3), few, test, STEPS)

    nn.manual_seed(0)
    net = models.lenet5(CLASSES)
    train(net, optim.Adam(2e-3), half(training, False), half(held_back, False), 3)
    net.freeze()
    net.fc3 = nn.Linear(84, CLASSES)
    head = train(net, optim.Adam(5e-3), few, test, STEPS // 2)
    net.freeze(False)
    own = optim.ParameterGroup(net.fc3.parameters(), rate=2)
    both = train(net, optim.Adam(2e-3, groups=[own]), few, test, STEPS // 2)
    found = {"from nothing": scratch, "new head": head, "all, at two rates": both}
    for name, accuracy in found.items():
        print(f"{name:18} {accuracy:.1%} of the digits 5 to 9 held back are read right")
    return found


if __name__ == "__main__":
    main()
