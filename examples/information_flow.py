"""How information flows through training: data, weights, scores, losses, updates.

Labelled data is fixed; weights are drawn from a normal distribution; the score h(x) is compared
with the label. The objective is the data loss plus the regularization loss,

    J(W, b) = 1/m sum_i 1/2 |h(x_i) - y_i|^2  +  lambda/2 sum of all squared weights,

and a step of gradient descent makes, in each layer, four equations:

    dJ/dW = 1/m sum_i delta_i a_i^T + lambda W        W := W - alpha dJ/dW
    dJ/db = 1/m sum_i delta_i                         b := b - alpha dJ/db

They are written out by hand below; the compiled step is made from J alone. Both in float64.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import optim

EXAMPLES, SIZES = 32, (4, 8, 3)  # m; how wide the input, the hidden layer, the score are
LAMBDA, ALPHA, STEPS = 1e-3, 0.5, 100


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def step_by_hand(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """One step in place, for weights [W1, b1, W2, b2] of two sigmoid layers; J before it."""
    w1, b1, w2, b2 = weights
    hidden = sigmoid(x @ w1 + b1)
    score = sigmoid(hidden @ w2 + b2)
    data_loss = 0.5 * ((score - y) ** 2).sum() / len(x)
    regularization_loss = 0.5 * LAMBDA * ((w1**2).sum() + (w2**2).sum())

    delta2 = (score - y) * score * (1 - score)
    delta1 = (delta2 @ w2.T) * hidden * (1 - hidden)
    for w, b, a, delta in ((w2, b2, hidden, delta2), (w1, b1, x, delta1)):
        dw = a.T @ delta / len(x) + LAMBDA * w
        db = delta.sum(axis=0) / len(x)
        w -= ALPHA * dw
        b -= ALPHA * db
    return float(data_loss + regularization_loss)


def compiled_step(weights: list[np.ndarray]) -> tuple[tg.Program, list[tg.Parameter]]:
    """The same from J: gradients by the compiler."""
    x = tg.input("x", EXAMPLES, SIZES[0], dtype="float64")
    y = tg.input("y", EXAMPLES, SIZES[2], dtype="float64")
    names = ("W1", "b1", "W2", "b2")
    w1, b1, w2, b2 = parameters = [
        tg.parameter(value, name, dtype="float64")
        for name, value in zip(names, weights, strict=True)
    ]
    score = tg.sigmoid(tg.sigmoid(x @ w1 + b1) @ w2 + b2)
    data_loss = 0.5 * tg.sum((score - y) ** 2) / EXAMPLES
    regularization_loss = 0.5 * LAMBDA * (tg.sum(w1**2) + tg.sum(w2**2))
    loss = data_loss + regularization_loss
    updates = optim.SGD(lr=ALPHA).updates(loss, parameters)
    return tg.compile([x, y], [loss], updates=updates, name="step"), parameters


def main() -> dict[str, float]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, SIZES[0]))
    y = np.eye(SIZES[2])[np.argmax(x[:, : SIZES[2]], axis=1)]
    shapes = [(SIZES[0], SIZES[1]), (SIZES[1],), (SIZES[1], SIZES[2]), (SIZES[2],)]
    weights = [rng.normal(size=shape) for shape in shapes]

    step, parameters = compiled_step(weights)
    found: dict[str, float] = {"largest difference of losses": 0.0}
    for k in range(STEPS):
        by_hand = step_by_hand(weights, x, y)
        (compiled,) = step(x, y)
        difference = abs(float(compiled) - by_hand) / by_hand
        found["largest difference of losses"] = max(
            difference, found["largest difference of losses"]
        )
        if k in (0, STEPS - 1):
            print(f"step {k:3}: J = {by_hand:.15f} by hand, {float(compiled):.15f} compiled")
            found[f"loss at step {k}"] = by_hand
    found["largest difference of weights"] = max(
        float(np.abs(p.value - w).max()) for p, w in zip(parameters, weights, strict=True)
    )
    for name, number in found.items():
        print(f"{name}: {number:.3g}")
    return found


if __name__ == "__main__":
    main()
