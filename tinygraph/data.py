"""Data in NumPy arrays: the embedded digits, IDX files, batches, and small random warps of pictures.

Everything random follows from (seed, epoch, batch), so that a run repeats, or continues in its middle, bit for bit.
"""

from __future__ import annotations

import gzip
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Labelled(NamedTuple):
    """Pictures float32 [n, channels, height, width] in 0..1 and their labels int32 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __getitem__(self, key: Any) -> Any:
        """A slice takes examples; a number the field, as in every tuple."""
        return Labelled(self.images[key], self.labels[key]) if isinstance(key, slice) else tuple(self)[key]


def digits() -> tuple[Labelled, Labelled]:
    """The embedded MNIST digits: 8,000 to train with and 2,000 held back, pictures [n, 1, 28, 28]."""
    with resources.files("tinygraph").joinpath("datasets/mnist10k.npz").open("rb") as f, np.load(f) as stored:
        order = np.random.default_rng(0).permutation(10_000)
        images = pictures(stored["x"][order])
        labels = stored["y"][order].astype(np.int32)
    return Labelled(images[:8000], labels[:8000]), Labelled(images[8000:], labels[8000:])


def pictures(pixels: np.ndarray) -> np.ndarray:
    """uint8 pictures [n, height, width] or [n, channels, height, width] as float32 [n, channels, height, width] in 0..1."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(f"pictures are uint8 [n, (channels,) height, width], got {pixels.dtype} {pixels.shape}")
    return np.multiply(pixels if pixels.ndim == 4 else pixels[:, None], np.float32(1 / 255), dtype=np.float32)


_IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def load_idx(path: str | Path) -> np.ndarray:
    """The array of an IDX file (the format of MNIST and Fashion-MNIST), gzipped or not, in native byte order."""
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is not an IDX file: it starts with {raw[:4]!r}")
    dtype, rank = np.dtype(_IDX_DTYPES[raw[2]]), raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", rank, 4)) if len(raw) >= 4 + 4 * rank else ()
    start, size = 4 + 4 * rank, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(shape) != rank or len(raw) != start + size:
        raise ValueError(f"{path} says {dtype.name} {shape}, but holds {len(raw) - start} bytes of data instead of {size}")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


class Batches:
    """Arrays of equal length cut into batches, in an order that depends on (seed, epoch) only.

    Args:
        arrays: one or more arrays with the examples along their first axis.
        batch_size: examples in a batch.
        shuffle: a new order every epoch; False keeps the arrays' order.
        last: what becomes of an incomplete last batch: 'drop', 'pad' (filled up with the epoch's first examples) or 'keep'.
        transform: (examples of the first array, random generator) -> examples, e.g. ``RandomAffine()``.
    """

    def __init__(
        self,
        *arrays: np.ndarray,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        last: str = "drop",
        transform: Transform | None = None,
    ):
        if not arrays or len({len(a) for a in arrays}) != 1:
            raise ValueError(f"Batches requires arrays of one length, got {[len(a) for a in arrays]}")
        if last not in ("drop", "pad", "keep"):
            raise ValueError(f"last is 'drop', 'pad' or 'keep', got {last!r}")
        if last == "drop" and len(arrays[0]) < batch_size:
            raise ValueError(f"{len(arrays[0])} examples do not fill a batch of {batch_size}")
        self.arrays, self.batch_size, self.seed = arrays, batch_size, seed
        self.shuffle, self.last, self.transform = shuffle, last, transform

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.arrays[0]), self.batch_size)
        return whole + (rest > 0 and self.last != "drop")

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of an epoch, prepared one ahead in a background thread; ``start`` skips the first ones."""
        order = np.arange(len(self.arrays[0]))
        if self.shuffle:
            order = np.random.default_rng((self.seed, number)).permutation(order)
        if self.last == "pad":
            order = np.resize(order, len(self) * self.batch_size)
        return prefetch(self._batch(order, number, i) for i in range(start, len(self)))

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return self.epoch(0)

    def _batch(self, order: np.ndarray, epoch: int, i: int) -> tuple[np.ndarray, ...]:
        rows = order[i * self.batch_size : (i + 1) * self.batch_size]
        first, *others = (a[rows] for a in self.arrays)
        if self.transform is not None:
            first = self.transform(first, np.random.default_rng((self.seed, epoch, i)))
        return (first, *others)


def prefetch(items: Iterable[T], ahead: int = 2) -> Iterator[T]:
    """The items in order, made up to ``ahead`` early by a background thread; its exceptions are raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001  it is raised again in the consumer's thread
            put("error", error)

    threading.Thread(target=work, name="tinygraph prefetch", daemon=True).start()
    try:
        while (entry := ready.get())[0] == "item":
            yield entry[1]
        if entry[0] == "error":
            raise entry[1]
    finally:
        stopped.set()


@dataclass(frozen=True)
class RandomAffine:
    """Small random shifts, rotations, scales and shears of each picture, bilinear, with zeros around it.

    Args:
        shift: largest shift along each axis, pixels.
        rotate: largest rotation, degrees.
        scale: largest relative change of size, each axis on its own by half of it.
        shear: largest horizontal shear, pixels a pixel: the slant of handwriting.
    """

    shift: float = 2.0
    rotate: float = 10.0
    scale: float = 0.1
    shear: float = 0.1

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Warped copies of float32 pictures [n, channels, height, width]."""
        return warp(images, self.draw(len(images), rng))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n random maps [n, 2, 3] from output to input offsets from the centre, (y, x, 1) -> (y, x)."""
        u = rng.uniform(-1, 1, (7, n))
        angle = np.deg2rad(self.rotate) * u[0]
        size = np.exp(np.log1p(self.scale) * u[1])
        tall, wide = size * np.exp(np.log1p(self.scale / 2) * u[2:4])
        cos, sin, shear = np.cos(angle), np.sin(angle), self.shear * u[4]
        y = np.stack([cos / tall, -sin / wide, self.shift * u[5]], axis=-1)
        x = np.stack([sin / tall + shear, cos / wide, self.shift * u[6]], axis=-1)
        return np.stack([y, x], axis=1)


def warp(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Each picture [n, channels, height, width] read through its affine map [n, 2, 3], bilinear, zeros outside.

    A map takes an output pixel's offset from the centre, (y, x, 1), to the offset that it shows.
    """
    n, channels, height, width = images.shape
    tall, wide = height + 2, width + 2  # a border of zeros: clipped coordinates read it
    padded = np.zeros((n, channels, tall, wide), np.float32)
    padded[:, :, 1:-1, 1:-1] = images
    m = maps.astype(np.float32)
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2).astype(np.float32)[None, :, None]
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2).astype(np.float32)[None, None, :]

    def source(axis: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Padded coordinate along an axis: its floor, and the rest in 0..1; [n, height, width]."""
        a, b, c = (m[:, axis, k, None, None] for k in range(3))
        at = (a * y + (c + np.float32((size + 1) / 2))) + b * x
        np.clip(at, 0, np.float32(size + 1 - 1e-3), out=at)
        low = at.astype(np.int32)
        return low, np.subtract(at, low, out=at, dtype=np.float32, casting="same_kind")

    row, fy = source(0, height)
    column, fx = source(1, width)
    start = np.arange(n * channels, dtype=np.int32).reshape(n, channels, 1, 1) * (tall * wide)
    index = (row * wide + column)[:, None] + start
    fy, fx = fy[:, None], fx[:, None]
    flat = np.append(padded.reshape(-1), np.zeros(wide + 1, np.float32))

    def tap(offset: int) -> np.ndarray:
        return flat[offset:].take(index, mode="clip")

    top, bottom = tap(0), tap(wide)
    top += (tap(1) - top) * fx
    bottom += (tap(wide + 1) - bottom) * fx
    bottom -= top
    bottom *= fy
    bottom += top
    return bottom
