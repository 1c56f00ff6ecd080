"""Pictures without a library: arrays side by side, written as PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FOLDER = Path("pictures")  # where the examples put theirs


def tiles(
    images: Sequence[np.ndarray] | np.ndarray, columns: int, zoom: int = 1, gap: int = 2
) -> np.ndarray:
    """Images [height, width] in rows of ``columns``, each stretched to 0..1, on white."""
    height, width = (max(n) + gap for n in zip(*(i.shape for i in images), strict=True))
    page = np.ones((-(-len(images) // columns) * height, columns * width))
    for k, image in enumerate(images):
        y, x = k // columns * height, k % columns * width
        shade = (image - image.min()) / (np.ptp(image) or 1)
        page[y : y + image.shape[0], x : x + image.shape[1]] = shade
    return page.repeat(zoom, 0).repeat(zoom, 1)


def save(path: Path, image: np.ndarray) -> Path:
    """Writes an image [height, width], 0 black and 1 white, as a grey PNG (RFC 2083)."""
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", *pixels.shape[::-1], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks))
    print(f"picture: {path}")
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
