"""Pooling to a size that is given: regions follow from the image's size."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.op import ShapeError
from .convolution import pair
from .indexing import concat, getitem
from .pool import avg_pool2d
from .reduce import max as maximum_of
from .reduce import mean
from .resample import resampled_by
from .resample_tables import Table
from .view import reshape

__all__ = ("adaptive_avg_pool2d", "adaptive_max_pool2d")


def adaptive_avg_pool2d(x: Node, output_size: Any) -> Node:
    """Means of n x n regions: region i covers floor(i * H / n) to ceil((i + 1) * H / n).

    Args:
        x: [N, C, H, W].
        output_size: n, or a (vertical, horizontal) pair.

    Raises:
        ShapeError: x is no image, or the size is not positive.

    Example:
        >>> tg.adaptive_avg_pool2d(tg.zeros((1, 8, 13, 13)), 6).shape
        (1, 8, 6, 6)
    """
    if x.ndim != 4:
        raise ShapeError(f"adaptive_avg_pool2d requires x[N, C, H, W], got {x.type}")
    size, image = pair("adaptive_avg_pool2d output_size", output_size), x.shape[2:]
    if min(size) < 1:
        raise ShapeError(
            f"adaptive_avg_pool2d requires an output_size of at least 1, got {output_size}"
        )
    if size == (1, 1):
        return mean(x, (2, 3), keepdims=True)
    rows_of, columns_of = (_equal_regions(n, m) for n, m in zip(image, size, strict=True))
    if rows_of and columns_of:
        return avg_pool2d(x, (rows_of[0], columns_of[0]), (rows_of[1], columns_of[1]))
    return resampled_by(x, {2 + a: _regions(image[a], size[a]) for a in range(2)})


def adaptive_max_pool2d(x: Node, output_size: Any) -> Node:
    """Maxima of n x n regions, which are those of ``adaptive_avg_pool2d``.

    Args:
        x, output_size: see ``tg.adaptive_avg_pool2d``.

    Raises:
        ShapeError: x is no image, or the size is not positive.

    Example:
        >>> tg.adaptive_max_pool2d(tg.zeros((1, 8, 13, 13)), 6).shape
        (1, 8, 6, 6)
    """
    size = pair("adaptive_max_pool2d output_size", output_size)
    if x.ndim != 4 or min(size) < 1:
        raise ShapeError(f"adaptive_max_pool2d requires x[N, C, H, W] and an output_size of at "
                         f"least 1, got {x.type} and {output_size}")  # fmt: skip
    for axis, count in ((2, size[0]), (3, size[1])):
        n = x.shape[axis]
        if n % count == 0:
            shape = (*x.shape[:axis], count, n // count, *x.shape[axis + 1 :])
            x = maximum_of(reshape(x, shape), axis + 1)
            continue
        regions = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        before = (slice(None),) * axis
        rows = [maximum_of(getitem(x, (*before, slice(*r))), axis, True) for r in regions]
        x = concat(rows, axis)
    return x


def _equal_regions(n: Any, count: int) -> tuple[int, int] | None:
    """Length and distance of ``count`` regions of n pixels, if they are the same for all."""
    if n % count == 0:
        return n // count, n // count
    regions = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    lengths = {last - first for first, last in regions}
    steps = {b[0] - a[0] for a, b in itertools.pairwise(regions)}
    if len(lengths) > 1 or len(steps) > 1 or 0 in steps:
        return None
    return lengths.pop(), steps.pop() if steps else n


def _regions(n: int, count: int) -> Table:
    """The pixels of each of ``count`` regions of n pixels, and their weights in its mean.

    A region that is shorter than others repeats its last pixel, which shares its weight with the
    copies: pixels beyond a region have no part in it, whatever they are.
    """
    regions = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    longest = max(last - first for first, last in regions)
    index = np.zeros((count, longest), np.int32)
    weight = np.zeros((count, longest))
    for i, (first, last) in enumerate(regions):
        index[i] = np.minimum(np.arange(first, first + longest), last - 1)
        copies = longest - (last - first) + 1
        weight[i] = 1 / (last - first)
        weight[i, last - first - 1 :] /= copies
    return Table(index, weight)
