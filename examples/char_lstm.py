"""An LSTM learns the King James Version character by character, and continues it.

    python examples/char_lstm.py

Bits per character on the part of the text that is held back, compared with those of an interpolated
5-gram of the same text. The LSTM reads 16 places of the text at once, 64 characters a step, and
keeps its state from step to step: gradients end where a step begins, memory does not. Takes a
minute on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tinygraph as tg
from language import five_gram_bits
from tinygraph import data, models, nn, optim

BATCH, LENGTH = 16, 64


class Reader:
    """A language model with a state: programs that learn, measure and write share its weights."""

    def __init__(self, net: models.CharLanguageModel, symbols: int, steps: int, rate: float):
        self.net, self.symbols = net, symbols
        self.layers, self.hidden = net.lstm.num_layers, net.lstm.sizes[1]

        self.learn = self.program(BATCH, LENGTH, optim.Adam(lr=optim.cosine(rate, steps)))
        self.measure = self.program(1, 512)
        token, *state = self.inputs(1, 1)
        logits, left = net(token, state)
        self.next = tg.compile([token, *state], [tg.log_softmax(logits, -1), *left])

    def inputs(self, batch: int, length: int) -> list[tg.Node]:
        shape = (self.layers, batch, self.hidden)
        tokens = tg.input("tokens", batch, length, dtype="int32")
        return [tokens, tg.input("h", *shape), tg.input("c", *shape)]

    def zeros(self, batch: int) -> list[np.ndarray]:
        return [np.zeros((self.layers, batch, self.hidden), np.float32)] * 2

    def program(
        self, batch: int, length: int, optimizer: optim.Optimizer | None = None
    ) -> tg.Program:
        """(tokens, following, h, c) -> mean loss, h, c; with updates, if there is an optimizer."""
        tokens, *state = self.inputs(batch, length)
        following = tg.input("following", batch, length, dtype="int32")
        logits, left = self.net(tokens, state)
        loss = nn.cross_entropy(logits, following, axis=-1)
        updates = () if optimizer is None else optimizer.updates(loss, self.net.parameters())
        return tg.compile([tokens, following, *state], [loss, *left], updates=updates)

    def epoch(self, text: np.ndarray) -> Iterator[float]:
        """Learns from all of the text once, at ``BATCH`` places side by side."""
        count = (len(text) - 1) // (BATCH * LENGTH) * LENGTH
        tokens, following = (text[k : k + BATCH * count].reshape(BATCH, count) for k in (0, 1))
        state = self.zeros(BATCH)
        for at in range(0, count, LENGTH):
            part = slice(at, at + LENGTH)
            loss, *state = self.learn(tokens[:, part], following[:, part], *state)
            yield float(loss) / np.log(2)

    def bits(self, before: np.ndarray, text: np.ndarray) -> float:
        """Bits per character of a text that follows another, read in one go."""
        known = np.concatenate([before[-513:], text])
        state, losses = self.zeros(1), []
        for at in range(0, len(known) - 512, 512):
            part = known[None, at : at + 513]
            loss, *state = self.measure(part[:, :-1], part[:, 1:], *state)
            losses.append(float(loss) / np.log(2))
        return float(np.mean(losses[1:]))  # the first part is what came before

    def write(self, start: np.ndarray, characters: int, seed: int = 0) -> np.ndarray:
        """Goes on from ``start``, drawing each character from the predicted distribution."""
        rng, state, found = np.random.default_rng(seed), self.zeros(1), list(start)
        for place in range(len(start) + characters - 1):
            logs, *state = self.next(np.full((1, 1), found[place], np.int32), *state)
            if place + 1 == len(found):
                p = np.exp(np.float64(logs[0, 0]))
                found.append(rng.choice(self.symbols, p=p / p.sum()))
        return np.array(found)


def main(short: bool = False) -> dict[str, float]:
    """``short`` learns a smaller piece with a smaller network, in seconds."""
    text = data.king_james(200_000) if short else data.king_james()
    hidden, epochs, rate = (256, 4, 8e-3) if short else (384, 4, 4e-3)
    nn.manual_seed(0)
    net = models.CharLanguageModel(len(text.alphabet), hidden)
    steps = epochs * ((len(text.training) - 1) // (BATCH * LENGTH))
    reader = Reader(net, len(text.alphabet), steps, rate)
    for number in range(1, epochs + 1):
        losses = list(reader.epoch(text.training))
        chosen = reader.bits(text.training, text.choosing)
        print(f"epoch {number}: {np.mean(losses[-50:]):.3f} bits learning, {chosen:.3f} unseen")
    found = {
        "lstm": reader.bits(text.choosing, text.held_back),
        "five_gram": five_gram_bits(text),
        "parameters": sum(p.type.size for p in net.parameters()),
    }
    print(f"held back: LSTM {found['lstm']:.3f} bits per character, ", end="")
    print(f"5-gram {found['five_gram']:.3f}; {found['parameters']:,} parameters\n")
    start = np.array([text.alphabet.index(c) for c in "And "], np.int32)
    print(text.decode(reader.write(start, 100 if short else 400)))
    return found


if __name__ == "__main__":
    main()
