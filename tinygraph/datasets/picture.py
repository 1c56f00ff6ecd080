"""Picture files of single digits, brought to the form of MNIST's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BOX, SIDE = 20, 28  # pixels of the digit's longer side, and of the picture
MOST = 50_000_000  # pixels of a file: a small one can stand for gigabytes


def read_digit(path: str | Path) -> np.ndarray:
    """A picture file with one digit in it, as float32 [1, 28, 28] in 0..1.

    Any size and colours do, dark on light or light on dark; what is transparent shows white.

    Args:
        path: of a file that Pillow reads.

    Raises:
        ImportError: Pillow is not installed.
        OSError: there is no such file, or it is not a picture.
        ValueError: the picture shows nothing, or has more than ``MOST`` pixels.

    Example:
        >>> data.read_digit("gone.png")
        Traceback (most recent call last):
        ...
        FileNotFoundError: [Errno 2] No such file or directory: 'gone.png'
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "reading pictures requires Pillow: python -m pip install pillow"
        ) from None

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > MOST:
                raise ValueError(f"{path}: {width} x {height} pixels are more than {MOST:,}")
            colours = picture.convert("RGBA")
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from None
    paper = Image.new("RGBA", colours.size, "white")
    grey = Image.alpha_composite(paper, colours).convert("L")
    try:
        return as_digit(np.asarray(grey))[None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def as_digit(grey: np.ndarray) -> np.ndarray:
    """One digit in uint8 [height, width] as MNIST has it: float32 [28, 28], 0 paper, 1 ink.

    Ink is what differs from the median of the border. The box around it is scaled to 20 pixels on
    its longer side, and its centre of mass put in the middle (yann.lecun.com/exdb/mnist).

    Args:
        grey: the picture.

    Raises:
        ValueError: there is no ink.

    Example:
        >>> paper = np.full((60, 40), 255, np.uint8)
        >>> paper[10:50, 18:22] = 0
        >>> data.as_digit(paper).shape
        (28, 28)
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey.astype(np.float32) - np.median(border).astype(np.float32))
    strongest = ink.max(initial=0)
    if strongest < 32:
        raise ValueError("the picture shows no digit: it is of nearly one shade")
    ink = np.clip(
        (ink / strongest - 0.1) / 0.8, 0, 1
    )  # the paper's shades become 0, uneven ink 1
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = _scaled(ink, BOX / max(ink.shape))
    return _centred(ink / ink.max())  # thin lines faded


def _scaled(ink: np.ndarray, factor: float) -> np.ndarray:
    """Resized: each new pixel is the mean of what it covers."""
    height, width = (max(1, round(n * factor)) for n in ink.shape)
    return _cover(ink.shape[0], height) @ ink @ _cover(ink.shape[1], width).T


def _cover(old: int, new: int) -> np.ndarray:
    """The part that each of ``old`` pixels has in each of ``new`` ones, float32 [new, old]."""
    edges = np.arange(new + 1)[:, None] * (old / new)
    before = np.clip(edges - np.arange(old), 0, 1)  # of each old pixel, up to an edge
    return (np.diff(before, axis=0) * (new / old)).astype(np.float32)


def _centred(ink: np.ndarray) -> np.ndarray:
    """Placed with its centre of mass at pixel (14, 14), as far as it fits."""
    start = []
    for axis in (0, 1):
        mass = ink.sum(axis=1 - axis)
        centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
        start.append(min(max(round(SIDE / 2 - centre), 0), SIDE - len(mass)))
    y, x = start
    picture = np.zeros((SIDE, SIDE), np.float32)
    picture[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    return picture
