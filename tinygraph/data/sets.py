"""The embedded data: handwritten digits, and a text."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

import numpy as np

from .idx import pictures


class Labelled(NamedTuple):
    """Pictures float32 [n, channels, height, width] in 0..1 and their labels int32 [n]."""

    images: np.ndarray
    labels: np.ndarray


class Text(NamedTuple):
    """Three consecutive parts of a text as int32 places in ``alphabet``."""

    training: np.ndarray
    choosing: np.ndarray  # to choose settings by
    held_back: np.ndarray
    alphabet: str

    def decode(self, symbols: Iterable[int]) -> str:
        """The characters of symbols."""
        return "".join(self.alphabet[i] for i in symbols)


def digits() -> tuple[Labelled, Labelled]:
    """The embedded MNIST digits: 8,000 to train with, 2,000 held back; pictures [n, 1, 28, 28]."""
    file = resources.files("tinygraph").joinpath("datasets/mnist10k.npz")
    with file.open("rb") as f, np.load(f) as stored:
        order = np.random.default_rng(0).permutation(10_000)
        images = pictures(stored["x"][order])
        labels = stored["y"][order].astype(np.int32)
    return Labelled(images[:8000], labels[:8000]), Labelled(images[8000:], labels[8000:])


def king_james(characters: int = 999_863) -> Text:
    """The first characters of the embedded King James Version, a verse a line.

    90 % are for training, the next 5 % for choosing settings, the last 5 % are held back.
    """
    file = resources.files("tinygraph").joinpath("datasets/kjv1m.txt.gz")
    text = gzip.decompress(file.read_bytes())
    if not 20 <= characters <= len(text):
        raise ValueError(f"the embedded text has 20 to {len(text):,} characters, got {characters}")
    alphabet, symbols = np.unique(np.frombuffer(text, np.uint8, characters), return_inverse=True)
    ends = characters * 90 // 100, characters * 95 // 100
    training, choosing, held_back = np.split(symbols.astype(np.int32), ends)
    return Text(training, choosing, held_back, alphabet.tobytes().decode("ascii"))
