"""The same graph on a CPU and on a GPU: one word of compile().

Without a GPU, "cuda" runs in an emulator that executes the very instructions a GPU would, slowly.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim


def main() -> dict[str, float]:
    x, y = tg.input("x", 8, 6), tg.input("label", 8, dtype="int32")
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 3))
    loss = nn.cross_entropy(net(x), y)
    updates = optim.SGD(0.5).updates(loss, net.parameters())
    inputs = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    labels = (np.arange(8) % 3).astype(np.int32)

    start, found = net.state_dict(), dict[str, float]()
    for backend in ("cpu", "cuda"):
        net.load_state_dict(start)
        try:
            train = tg.compile([x, y], [loss], updates=updates, backend=backend)
        except tg.BackendError as reason:
            print(f"{backend}: {reason}")
            continue
        losses = [float(train(inputs, labels)[0]) for _ in range(4)]
        print(f"{backend}: losses", *(f"{value:.6f}" for value in losses))
        found |= {f"{backend}: loss {step}": value for step, value in enumerate(losses)}
    return found


if __name__ == "__main__":
    main()
