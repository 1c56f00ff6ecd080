"""Pictures through affine maps."""

from __future__ import annotations

import numpy as np


def warp(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Each picture [n, channels, height, width] read through its affine map [n, 2, 3], bilinear.

    A map takes an output pixel's offset from the centre, (y, x, 1), to the offset that it shows;
    outside the picture there are zeros.

    Args:
        images: float32.
        maps: rows of y and x.

    Example:
        >>> left = np.array([[[1, 0, 0], [0, 1, 1]]])      # each pixel shows its right neighbour
        >>> data.warp(np.array([[[[1, 2, 3]]]], np.float32), left)
        array([[[[2., 3., 0.]]]], dtype=float32)
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
