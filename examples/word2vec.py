"""Word vectors from the King James Bible: skip-gram with negative sampling (Mikolov et al., 2013).

A word's vector is to tell which words are near it in the text, from words that are drawn at random.
Words that occur in the same company come to be near each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import king_james
from tinygraph.train import fit

WORDS, SIZE, BATCH, NEGATIVES, WINDOW, STEPS = 1000, 48, 1024, 5, 4, 400
PAIRS = [("father", "mother"), ("day", "night"), ("gold", "silver"), ("son", "daughter"),
         ("king", "queen"), ("eat", "drink"), ("hand", "foot"), ("sea", "land")]  # fmt: skip


def text() -> tuple[list[str], np.ndarray]:
    """The most frequent words, and the text in their numbers; other words are left out."""
    bible = king_james()
    words = re.findall("[a-z]+", bible.decode(np.concatenate(bible[:3])).lower())
    known = [word for word, _ in Counter(words).most_common(WORDS)]
    number = {word: k for k, word in enumerate(known)}
    return known, np.array([number[w] for w in words if w in number], np.int32)


def pairs(numbers: np.ndarray, epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of words, of one near each, and of words drawn at random."""
    rng = np.random.default_rng(epoch)
    counts = np.bincount(numbers, minlength=WORDS)
    often = counts**0.75 / (counts**0.75).sum()
    kept = np.minimum(1, np.sqrt(1e-3 * len(numbers) / counts))[numbers]  # frequent ones less
    for _ in range(STEPS):
        at = rng.choice(len(numbers) - 2 * WINDOW, 2 * BATCH) + WINDOW
        at = np.resize(at[rng.random(len(at)) < kept[at]], BATCH)
        near = at + rng.integers(1, WINDOW + 1, BATCH) * rng.choice([-1, 1], BATCH)
        drawn = rng.choice(WORDS, (BATCH, NEGATIVES), p=often).astype(np.int32)
        yield numbers[at], numbers[near], drawn


def main(epochs: int = 10) -> dict[str, float]:
    nn.manual_seed(0)
    known, numbers = text()
    word, context = nn.Embedding(WORDS, SIZE), nn.Embedding(WORDS, SIZE)
    centre, near = (tg.input(name, BATCH, dtype="int32") for name in ("centre", "near"))
    others = tg.input("others", BATCH, NEGATIVES, dtype="int32")
    right = tg.sum(word(centre) * context(near), axis=1) / SIZE**0.5
    wrong = tg.einsum("bs,bns->bn", word(centre), context(others)) / SIZE**0.5
    loss = tg.mean(tg.softplus(-right) + tg.sum(tg.softplus(wrong), axis=1))
    parameters = word.parameters() + context.parameters()
    updates = optim.Adam(1e-2).updates(loss, parameters)
    step = tg.compile([centre, near, others], [loss], updates=updates, name="skip_gram")
    history = fit(step, lambda epoch: pairs(numbers, epoch), epochs)

    vectors = word.weight.value / np.linalg.norm(word.weight.value, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    for name in ("father", "gold", "king", "three"):
        best = np.argsort(-alike[known.index(name)])[1:6]
        print(f"{name}: {', '.join(known[k] for k in best)}")
    places = [[known.index(w) for w in pair] for pair in PAIRS if set(pair) <= set(known)]
    return {
        "first loss": history[0].loss,
        "loss": history[-1].loss,
        "of related words": float(np.mean([alike[a, b] for a, b in places])),
        "of any words": float((alike.sum() - WORDS) / (WORDS * (WORDS - 1))),
    }


if __name__ == "__main__":
    print(main())
