"""A small transformer learns a text character by character, and beats the 5-gram of the same text.

It reads up to 128 characters and predicts each next one. At the end it writes some of its own: one
compiled step reads a character and remembers its keys and values, so that nothing is read twice.

A picture shows where its heads look. Learning takes five minutes on two cores; the short mode
learns for a moment, then takes the weights that ``--keep`` has left in tiny_transformer.npz.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import tinygraph as tg
from language import five_gram_bits
from tinygraph import checkpoint, models, nn, optim
from tinygraph.data import Text, king_james
from tinygraph.pictures import gallery, save


@dataclass(frozen=True)
class Settings:
    """Chosen by how fast the loss on the training part falls, for some minutes on two cores."""

    length: int = 128
    size: int = 128
    layers: int = 2
    batch: int = 16
    steps: int = 3000
    rate: float = 5e-3


SHORT = replace(Settings(), steps=40)
LEARNED = Path(__file__).with_name("tiny_transformer.npz")
HEADS, SAID = 4, "And God said, Let there be light:"


def windows(part: np.ndarray, settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random places of the text: symbols [batch, length], and those after them."""
    rng = np.random.default_rng(0)
    reach = np.arange(settings.length + 1)
    for _ in range(settings.steps):
        starts = rng.integers(0, len(part) - settings.length, settings.batch)
        symbols = part[starts[:, None] + reach]
        yield symbols[:, :-1], symbols[:, 1:]


def learn(net: models.TransformerLanguageModel, text: Text, settings: Settings) -> list[float]:
    """Bits per character in each tenth of the training."""
    x = tg.input("text", settings.batch, settings.length, dtype="int32")
    y = tg.input("next", *x.shape, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y, axis=-1)
    rate = optim.cosine(settings.rate, settings.steps, warmup=settings.steps // 20)
    updates = optim.AdamW(rate, weight_decay=0.1, clip=1.0).updates(loss, net.parameters())
    step = tg.compile([x, y], [loss], updates=updates, name="train")
    batches, tenths = windows(text.training, settings), []
    for number in range(1, 11):
        losses = [float(step(*next(batches))[0]) for _ in range(settings.steps // 10)]
        tenths.append(float(np.mean(losses)) / math.log(2))
        print(f"{10 * number} % of the training: {tenths[-1]:.3f} bits per character", flush=True)
    return tenths


def bits_per_character(
    net: models.TransformerLanguageModel, before: np.ndarray, part: np.ndarray
) -> float:
    """The mean over a part of the text; each prediction has at least half a window before it."""
    half = net.length // 2
    x = tg.input("text", None, 2 * half, dtype="int32")
    y = tg.input("next", None, half, dtype="int32")
    losses = nn.cross_entropy(net(x)[:, half:], y, axis=-1, reduction="none")
    program = tg.compile([x, y], [losses], name="evaluate")
    known = np.pad(np.concatenate([before[-half - 1 :], part]), (0, half))
    starts = np.arange(0, len(part), half)
    found = []
    for some in np.split(starts, range(64, len(starts), 64)):
        seen = known[some[:, None] + np.arange(2 * half + 1)]
        found.append(program(seen[:, :-1], seen[:, half + 1 :])[0].reshape(-1))
    return float(np.concatenate(found)[: len(part)].mean()) / math.log(2)


def write(net: models.TransformerLanguageModel, text: Text, start: str, count: int) -> str:
    """Goes on after ``start``; when a window is full, its newer half is read again."""
    token, at = tg.input("token", 1, 1, dtype="int32"), tg.input("at", dtype="int32")
    chances = tg.softmax(net(token, net.caches(batch=1), at) / 0.8)
    step = tg.compile([token, at], [chances], name="generate")
    rng, window, read = np.random.default_rng(0), [text.alphabet.index(c) for c in start], 0
    written = list(window)
    for _ in range(count):
        while read < len(window):
            weights = step([[window[read]]], read)[0].reshape(-1).astype(np.float64)
            read += 1
        symbol = int(rng.choice(len(weights), p=weights / weights.sum()))
        written.append(symbol)
        window.append(symbol)
        if len(window) > net.length:
            window, read = window[-net.length // 2 :], 0
    return text.decode(written)


def look(net: models.TransformerLanguageModel, text: Text, said: str) -> list[np.ndarray]:
    """How much each character (row) takes of those before it (columns), in every head."""
    tokens = tg.input("text", 1, len(said), dtype="int32")
    x, weights = net.embedding(tokens), []
    for layer in net.encoder.layers:
        weights.append(layer.self_attn.weights(layer.norm1(x), causal=True)[0])
        x = layer(x, causal=True)
    program = tg.compile([tokens], [tg.concat(weights, axis=0)], name="look")
    return list(program([[text.alphabet.index(c) for c in said]])[0])


def main(folder=Path("pictures"), short=False, keep=False) -> dict[str, float]:
    nn.manual_seed(0)
    settings, text = SHORT if short else Settings(), king_james()
    net = models.TransformerLanguageModel(
        len(text.alphabet), settings.length, settings.size, settings.layers, HEADS
    )
    tenths = learn(net, text, settings)
    if keep:
        halves = {name: p.value.astype(np.float16) for name, p in net.named_parameters().items()}
        checkpoint.write_arrays(LEARNED, halves)
    if short:
        print("that was a moment; now with the weights that the whole training has left")
        checkpoint.load(LEARNED, net)
    bits, five_gram = bits_per_character(net, text.choosing, text.held_back), five_gram_bits(text)
    print(f"bits per character of the part held back: {bits:.3f}; of the 5-gram: {five_gram:.3f}")
    print(write(net, text, "And ", 100 if short else 600))
    maps = look(net, text, SAID)
    panels = [(f"layer {k // HEADS + 1}, head {k % HEADS + 1}", m) for k, m in enumerate(maps)]
    title = f"What each character of '{SAID}' (rows) takes of those before it (columns)"
    print(save(folder / "transformer_heads.svg", gallery(panels, HEADS, 6, title)))
    return {
        "parameters": sum(p.type.size for p in net.parameters()),
        "first tenth": tenths[0],
        "last tenth": tenths[-1],
        "transformer": bits,
        "5-gram": five_gram,
        "least attention in all": float(min(m.sum(axis=1).min() for m in maps)),
    }


if __name__ == "__main__":
    main(keep="--keep" in sys.argv)
