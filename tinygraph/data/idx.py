"""IDX files, MNIST's format, and their pixels as pictures."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np


def pictures(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels [n, (channels,) height, width] as float32 [n, channels, height, width], 0..1.

    Args:
        pixels: of ``load_idx``, for example.

    Raises:
        ValueError: another dtype or number of axes.

    Example:
        >>> data.pictures(np.full((2, 28, 28), 255, np.uint8)).shape
        (2, 1, 28, 28)
    """
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

    Args:
        path: of the file.

    Raises:
        ValueError: the file is not an IDX file, is cut short, or continues after its data.

    Example:
        >>> with open("labels", "wb") as file:
        ...     file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        11
        >>> data.load_idx("labels")
        array([7, 2, 1], dtype=uint8)
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
