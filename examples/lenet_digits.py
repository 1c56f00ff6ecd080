"""The reader: LeNet-5 learns digits, reads one from a picture, then the amount on a cheque.

The cheque is one picture: a row of digits of several sizes and heights, grey paper, noise. Columns
without ink part the digits; each is brought to MNIST's form and read. At the end the digits that
the reader gets wrong, as a picture, with what it took them for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.data import Batches, RandomAffine, as_digit, digits
from tinygraph.pictures import gallery, save
from tinygraph.train import classify, evaluate, fit

BATCH, MANY = 64, 500
WARP = RandomAffine(shift=2, rotate=10, scale=0.1, shear=0.1)
HEIGHT, GAP = 80, 4  # pixels: of a cheque, and without ink between two digits


def learn(net: nn.Module, epochs: int) -> tg.Program:
    """Trains; the classifier: pictures [MANY, 1, 28, 28] -> probabilities [MANY, 10]."""
    training, _ = digits()
    batches = Batches(*training, batch_size=BATCH, transform=WARP)
    x, y = tg.input("images", BATCH, 1, 28, 28), tg.input("labels", BATCH, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    steps = epochs * len(batches)
    rate = optim.cosine(0.05, steps, warmup=steps // 20)
    updates = optim.SGD(rate, momentum=0.9, weight_decay=5e-4).updates(loss, net.parameters())
    fit(tg.compile([x, y], [loss], updates=updates, name="train"), batches, epochs)
    return classifier(net, MANY)


def classifier(net: nn.Module, batch: int) -> tg.Program:
    x = tg.input("images", batch, 1, 28, 28)
    return tg.compile([x], [tg.softmax(net(x))], name="predict")


def write_cheque(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits [n, 28, 28] in a row, dark on grey paper: uint8 [HEIGHT, width]."""
    pieces = []
    for image in images:
        size = rng.integers(1, 3)
        digit = image[:, image.any(axis=0)].repeat(size, 0).repeat(size, 1)
        top = rng.integers(0, HEIGHT - len(digit))
        below = HEIGHT - len(digit) - top
        pieces.append(np.pad(digit, ((top, below), rng.integers(GAP, 4 * GAP, 2))))
    ink = np.concatenate(pieces, axis=1)
    paper = 200 + rng.normal(0, 4, ink.shape)
    return np.clip(paper - 160 * ink, 0, 255).astype(np.uint8)


def find_digits(cheque: np.ndarray) -> list[slice]:
    """The columns of each digit: runs of ink with at least GAP columns of paper between them."""
    ink = np.median(cheque) - cheque.astype(np.float32) > 40
    columns = np.flatnonzero(ink.any(axis=0))
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > GAP) + 1)
    return [slice(max(run[0] - 2, 0), run[-1] + 3) for run in runs]


def read_cheque(cheque: np.ndarray, predict: tg.Program) -> str:
    found = np.stack([as_digit(cheque[:, columns]) for columns in find_digits(cheque)])
    return "".join(map(str, classify(predict, found[:, None])))


def main(folder: Path = Path("pictures"), short: bool = False) -> dict[str, float]:
    nn.manual_seed(0)
    net = models.lenet5()
    predict = learn(net, epochs=3 if short else 20)
    _, held_back = digits()
    accuracy = evaluate(predict, *held_back).accuracy
    print(f"{accuracy:.2%} of {len(held_back.labels):,} digits held back are read right")

    (probabilities,) = classifier(net, 1)(held_back.images[:1])
    likely = int(probabilities.argmax())
    print(f"the first, a {held_back.labels[0]}, is read as {likely} ({probabilities.max():.1%})")

    rng = np.random.default_rng(0)
    right = read = 0
    for number in range(10):
        chosen = rng.choice(len(held_back.labels), 8, replace=False)
        cheque = write_cheque(held_back.images[chosen, 0], rng)
        amount, answer = "".join(map(str, held_back.labels[chosen])), read_cheque(cheque, predict)
        print(f"cheque {amount}: read {answer}{'' if amount == answer else ', wrong'}")
        read += len(amount)
        if len(amount) == len(answer):  # else a digit was not found, and none counts as read
            right += sum(a == b for a, b in zip(amount, answer, strict=True))
        if number == 0:
            panel = f"read as {answer}", cheque / 255
            print(save(folder / "lenet_cheque.svg", gallery([panel], columns=1, zoom=2)))

    answers = classify(predict, held_back.images)
    wrong = np.flatnonzero(answers != held_back.labels)
    print(f"{len(wrong)} wrong")
    taken = [f"{held_back.labels[i]} as {answers[i]}" for i in wrong]
    panels = list(zip(taken, held_back.images[wrong, 0], strict=True))
    title = "Digits held back that are read wrong: what they are, as what they are read"
    print(save(folder / "lenet_wrong.svg", gallery(panels, columns=8, zoom=3, title=title)))
    weights = sum(p.type.size for p in net.parameters())
    return {"parameters": weights, "accuracy": accuracy, "cheque digits right": right / read}


if __name__ == "__main__":
    main()
