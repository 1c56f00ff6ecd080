"""The embedded data: handwritten digits, and a text."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

import numpy as np

from ..graph.numeric import numeric
from .idx import pictures


class Labelled(NamedTuple):
    """Pictures and their labels; a tuple, too.

    Attributes:
        images: float32 [n, channels, height, width] in 0..1.
        labels: int32 [n].

    Example:
        >>> training, held_back = data.digits()
        >>> training.images.shape, training.labels[:3].tolist()
        ((8000, 1, 28, 28), [3, 8, 1])
    """

    images: np.ndarray
    labels: np.ndarray


class Text(NamedTuple):
    """Three consecutive parts of a text as int32 places in an alphabet.

    Attributes:
        training: most of it.
        choosing: to choose settings by.
        held_back: to be looked at once.
        alphabet: the characters that occur.

    Example:
        >>> text = data.king_james(1000)
        >>> text.decode(text.training[:24])
        'In the beginning God cre'
    """

    training: np.ndarray
    choosing: np.ndarray
    held_back: np.ndarray
    alphabet: str

    def decode(self, symbols: Iterable[int]) -> str:
        """The characters of symbols."""
        return "".join(self.alphabet[i] for i in symbols)


def digits() -> tuple[Labelled, Labelled]:
    """The embedded MNIST digits: 8,000 to train with, 2,000 held back; pictures [n, 1, 28, 28].

    A sample of MNIST (LeCun et al., Proceedings of the IEEE 86, 1998).

    Example:
        >>> (images, labels), test = data.digits()
        >>> len(images), len(test.images)
        (8000, 2000)
    """
    file = resources.files("tinygraph").joinpath("datasets/mnist10k.npz")
    with file.open("rb") as f, np.load(f) as stored:
        order = np.random.default_rng(0).permutation(10_000)
        images = pictures(stored["x"][order])
        labels = stored["y"][order].astype(np.int32)
    return Labelled(images[:8000], labels[:8000]), Labelled(images[8000:], labels[8000:])


@numeric
def king_james(characters: int = 999_863) -> Text:
    """The first characters of the embedded King James Version, a verse a line.

    90 % are for training, the next 5 % for choosing settings, the last 5 % are held back.

    Args:
        characters: from 20 to all of them, 999,863.

    Raises:
        ValueError: fewer or more.

    Example:
        >>> [len(part) for part in data.king_james(1000)[:3]]
        [900, 50, 50]
    """
    file = resources.files("tinygraph").joinpath("datasets/kjv1m.txt.gz")
    text = gzip.decompress(file.read_bytes())
    if not 20 <= characters <= len(text):
        raise ValueError(f"the embedded text has 20 to {len(text):,} characters, got {characters}")
    alphabet, symbols = np.unique(np.frombuffer(text, np.uint8, characters), return_inverse=True)
    ends = characters * 90 // 100, characters * 95 // 100
    training, choosing, held_back = np.split(symbols.astype(np.int32), ends)
    return Text(training, choosing, held_back, alphabet.tobytes().decode("ascii"))
