"""A GRU on sequences of several lengths: the adding problem (Hochreiter and Schmidhuber, 1997).

Each step has a number and a mark; two steps of a sequence are marked, and the answer is the sum of
their numbers. Sequences are padded to one length; ``lengths`` tells the GRU where each ends, so
that what is after the end changes nothing.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import metrics, nn, optim
from tinygraph.data import Batches, Pad
from tinygraph.train import EarlyStopping, fit

LONGEST, HIDDEN = 12, 32
Sequences = tuple[list[np.ndarray], np.ndarray]


class Adder(nn.Module):
    def __init__(self) -> None:
        self.gru, self.head = nn.GRU(2, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)

    def forward(self, x: tg.Node, lengths: tg.Node, training: bool = False) -> tg.Node:
        _, last = self.gru(x, lengths=lengths)
        return self.head(last[0])[:, 0]


def sequences(n: int, seed: int) -> Sequences:
    """Sequences [length, 2] of numbers and marks, and their sums."""
    rng = np.random.default_rng(seed)
    made, sums = [], []
    for length in rng.integers(4, LONGEST + 1, n):
        numbers, marks = rng.random(length), np.zeros(length)
        marks[rng.choice(length, 2, replace=False)] = 1
        made.append(np.stack([numbers, marks], axis=1).astype(np.float32))
        sums.append(numbers @ marks)
    return made, np.array(sums, np.float32)


def main(epochs: int = 12) -> dict[str, float]:
    nn.manual_seed(0)
    net = Adder()
    x, lengths = tg.input("x", None, LONGEST, 2), tg.input("lengths", None, dtype="int32")
    target = tg.input("sum", None)
    answer = net(x, lengths)
    loss = nn.mse_loss(answer, target)
    optimizer = optim.Adam(optim.cosine(1e-2, epochs * 62), clip=1.0)
    updates = optimizer.updates(loss, net.parameters())
    step = tg.compile([x, lengths, target], [loss], updates=updates, name="train")
    check = tg.compile([x, lengths, target], [loss, answer], name="check")

    pad = Pad(LONGEST)
    batches = Batches(*sequences(4000, 0), batch_size=64, collate=pad)
    test = Batches(*sequences(1000, 1), batch_size=250, collate=pad, shuffle=False)
    history = fit(
        step, batches, epochs, validation=(check, test), metrics=[metrics.r2_score],
        callbacks=[EarlyStopping("val_loss", patience=4)],
    )  # fmt: skip

    values, many, _ = next(test.epoch(0))
    zeros = np.zeros(len(values), np.float32)
    rubbish = np.where(np.arange(LONGEST)[:, None] < many[:, None, None], values, 99)
    outputs = [check(v.astype(np.float32), many, zeros)[1] for v in (values, rubbish)]
    return {
        "mean squared error": history.best("val_loss").values["val_loss"],
        "of the mean": float(np.var(np.concatenate([y for *_, y in test]))),
        "R2": history.best("val_r2_score").values["val_r2_score"],
        "change with what is after the end": float(np.abs(outputs[0] - outputs[1]).max()),
    }


if __name__ == "__main__":
    print(main())
