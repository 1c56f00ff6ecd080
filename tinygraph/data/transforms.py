"""Random changes of a batch: each sees all of its arrays, and lists of them compose.

    Batches(images, masks, batch_size=16, transform=[RandomFlip(arrays=(0, 1)), GaussianNoise(0.1)])

A transform is any function (arrays of a batch, random generator) -> arrays. Pictures are float
[n, channels, height, width]; what is said of one holds for all arrays that ``arrays`` numbers: an
image and its mask move together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.numeric import numeric
from .warp import warp

Arrays = Sequence[np.ndarray]
Transform = Callable[[Arrays, np.random.Generator], Arrays]


@dataclass(frozen=True, kw_only=True)
class PictureTransform:
    """The base of those that change pictures: what is drawn once is applied to each array.

    Args:
        arrays: the numbers of the batch's arrays that are changed, in the same way.
    """

    arrays: tuple[int, ...] = (0,)

    def __call__(self, batch: Arrays, rng: np.random.Generator) -> Arrays:
        """The batch, with new arrays in the place of those that change."""
        made = list(batch)
        drawn = self.draw(np.shape(batch[self.arrays[0]]), rng)
        for k in self.arrays:
            if np.ndim(batch[k]) != 4 or len(batch[k]) != len(batch[self.arrays[0]]):
                raise ValueError(
                    f"{type(self).__name__} requires pictures [n, channels, height, width], as "
                    f"array {k} it got {list(np.shape(batch[k]))}"
                )
            made[k] = self.apply(np.asarray(batch[k]), drawn)
        return made

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        """What is random, for pictures of this shape."""
        raise NotImplementedError

    def apply(self, images: np.ndarray, drawn: Any) -> np.ndarray:
        """Changed copies of pictures."""
        raise NotImplementedError


@numeric
@dataclass(frozen=True)
class RandomAffine(PictureTransform):
    """Small random shifts, rotations, scales and shears of each picture, with zeros around it.

    Args:
        shift: largest shift along each axis, pixels.
        rotate: largest rotation, degrees.
        scale: largest relative change of size, each axis on its own by half of it.
        shear: largest horizontal shear, pixels a pixel: the slant of handwriting.
        arrays: the numbers of the batch's arrays that are warped, in the same way.

    Example:
        >>> batch = [np.ones((2, 1, 28, 28), np.float32), np.array([3, 7])]
        >>> images, labels = data.RandomAffine(shift=2)(batch, np.random.default_rng(0))
        >>> images.shape, labels
        ((2, 1, 28, 28), array([3, 7]))
    """

    shift: float = 2.0
    rotate: float = 10.0
    scale: float = 0.1
    shear: float = 0.1

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Random maps [n, 2, 3] for ``warp``."""
        u = rng.uniform(-1, 1, (7, shape[0]))
        angle = np.deg2rad(self.rotate) * u[0]
        size = np.exp(np.log1p(self.scale) * u[1])
        tall, wide = size * np.exp(np.log1p(self.scale / 2) * u[2:4])
        cos, sin, shear = np.cos(angle), np.sin(angle), self.shear * u[4]
        y = np.stack([cos / tall, -sin / wide, self.shift * u[5]], axis=-1)
        x = np.stack([sin / tall + shear, cos / wide, self.shift * u[6]], axis=-1)
        return np.stack([y, x], axis=1)

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Warped copies of float32 pictures, bilinear."""
        return warp(images, drawn)


@numeric
@dataclass(frozen=True)
class RandomFlip(PictureTransform):
    """Pictures that are mirrored along an axis, each with a probability.

    Args:
        probability: of each picture.
        axis: 3, left and right, or 2, up and down.
        arrays: the numbers of the batch's arrays that are flipped, in the same way.

    Example:
        >>> flip = data.RandomFlip(probability=1)
        >>> flip([np.arange(3.0).reshape(1, 1, 1, 3)], np.random.default_rng(0))[0]
        array([[[[2., 1., 0.]]]])
    """

    probability: float = 0.5
    axis: int = 3

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Whether each picture is flipped, [n]."""
        return rng.random(shape[0]) < self.probability

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Copies, some of them mirrored."""
        return np.where(drawn[:, None, None, None], np.flip(images, self.axis), images)


@numeric
@dataclass(frozen=True)
class RandomCrop(PictureTransform):
    """A random part of each picture, after zeros were put around it.

    Args:
        size: height and width of the part, pixels; None: those of the picture.
        padding: rows and columns of zeros at each edge.
        arrays: the numbers of the batch's arrays that are cropped, in the same way.

    Raises:
        ValueError: when called with pictures that are smaller, padding included.

    Example:
        >>> crop = data.RandomCrop((24, 24), padding=2)
        >>> crop([np.ones((5, 3, 28, 28))], np.random.default_rng(0))[0].shape
        (5, 3, 24, 24)
    """

    size: tuple[int, int] | None = None
    padding: int = 0

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """The first row and column of each part, [2, n]."""
        size = self.size or shape[2:]
        room = [n + 2 * self.padding - k for n, k in zip(shape[2:], size, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"RandomCrop of {list(size)} with padding {self.padding} requires larger pictures, "
                f"got {list(shape)}"
            )
        return np.stack([rng.integers(0, r + 1, shape[0]) for r in room])

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """The parts."""
        height, width = self.size or images.shape[2:]
        edge = (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), (0, 0), edge, edge))
        made = np.empty((*images.shape[:2], height, width), images.dtype)
        for new, old, y, x in zip(made, padded, *drawn, strict=True):
            new[...] = old[:, y : y + height, x : x + width]
        return made


@numeric
@dataclass(frozen=True)
class Cutout(PictureTransform):
    """A square of zeros at a random place of each picture (DeVries and Taylor, 2017).

    Its centre is anywhere in the picture, so that a part of it may be outside.

    Args:
        size: of the square, pixels.
        arrays: the numbers of the batch's arrays that get it, at the same place.

    Example:
        >>> float(data.Cutout(28 * 2)([np.ones((1, 1, 28, 28))], np.random.default_rng(0))[0].sum())
        0.0
    """

    size: int = 8

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """The first row and column of each square, [2, n]; they may be outside."""
        return np.stack([rng.integers(0, n, shape[0]) - self.size // 2 for n in shape[2:]])

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Copies with squares of zeros."""
        rows, columns = (
            (np.arange(n) >= at[:, None]) & (np.arange(n) < at[:, None] + self.size)
            for n, at in zip(images.shape[2:], drawn, strict=True)
        )
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return np.where(inside, images.dtype.type(0), images)


@numeric
@dataclass(frozen=True)
class GaussianNoise(PictureTransform):
    """Normal numbers added to every pixel.

    Args:
        deviation: their standard deviation, in the unit of the pixels.
        arrays: the numbers of the batch's arrays that get the same noise.

    Example:
        >>> batch = [np.ones((1, 1, 1, 2), np.float32)]
        >>> data.GaussianNoise(0.0)(batch, np.random.default_rng(0))[0]
        array([[[[1., 1.]]]], dtype=float32)
    """

    deviation: float = 0.1

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """The numbers, float32."""
        return rng.standard_normal(shape, np.float32) * np.float32(self.deviation)

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Sums, in the pictures' dtype."""
        return images + drawn.astype(images.dtype)


@numeric
@dataclass(frozen=True)
class ColorJitter(PictureTransform):
    """Brightness, contrast and saturation changed at random, each picture by factors of its own.

    A factor is between 1 - x and 1 + x. Contrast is around the picture's mean grey, saturation
    around each pixel's grey, with the weights of ITU-R BT.601.

    Args:
        brightness, contrast, saturation: the x of each.
        arrays: the numbers of the batch's arrays that are changed, in the same way; pictures
            [n, 3, height, width] of red, green and blue.

    Raises:
        ValueError: when called with pictures that have not three channels.

    Example:
        >>> batch = [np.full((1, 3, 1, 1), 0.5)]
        >>> data.ColorJitter(0, 0, 0)(batch, np.random.default_rng(0))[0].ravel()
        array([0.5, 0.5, 0.5])
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """The three factors of each picture, [3, n, 1, 1, 1]."""
        if shape[1] != 3:
            raise ValueError(f"ColorJitter requires three channels, got {list(shape)}")
        strengths = np.array([self.brightness, self.contrast, self.saturation])
        factors = 1 + strengths[:, None] * rng.uniform(-1, 1, (3, shape[0]))
        return factors[:, :, None, None, None]

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Changed copies, not clipped."""
        brightness, contrast, saturation = drawn.astype(images.dtype)
        weights = np.array([0.299, 0.587, 0.114], images.dtype)[:, None, None]
        changed = images * brightness
        mean = (changed * weights).sum(axis=1, keepdims=True).mean(axis=(2, 3), keepdims=True)
        changed = mean + (changed - mean) * contrast
        grey = (changed * weights).sum(axis=1, keepdims=True)
        return grey + (changed - grey) * saturation


@numeric
@dataclass(frozen=True)
class Mixup:
    """Each example mixed with another of the batch, targets too (Zhang et al., ICLR 2018).

    The first array and the last, the targets, become lam * own + (1 - lam) * other's, with one lam
    from Beta(alpha, alpha) for each example. Labels, integers [n], become rows of weights
    [n, classes] for ``nn.cross_entropy``.

    Args:
        alpha: the larger, the more alike are the two parts; positive.
        classes: of the labels; None if targets are floats.

    Raises:
        ValueError: when called with integer targets, and no number of classes.

    Example:
        >>> batch = [np.ones((2, 4)), np.array([0, 2])]
        >>> x, y = data.Mixup(0.2, classes=3)(batch, np.random.default_rng(0))
        >>> y.shape, float(y.sum())
        ((2, 3), 2.0)
    """

    alpha: float = 0.2
    classes: int | None = None

    def __call__(self, batch: Arrays, rng: np.random.Generator) -> Arrays:
        """The mixed batch."""
        x, *between, targets = (np.asarray(a) for a in batch)
        if targets.dtype.kind in "iu":
            if self.classes is None:
                raise ValueError("Mixup of labels makes weights of classes: Mixup(classes=...)")
            targets = np.eye(self.classes, dtype=np.float32)[targets]
        part, other = rng.beta(self.alpha, self.alpha, len(x)), rng.permutation(len(x))
        return [_mixed(x, part, other), *between, _mixed(targets, part, other)]


def _mixed(x: np.ndarray, part: np.ndarray, other: np.ndarray) -> np.ndarray:
    own = part.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return x * own + x[other] * (1 - own)
