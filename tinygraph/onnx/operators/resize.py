"""Images of other sizes: each axis is read at places between its pixels, by tables of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from .rules import Applied, number, rule

LINEAR, CUBIC = "linear", "cubic"
NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@rule("Upsample")
def upsample(c: Applied) -> Node:
    x = c.x(0)
    scales = c.option("scales", 1)
    if scales is None:
        scales = (1.0, 1.0, c.attr("height_scale"), c.attr("width_scale"))
    for axis, scale in enumerate(_listed(c, x, scales)):
        x = _resized(c, x, axis, scale, int(x.shape[axis] * scale) if scale != 1 else None, None)
    return x


@rule("Resize")
def resize(c: Applied) -> Node:
    x = c.x(0)
    if c.node.since < 11:  # opset 10: x and scales
        for axis, scale in enumerate(_listed(c, x, c.option("scales", 1))):
            x = _resized(
                c, x, axis, scale, int(x.shape[axis] * scale) if scale != 1 else None, None
            )
        return x
    axes = c.normal_axes(c.attr("axes") or tuple(range(x.ndim)), x.ndim)
    roi = _roi(c, len(axes))
    wanted = _wanted(c, x, axes)
    outside: Any = None
    for axis, (scale, size), region in zip(axes, wanted, roi, strict=True):
        if region is not None and region != (0.0, 1.0):
            beyond = _beyond(_size(c, x, axis), scale, size, region)
            mask = constant(beyond.reshape([-1 if a == axis else 1 for a in range(x.ndim)]))
            outside = mask if outside is None else ops.logical_or(outside, mask)
        x = _resized(c, x, axis, scale, size, region)
    return x if outside is None else ops.where(outside, c.attr("extrapolation_value", 0.0), x)


def _listed(c: Applied, x: Node, scales: Any) -> tuple[float, ...]:
    if scales is None or len(scales) != x.ndim:
        raise c.fault(f"requires a scale for each axis of {x.type}, got {scales}")
    if not all(0 < s < 1e6 for s in scales):
        raise c.fault(f"requires scales above 0, got {scales}")
    return tuple(scales)


def _roi(c: Applied, count: int) -> list[tuple[float, float] | None]:
    """The region of each axis that is read, from 0 to 1; None: all."""
    if c.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return [None] * count
    given = c.sizes(1, "a roi")
    if len(given) != 2 * count:
        raise c.fault(f"requires a roi of {2 * count} numbers, got {len(given)}")
    return [(float(a), float(b)) for a, b in zip(given[:count], given[count:], strict=True)]


def _wanted(c: Applied, x: Node, axes: tuple[int, ...]) -> list[tuple[float, int | None]]:
    """(scale, new size) of each axis; None for the size: it stays."""
    scales = c.known_value(c.value(2)) if c.has(2) else None
    if c.has(2) and scales is None:
        c.known(2, "scales")
    if scales is not None and scales.size:
        given = [float(s) for s in scales.reshape(-1)]
        if len(given) != len(axes) or not all(0 < s < 1e6 for s in given):
            raise c.fault(f"requires a scale above 0 for each of {len(axes)} axes, got {given}")
        return [
            (s, None if s == 1 else int(np.floor(_size(c, x, a) * s)))
            for s, a in zip(given, axes, strict=True)
        ]
    sizes = c.sizes(3, "sizes")
    if len(sizes) != len(axes):
        raise c.fault(f"requires a size for each of {len(axes)} axes, got {list(sizes)}")
    if (policy := c.attr("keep_aspect_ratio_policy", "stretch")) != "stretch":
        ratios = [n / _size(c, x, a) for n, a in zip(sizes, axes, strict=True)]
        scale = min(ratios) if policy == "not_larger" else max(ratios)
        return [(scale, int(np.floor(scale * x.shape[a] + 0.5))) for a in axes]
    return [
        (1.0, None) if n == x.shape[a] else (n / _size(c, x, a), n)
        for n, a in zip(sizes, axes, strict=True)
    ]


def _size(c: Applied, x: Node, axis: int) -> int:
    n = x.shape[axis]
    if not number(n) or n == 0:
        raise c.fault(f"requires a known size of axis {axis} of {x.type}")
    return n


def _places(
    way: str, n: int, scale: float, size: int, region: tuple[float, float] | None
) -> np.ndarray:
    """Where the new pixels are between the old ones."""
    x = np.arange(size, dtype=np.float64)
    wide = scale * n
    if region is not None:
        first, last = region
        if size == 1:
            return np.full(1, (last + first) * (n - 1) / 2)
        return first * (n - 1) + x * (last - first) * (n - 1) / (wide - 1)
    if way == "asymmetric":
        return x / scale
    if way == "align_corners":
        return x * 0 if wide == 1 else x * (n - 1) / (wide - 1)
    if way == "pytorch_half_pixel" and wide == 1:
        return np.full(size, -0.5)
    if way == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    shift = n / 2 * (1 - size / wide) if way == "half_pixel_symmetric" else 0.0
    return shift + (x + 0.5) / scale - 0.5


WAYS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_half_pixel_for_nn", "tf_crop_and_resize")  # fmt: skip


def _beyond(n: int, scale: float, size: int | None, region: tuple[float, float]) -> np.ndarray:
    """Which new pixels are outside of the image."""
    at = _places("", n, scale, n if size is None else size, region)
    return (at < 0) | (at > n - 1)


def _resized(
    c: Applied, x: Node, axis: int, scale: float, size: int | None,
    region: tuple[float, float] | None,
) -> Node:  # fmt: skip
    """x with another size along one axis."""
    if size is None and (region is None or region == (0.0, 1.0)):
        return x
    n = _size(c, x, axis)
    size = n if size is None else size
    old = c.node.since < 11
    way = c.attr("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    if way not in WAYS:
        raise c.fault(f"has no coordinate_transformation_mode {way!r}")
    at = _places(way, n, scale, size, region)
    mode = c.attr("mode", "nearest")
    if mode == "nearest":
        near = c.attr("nearest_mode", "floor" if old else "round_prefer_floor")
        if near not in NEAREST:
            raise c.fault(f"has no nearest_mode {near!r}")
        return _repeated(x, axis, np.clip(NEAREST[near](at), 0, n - 1).astype(np.int64))
    if mode not in (LINEAR, CUBIC):
        raise c.fault(f"has no mode {mode!r}")
    first = np.ceil(at) - 1  # the pixel before
    offsets, weights = _weights(
        at - first, mode, scale if c.attr("antialias", 0) else 1.0, c.attr("cubic_coeff_a", -0.75)
    )
    taps = first[:, None].astype(np.int64) + offsets
    if c.attr("exclude_outside", 0):
        weights = np.where((taps < 0) | (taps >= n), 0, weights)
        weights = weights / weights.sum(1, keepdims=True)
    return resampled(x, axis, np.clip(taps, 0, n - 1), weights)


def _weights(t: np.ndarray, mode: str, scale: float, a: float) -> tuple[np.ndarray, np.ndarray]:
    """(offsets of the taps, their weights [places, taps]) for places t in (0, 1] after a pixel.

    A scale below 1 makes the kernel wider, so that it takes the mean of what falls away.
    """
    scale, reach = min(scale, 1.0), 1 if mode == LINEAR else 2
    start = int(np.floor(-reach / scale) + 1)
    offsets = np.arange(start, 2 - start if mode == CUBIC else start + 2 - 2 * start)
    s = np.abs(offsets - t[:, None]) * scale
    if mode == LINEAR:
        weights = np.clip(1 - s, 0, 1)
    else:
        near = ((a + 2) * s - (a + 3)) * s * s + 1
        far = ((a * s - 5 * a) * s + 8 * a) * s - 4 * a
        weights = np.where(s <= 1, near, np.where(s < 2, far, 0))
    return offsets, weights / weights.sum(1, keepdims=True)


def resampled(x: Node, axis: int, taps: np.ndarray, weights: np.ndarray) -> Node:
    """Sums of pixels along one axis: ``taps`` [new, k] and their weights."""
    shape = tuple(-1 if a == axis else 1 for a in range(x.ndim))
    total: Any = None
    for at, share in zip(taps.T, weights.T, strict=True):
        if not share.any():
            continue
        part = ops.take(x, at, axis) * constant(share.reshape(shape), x.dtype)
        total = part if total is None else total + part
    return total


def _repeated(x: Node, axis: int, places: np.ndarray) -> Node:
    """Pixels along one axis; all as often as each other need no index."""
    n, size = x.shape[axis], places.size
    if size % n == 0 and (places == np.arange(size) // (size // n)).all():
        times = size // n
        apart = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
        wide = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        y = ops.broadcast_to(ops.reshape(x, apart), wide)
        return ops.reshape(y, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    return ops.take(x, places, axis)
