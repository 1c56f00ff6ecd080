"""A network solves a differential equation: u'' = -pi^2 sin(pi x) on [0, 1], 0 at both ends.

Its second derivative with respect to its input is part of the loss (Raissi et al., Journal of
Computational Physics 378, 2019), so that the gradients of its parameters are third derivatives.
The solution is sin(pi x).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.pictures import curves, save
from tinygraph.train import fit

POINTS, STEPS, EPOCHS = 64, 500, 5


def main(folder: Path = Path("pictures")) -> dict[str, float]:
    nn.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    x, ends = tg.input("x", POINTS, 1), tg.constant(np.array([[0], [1]], np.float32))
    u = net(x)
    (slope,) = tg.grad(tg.sum(u), [x])
    (bend,) = tg.grad(tg.sum(slope), [x])
    equation = nn.mse_loss(bend, -(np.pi**2) * tg.sin(np.pi * x))
    loss = equation + 100 * tg.mean(net(ends) ** 2)
    rate = optim.cosine(5e-3, STEPS * EPOCHS)
    step = tg.compile(
        [x], [loss], updates=optim.Adam(rate).updates(loss, net.parameters()), name="solve"
    )

    def points(epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng(epoch)
        return list(rng.uniform(0, 1, (STEPS, POINTS, 1)).astype(np.float32))

    history = fit(step, points, EPOCHS)
    at = np.linspace(0, 1, POINTS, dtype=np.float32)
    found, right = tg.compile([x], [u], name="solution")(at[:, None])[0][:, 0], np.sin(np.pi * at)
    error = float(np.abs(found - right).max())
    print(f"largest error of the solution: {error:.1e}")
    lines = {"network": found, "sin(pi x)": right}
    print(save(folder / "pinn.svg", curves(at, lines, "x", "u", "Solved by a network")))
    return {"largest error": error, "loss": history[-1].loss}


if __name__ == "__main__":
    main()
