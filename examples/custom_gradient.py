"""A gradient of one's own: rounded weights learn if gradients pass the rounding straight through.

The straight-through estimator (Bengio et al., arXiv:1308.3432, section 4): round on the way
forward, the identity on the way back. With the true gradient, 0 almost everywhere, nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim

WHOLE = np.array([3, -2, 0, 5, -4, 1, 2, -1], np.float32)  # what the data was made with

straight_round = tg.custom_gradient(tg.round, lambda g, y, x: g)


def learn(rounding: Callable[[tg.Node], tg.Node], steps: int = 200) -> tuple[np.ndarray, float]:
    """Fits y = x @ rounding(w) to data that whole weights made; the weights and the last loss."""
    rng = np.random.default_rng(0)
    x, y = tg.input("x", 64, 8), tg.input("y", 64)
    w = tg.parameter(np.full(8, 0.2), name="w")
    loss = nn.mse_loss(x @ rounding(w), y)
    step = tg.compile([x, y], [loss], updates=optim.SGD(lr=0.05).updates(loss, [w]))
    for _ in range(steps):
        data = rng.normal(size=(64, 8)).astype(np.float32)
        (last,) = step(data, data @ WHOLE)
    return np.round(w.value), float(last)


def main() -> dict[str, float]:
    found = {}
    for name, rounding in (("round", tg.round), ("straight_round", straight_round)):
        weights, loss = learn(rounding)
        found[f"{name}: loss"] = loss
        found[f"{name}: weights found"] = int((weights == WHOLE).sum())
        print(f"{name:15} loss {loss:8.3g}, weights {weights.astype(int).tolist()}")
    return found


if __name__ == "__main__":
    main()
