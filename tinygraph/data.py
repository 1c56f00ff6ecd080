"""Data in NumPy arrays: embedded digits and text, IDX files, batches, random warps of pictures.

Everything random follows from (seed, epoch, batch), so that a run repeats, or continues in its
middle, bit for bit.
"""

from __future__ import annotations

import gzip
import io
import math
import queue
import threading
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .datasets.picture import as_digit as as_digit
from .datasets.picture import read_digit as read_digit
from .graph import hints

T = TypeVar("T")
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


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


def pictures(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels [n, (channels,) height, width] as float32 [n, channels, height, width], 0..1."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(
            "pictures requires uint8 [n, (channels,) height, width], "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    planes = pixels if pixels.ndim == 4 else pixels[:, None]
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)


DEFLATED = 1032  # how many times smaller gzip makes a file at most
_IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _decompressed(raw: bytes) -> bytes:
    """What an IDX file's header promises, and a byte more if there is any: a small file can stand
    for gigabytes.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        head = file.read(4 + 4 * 255)
        if len(head) < 4 or head[2] not in _IDX_DTYPES or len(head) < 4 + 4 * head[3]:
            return head
        shape = [int(n) for n in np.frombuffer(head, ">u4", head[3], 4)]
        size = math.prod(shape) * np.dtype(_IDX_DTYPES[head[2]]).itemsize
        if size > DEFLATED * len(raw):
            return head
        return head + file.read(max(4 + 4 * head[3] + size + 1 - len(head), 0))


def load_idx(path: str | Path) -> np.ndarray:
    """The array of an IDX file (MNIST's format: yann.lecun.com/exdb/mnist), gzipped or not.

    Raises:
        ValueError: the file is not an IDX file, is cut short, or continues after its data.
    """
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = _decompressed(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is not an IDX file: it starts with {raw[:4]!r}")
    dtype, rank = np.dtype(_IDX_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"{path} ends within its header of {start} bytes")
    shape = [int(n) for n in np.frombuffer(raw, ">u4", rank, 4)]
    size = math.prod(shape) * dtype.itemsize
    if len(raw) != start + size:
        raise ValueError(
            f"{path} says {dtype.name} {shape}, {size} bytes, but holds {len(raw) - start}"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


class Batches:
    """Arrays of equal length cut into batches, in an order that depends on (seed, epoch) only.

    Args:
        arrays: one or more arrays with the examples along their first axis.
        batch_size: examples in a batch.
        shuffle: a new order every epoch; False keeps the arrays' order.
        last: what becomes of an incomplete last batch: 'drop' it, 'keep' it as it is, or 'pad' it
            with the epoch's first examples.
        transform: (examples of the first array, random generator) -> examples, such as
            ``RandomAffine()``.
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
            raise ValueError(
                f"Batches requires arrays of one length, got {[len(a) for a in arrays]}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is positive, got {batch_size}")
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
        """The batches of an epoch from ``start`` on, prepared ahead by a background thread."""
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


def prefetch(items: Iterable[T], ahead: int = 2) -> Generator[T, None, None]:
    """The items in order, made up to ``ahead`` early by a background thread.

    An exception in that thread is raised here; leaving the loop early stops the thread.
    """
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
        except BaseException as error:  # raised again in the consumer's thread
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
    """Small random shifts, rotations, scales and shears of each picture, with zeros around it.

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
        """n random maps [n, 2, 3] for ``warp``."""
        u = rng.uniform(-1, 1, (7, n))
        angle = np.deg2rad(self.rotate) * u[0]
        size = np.exp(np.log1p(self.scale) * u[1])
        tall, wide = size * np.exp(np.log1p(self.scale / 2) * u[2:4])
        cos, sin, shear = np.cos(angle), np.sin(angle), self.shear * u[4]
        y = np.stack([cos / tall, -sin / wide, self.shift * u[5]], axis=-1)
        x = np.stack([sin / tall + shear, cos / wide, self.shift * u[6]], axis=-1)
        return np.stack([y, x], axis=1)


def warp(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Each picture [n, channels, height, width] read through its affine map [n, 2, 3], bilinear.

    A map takes an output pixel's offset from the centre, (y, x, 1), to the offset that it shows;
    outside the picture there are zeros.
    """
    n, channels, height, width = images.shape
    # One row and column of zeros before, two after: what is outside is clipped to read them.
    padded = np.pad(images, ((0, 0), (0, 0), (1, 2), (1, 2)))
    tall, wide = padded.shape[2:]
    row, fy = _source(maps[:, 0], height, width, height)
    column, fx = _source(maps[:, 1], height, width, width)
    picture = np.arange(n * channels).reshape(n, channels, 1, 1) * (tall * wide)
    index = (row * wide + column)[:, None] + picture
    fy, fx, flat = fy[:, None], fx[:, None], padded.reshape(-1)

    def tap(dy: int, dx: int) -> np.ndarray:
        return flat[dy * wide + dx :].take(index, mode="clip")  # clip: no test of each index

    top, bottom = tap(0, 0), tap(1, 0)
    top += (tap(0, 1) - top) * fx
    bottom += (tap(1, 1) - bottom) * fx
    bottom -= top
    bottom *= fy
    bottom += top
    return bottom


def _source(rows: np.ndarray, height: int, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel reads on an axis of ``size`` pixels, as a place in the padded picture.

    ``rows`` [n, 3] are the axis' rows of the maps. Returns floor and rest in 0..1,
    [n, height, width] each.
    """
    y = (np.arange(height) - (height - 1) / 2).astype(np.float32)[:, None]
    x = (np.arange(width) - (width - 1) / 2).astype(np.float32)
    a, b, c = rows.astype(np.float32).T[:, :, None, None]
    at = a * y + (c + np.float32((size + 1) / 2)) + b * x
    np.clip(at, 0, size + 1, out=at)
    low = at.astype(np.intp)
    at -= low.astype(np.float32)
    return low, at


if not TYPE_CHECKING:

    def __getattr__(name):
        hints.missing("data", name, hints.DATA, list(globals()))
