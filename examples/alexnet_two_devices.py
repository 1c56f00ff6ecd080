"""AlexNet in two halves on two devices, as in 2012 (Krizhevsky et al., NIPS 2012, section 3.5).

Each device holds half of the kernels of every layer. The halves exchange values only where the
paper's figure 2 has them do so: before the third convolution and before the fully connected layers.
Equal to the network in one piece, whose second, fourth and fifth convolution have two groups. The
same code runs on two GPUs that are called "cuda:0" and "cuda:1".
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

import tinygraph as tg
from tinygraph import models, nn, optim

DEVICES = ("cpu:0", "cpu:1")
STAGES = 5  # after each of them the halves exchange what they have computed


class Half(nn.Module):
    """Half of the kernels of every layer; a stage reads the values of both halves before it."""

    def __init__(self, hidden: int):
        self.conv1 = nn.Conv2d(3, 48, 11, stride=4)
        self.conv2 = nn.Conv2d(48, 128, 5, padding=2)
        self.conv3 = nn.Conv2d(256, 192, 3, padding=1)
        self.conv4 = nn.Conv2d(192, 192, 3, padding=1)
        self.conv5 = nn.Conv2d(192, 128, 3, padding=1)
        self.fc6 = nn.Linear(9216, hidden // 2)
        self.fc7 = nn.Linear(hidden, hidden // 2)
        self.fc8 = nn.Linear(hidden, 500)
        self.norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: tg.Node, stage: int, training: bool = False) -> tg.Node:
        if stage == 0:
            x = self.pool(self.norm(tg.relu(self.conv1(x))))
            return self.pool(self.norm(tg.relu(self.conv2(x))))
        if stage == 1:
            x = tg.relu(self.conv4(tg.relu(self.conv3(x))))
            return tg.flatten(self.pool(tg.relu(self.conv5(x))), 1)
        return self.fc8(x) if stage == 4 else tg.relu((self.fc6, self.fc7)[stage - 2](x))

    def load(self, net: nn.Module, number: int) -> None:
        """Takes the weights of half ``number`` of the network in one piece."""
        whole = {name.partition(".")[2]: v for name, v in net.state_dict().items()}
        self.load_state_dict({name: np.split(v, 2)[number] for name, v in whole.items()})


class HalfNorm(nn.Module):
    """A normalization that stays within each half of the maps, as it did on two GPUs."""

    def __init__(self, norm: nn.Module):
        self.norm = norm

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        return tg.concat([self.norm(half) for half in tg.split(x, 2, axis=1)], axis=1)


def in_one(hidden: int) -> nn.Module:
    """The network in one piece."""
    net = models.alexnet(hidden=hidden)
    features = dict(net.children())["features"]
    for name in ("norm1", "norm2"):
        setattr(features, name, HalfNorm(getattr(features, name)))
    return net


def in_two(halves: Sequence[Half], x: tg.Node) -> tg.Node:
    """The logits of both halves, each on its device."""
    values = [x]
    for stage in range(STAGES):
        made = []
        for half, device in zip(halves, DEVICES, strict=True):
            with tg.device(device):
                made.append(half(tg.concat(values, axis=1), stage))
        values = made
    return tg.concat(values, axis=1)


def programs(
    name: str, x: tg.Node, y: tg.Node, logits: tg.Node, parameters: list[tg.Parameter]
) -> tuple[tg.Program, tg.Program]:
    """Inference, and a step of training."""
    loss = nn.cross_entropy(logits, y)
    updates = optim.SGD(0.01).updates(loss, parameters)
    step = tg.compile([x, y], [loss], updates=updates, name=f"{name}_step")
    return tg.compile([x], [logits], name=name), step


def milliseconds(calls: dict[str, tuple], runs: int) -> dict[str, float]:
    """Medians of programs run in turn, so that what disturbs one disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, (program, *arrays) in calls.items():
            start = time.perf_counter()
            program(*arrays)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(t) for name, t in times.items()}


def main(short: bool = False) -> dict[str, float]:
    batch, hidden, runs = (2, 256, 1) if short else (16, 4096, 9)
    x, y = tg.input("image", batch, 3, 227, 227), tg.input("label", batch, dtype="int32")
    rng = np.random.default_rng(0)
    images = rng.normal(size=x.shape).astype(np.float32)
    labels = rng.integers(0, 1000, batch).astype(np.int32)

    net, halves = in_one(hidden), [Half(hidden) for _ in DEVICES]
    for number, half in enumerate(halves):
        half.load(net, number)
    tg.settings.threads = 1  # one device, one thread
    one, one_step = programs("in_one", x, y, net(x), net.parameters())
    tg.settings.threads = len(DEVICES)
    parameters = [p for half in halves for p in half.parameters()]
    two, two_step = programs("in_two", x, y, in_two(halves, x), parameters)
    tg.settings.threads = None
    found: dict[str, float] = {"parameters": sum(p.type.size for p in parameters)}
    print(f"{found['parameters']:,} parameters in two halves, {batch} pictures in a batch")
    (want,), (got,) = one(images), two(images)
    losses = [[float(step(images, labels)[0]) for _ in range(3)] for step in (one_step, two_step)]
    found["logits: difference"] = float(abs(got - want).max() / want.std())
    found["losses: difference"] = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(f"logits differ by {found['logits: difference']:.1e} of their deviation, "
          f"three losses by {found['losses: difference']:.1e}")  # fmt: skip

    print(*(r for r in two.remarks if " goes from " in r), sep="\n")
    calls = {
        "inference in one": (one, images),
        "inference": (two, images),
        "training in one": (one_step, images, labels),
        "training": (two_step, images, labels),
    }
    times = milliseconds(calls, runs)
    for name, program in (("inference", two), ("training", two_step)):
        found[f"{name}: bytes that cross"] = program.cost()["transferred_bytes"]
        found[f"{name}: time"] = times[name] / times[f"{name} in one"]
        print(f"{name}: {found[f'{name}: bytes that cross']:,} bytes cross; {times[name]:.1f} ms, "
              f"on one device and thread {times[f'{name} in one']:.1f}: "
              f"{found[f'{name}: time']:.2f} of it")  # fmt: skip
    return found


if __name__ == "__main__":
    main()
