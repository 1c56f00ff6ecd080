"""A data parallel step of LeNet-5, beside a program for the batch of one shard, without ranks.

    python benchmarks/ranks.py                       # one rank
    mpiexec -n 2 python benchmarks/ranks.py          # and its sum over two

Each rank holds one shard; the difference is what the ranks cost: the sum, and waiting for the
slowest.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import tinygraph as tg
from tinygraph import distributed as dist
from tinygraph import nn, optim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64, help="of all ranks; default 64")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    tg.settings.threads = 1
    ranks, shard = dist.size(), arguments.batch // dist.size()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((arguments.batch, 1, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, arguments.batch).astype(np.int32)

    def network():
        nn.manual_seed(0)
        net, x = tg.models.lenet5(), tg.input("image", shard, 1, 28, 28)
        y = tg.input("label", shard, dtype="int32")
        loss = nn.cross_entropy(net(x, training=True), y)
        # slow, so that the loss stays away from 0 and the numbers from those that are denormal
        return [x, y], loss, optim.SGD(1e-4, momentum=0.9).updates(loss, net.parameters())

    inputs, loss, updates = network()
    alone = tg.compile(inputs, [loss], updates=updates)
    inputs, loss, updates = network()
    step = dist.data_parallel(inputs, [loss], updates=updates, shards=ranks)
    mine = slice(dist.rank() * shard, (dist.rank() + 1) * shard)
    own, turns = (images[mine], labels[mine]), range(5)
    pairs = [
        (median(lambda: alone(*own), arguments.steps),
         median(lambda: step(images, labels), arguments.steps))
        for _ in turns
    ]  # fmt: skip
    once, together = np.median(pairs, axis=0)
    if dist.rank() == 0:
        print(
            f"{ranks} ranks, {shard} examples each: a step {1e3 * together:.2f} ms, one program "
            f"without ranks {1e3 * once:.2f} ms, {together / once:.2f} of it"
        )


def median(call, steps: int) -> float:
    """Seconds of a call, all ranks starting together."""
    spent = []
    for _ in range(20):
        call()
    dist.barrier()
    for _ in range(steps):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


if __name__ == "__main__":
    main()
