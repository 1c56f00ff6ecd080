"""Which elements an interpolated one is made of, and how much of each: tables for one axis.

The coordinates are those of ONNX's operator Resize, which has names for what other libraries do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

COORDINATES = (
    "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Table:
    """Places in the input and their weights, both [size of the result, number of places]."""

    index: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Grid:
    """``new`` results over ``old`` elements, ``scale`` of them to one."""

    old: int
    new: int
    scale: float
    coordinates: str
    region: tuple[float, float] = (0.0, 1.0)

    @property
    def crops(self) -> bool:
        return self.coordinates == "tf_crop_and_resize"

    def places(self) -> np.ndarray:
        """Where each result is in the input, as a float: element i is at i."""
        i, last = np.arange(self.new, dtype=np.float64), self.old - 1
        match self.coordinates:
            case "align_corners":
                size = self.new if self.scale == self.new / self.old else self.scale * self.old
                return i * (last / (size - 1)) if size > 1 else i * 0
            case "asymmetric":
                return i / self.scale
            case "tf_half_pixel_for_nn":
                return (i + 0.5) / self.scale
            case "pytorch_half_pixel" if self.new == 1:
                return i * 0
            case "half_pixel_symmetric":
                shift = self.old / 2 * (1 - self.new / (self.scale * self.old))
                return shift + (i + 0.5) / self.scale - 0.5
            case "tf_crop_and_resize":
                begin, end = self.region
                if self.new == 1:
                    return i + 0.5 * (begin + end) * last
                return begin * last + i * (end - begin) * last / (self.new - 1)
        return (i + 0.5) / self.scale - 0.5

    def beyond(self, places: np.ndarray) -> np.ndarray:
        """Which results are outside of the input."""
        return (places < 0) | (places > self.old - 1)


def nearest(places: np.ndarray, old: int, rounding: str) -> np.ndarray:
    """The elements that are nearest."""
    match rounding:
        case "round_prefer_floor":
            found = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            found = np.floor(places + 0.5)
        case "floor":
            found = np.floor(places)
        case _:
            found = np.ceil(places)
    return np.clip(found, 0, old - 1).astype(np.int64)


def weighted(
    grid: Grid, places: np.ndarray, mode: str, cubic: float, exclude: bool, antialias: bool
) -> Table:
    """The elements within the filter's reach, with weights whose sum is 1."""
    reach = 1 if mode == "linear" else 2
    shrink = min(grid.scale, 1.0) if antialias else 1.0
    first = math.floor(-reach / shrink) + 1
    offsets = np.arange(first, reach + 1 - first - (reach - 1))
    base = np.floor(places)
    index = base[:, None] + offsets
    distance = np.abs(index - places[:, None]) * shrink
    weight = np.maximum(1 - distance, 0) if mode == "linear" else _keys(distance, cubic)
    if exclude:
        weight = np.where((index < 0) | (index >= grid.old), 0, weight)
    if exclude or antialias:
        weight = weight / weight.sum(1, keepdims=True)
    return Table(np.clip(index, 0, grid.old - 1).astype(np.int32), weight)


def _keys(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel at distances d (Keys, IEEE ASSP 29, 1981, equation 15)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def transposed(table: Table, old: int) -> Table:
    """For each element of the input, the results that it is part of; weights of 0 fill rows up."""
    outputs, taps = table.index.shape
    order = np.argsort(table.index, axis=None, kind="stable")
    owner = table.index.reshape(-1)[order]
    counts = np.bincount(owner, minlength=old)
    number = np.arange(outputs * taps) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(1, int(counts.max(initial=0)))
    result = order // taps
    firsts = np.zeros(old, np.int64)
    firsts[owner[::-1]] = result[::-1]
    index = np.repeat(firsts[:, None], width, 1)
    weight = np.zeros((old, width), table.weight.dtype)
    index[owner, number] = result
    weight[owner, number] = table.weight.reshape(-1)[order]
    return Table(index.astype(np.int32), weight)
