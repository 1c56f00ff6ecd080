"""Images of other sizes: what Resize and Upsample say, for ``ops.resize``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from .rules import Applied, number, rule

Wanted = tuple[float, int | None]  # the scale of an axis, and its new size; None: it stays


@rule("Upsample")
def upsample(c: Applied) -> Node:
    scales = c.option("scales", 1)
    if scales is None:
        scales = (1.0, 1.0, c.attr("height_scale"), c.attr("width_scale"))
    return _asymmetric(c, scales)


@rule("Resize")
def resize(c: Applied) -> Node:
    if c.node.since < 11:  # opset 10 has x and scales
        return _asymmetric(c, c.option("scales", 1))
    x = c.x(0)
    axes = c.normal_axes(c.attr("axes") or tuple(range(x.ndim)), x.ndim)
    regions = _regions(c, len(axes))
    wanted = _wanted(c, x, axes)
    return _resized(c, x, axes, wanted, regions)


def _asymmetric(c: Applied, scales: Any) -> Node:
    x = c.x(0)
    if scales is None or len(scales) != x.ndim:
        raise c.fault(f"requires a scale for each axis of {x.type}, got {scales}")
    return _resized(c, x, tuple(range(x.ndim)), _scaled(c, x, range(x.ndim), scales), None)


def _resized(
    c: Applied, x: Node, axes: tuple[int, ...], wanted: list[Wanted], regions: Any
) -> Node:
    """Only the axes that change are resampled."""
    whole = (0.0, 1.0)
    moving = [
        k for k in range(len(axes)) if wanted[k][1] is not None or (regions and regions[k] != whole)
    ]
    if not moving:
        return x
    old = c.node.since < 11
    size = [w if (w := wanted[k][1]) is not None else _size(c, x, axes[k]) for k in moving]
    c.walk.check_size(c.node, (*size, *(n for a, n in enumerate(x.shape) if a not in axes)))
    return ops.resize(
        x,
        size,
        [axes[k] for k in moving],
        mode=c.attr("mode", "nearest"),
        coordinates=c.attr("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"),
        scale=[wanted[k][0] for k in moving],
        rounding=c.attr("nearest_mode", "floor" if old else "round_prefer_floor"),
        cubic=c.attr("cubic_coeff_a", -0.75),
        exclude_outside=bool(c.attr("exclude_outside", 0)),
        antialias=bool(c.attr("antialias", 0)),
        region=[regions[k] for k in moving] if regions else None,
        outside=c.attr("extrapolation_value", 0.0),
    )


def _scaled(c: Applied, x: Node, axes: Any, scales: Any) -> list[Wanted]:
    given = [float(s) for s in scales]
    if len(given) != len(axes) or not all(0 < s < 1e6 for s in given):
        raise c.fault(f"requires a scale above 0 for each of {len(axes)} axes, got {given}")
    return [
        (s, None if s == 1 else int(np.floor(_size(c, x, a) * s)))
        for s, a in zip(given, axes, strict=True)
    ]


def _regions(c: Applied, count: int) -> list[tuple[float, float]] | None:
    """The region of each axis that is read, from 0 to 1; None: all."""
    if c.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return None
    given = c.sizes(1, "a roi")
    if len(given) != 2 * count:
        raise c.fault(f"requires a roi of {2 * count} numbers, got {len(given)}")
    return [(float(a), float(b)) for a, b in zip(given[:count], given[count:], strict=True)]


def _wanted(c: Applied, x: Node, axes: tuple[int, ...]) -> list[Wanted]:
    """(scale, new size) of each axis; None for the size: it stays."""
    scales = c.known_value(c.value(2)) if c.has(2) else None
    if c.has(2) and scales is None:
        c.known(2, "scales")
    if scales is not None and scales.size:
        return _scaled(c, x, axes, scales.reshape(-1))
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
