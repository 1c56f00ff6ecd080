"""Images read between their pixels: GridSample, RoiAlign, and images out of windows."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from ...ops.view import PAD
from .rules import Applied, rule
from .windows import numbers, paddings

CUBIC = -0.75  # the free coefficient of the cubic kernel (Keys, 1981), as in PyTorch
MODES = {"bilinear": "linear", "bicubic": "cubic"}


@rule("AffineGrid")
def affine_grid(c: Applied) -> Node:
    """Where each point of an image of a size is in another, by an affine map for each image."""
    theta, (_, _, *sizes) = c.x(0), c.sizes(1, "a size")
    rank = len(sizes)
    if theta.shape[1:] != (rank, rank + 1) or any(isinstance(n, Size) for n in sizes):
        raise c.fault(f"requires maps of points of an image of known size, got {theta.type}")
    c.require_fit(*sizes, rank + 1)
    corners = c.attr("align_corners", 0)
    axes = [_ramp(n, bool(corners)) for n in sizes]
    places = np.meshgrid(*axes, indexing="ij")[::-1]  # x, y and z: the last axis first
    points = np.stack([*places, np.ones(sizes)], -1).reshape(-1, rank + 1)
    y = ops.matmul(constant(points.astype(theta.dtype)), ops.swapaxes(theta, 1, 2))
    return ops.reshape(y, (theta.shape[0], *sizes, rank))


def _ramp(n: int, corners: bool) -> np.ndarray:
    """n places from -1 to 1: its ends are the middles of the outermost, or their outer edges."""
    steps = max(n - 1, 1) if corners else n
    return np.zeros(n) if n == 1 else (2 * np.arange(n) - (n - 1)) / steps


@rule("GridSample")
def grid_sample(c: Applied) -> Node:
    """x[N, C, *image] at grid[N, *out, axes], whose numbers are -1 to 1 over the image, the last
    axis first.
    """
    x, grid = c.x(0), c.x(1)
    rank = x.ndim - 2
    if any(isinstance(n, Size) for n in x.shape[2:]):
        raise c.fault(f"requires an image whose size is not open, got {x.type}")
    if grid.ndim != x.ndim or grid.shape[-1] != rank:
        raise c.fault(f"requires a grid [N, ..., {rank}] for {x.type}, got {grid.type}")
    mode = MODES.get(c.attr("mode"), c.attr("mode"))
    padding, aligned = c.attr("padding_mode"), bool(c.attr("align_corners"))
    image = x.shape[2:]
    at = [_pixels(grid[..., rank - 1 - a], image[a], aligned) for a in range(rank)]
    if padding == "border" and mode != "cubic":
        at = [ops.clip(p, 0, n - 1) for p, n in zip(at, image, strict=True)]
    elif padding == "reflection" and mode != "cubic":
        at = [_reflected(p, n, aligned) for p, n in zip(at, image, strict=True)]
    taps = [_taps(c, p, mode) for p in at]
    total: Any = None
    for each in product(*taps):
        value = _pixel(c, x, [p for p, _ in each], padding, aligned)
        for _, weight in each:
            value = (
                value
                if weight is None
                else value * ops.reshape(weight, (weight.shape[0], 1, *weight.shape[1:]))
            )
        total = value if total is None else total + value
    return total


def _pixels(p: Node, n: int, aligned: bool) -> Node:
    """From -1 to 1, to the numbers of pixels."""
    return (p + 1) * ((n - 1) / 2) if aligned else ((p + 1) * n - 1) * 0.5


def _reflected(p: Node, n: int, aligned: bool) -> Node:
    """Places beyond the image mirrored about its borders, as often as needed."""
    low, high = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
    span = high - low
    if span == 0:
        return p * 0
    distance = ops.abs(p - low)
    extra = ops.mod(distance, span)
    flips = ops.mod(ops.floor(distance / span), 2.0)
    there = ops.where(ops.equal(flips, 0), extra + low, high - extra)
    return ops.clip(there, 0, n - 1)


def _taps(c: Applied, p: Node, mode: str) -> list[tuple[Node, Node | None]]:
    """(pixels, their weights) for each place along an axis; None is 1."""
    if mode == "nearest":
        return [(ops.round(p), None)]
    first = ops.floor(p)
    t = p - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    if mode != "cubic":
        raise c.fault(f"has the mode {mode!r}, which ONNX does not have")
    return [(first + k, w) for k, w in zip((-1, 0, 1, 2), cubic(t), strict=True)]


def cubic(t: Any, a: float = CUBIC) -> list[Any]:
    """The weights of the pixels at -1, 0, 1, 2 for a place t in [0, 1) (Keys, 1981)."""

    def near(s: Any) -> Any:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Any) -> Any:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _pixel(c: Applied, x: Node, at: list[Node], padding: str, aligned: bool) -> Node:
    """x[N, C, *out] at whole places, one for each axis; beyond the image is 0, or its border."""
    image, inside, flat = x.shape[2:], None, None
    for p, n in zip(at, image, strict=True):
        if padding == "zeros":
            here = ops.logical_and(ops.less_equal(0, p), ops.less_equal(p, n - 1))
            inside = here if inside is None else ops.logical_and(inside, here)
        elif padding == "reflection":
            p = _reflected(p, n, aligned)
        elif padding != "border":
            raise c.fault(f"has the padding_mode {padding!r}, which ONNX does not have")
        whole = ops.cast(ops.clip(p, 0, n - 1), "int32")
        flat = whole if flat is None else flat * n + whole
    value = rows_at(x, flat)
    if inside is None:
        return value
    return ops.where(ops.reshape(inside, (inside.shape[0], 1, *inside.shape[1:])), value, 0)


def rows_at(x: Node, flat: Any) -> Node:
    """x[N, C, *image] at places [N, *out] of each image in row-major order: [N, C, *out]."""
    n, channels, *image = x.shape
    out = flat.shape[1:]
    pixels = ops.reshape(x, (n, channels, math.prod(image)))
    at = ops.reshape(flat, (n, 1, math.prod(out)))
    found = ops.take_along_axis(pixels, ops.broadcast_to(at, (n, channels, math.prod(out))), 2)
    return ops.reshape(found, (n, channels, *out))


@rule("RoiAlign")
def roi_align(c: Applied) -> Node:
    """Regions of images, each as an image of one size: means or maxima of points in its cells."""
    x, rois, batch = c.x(0), c.x(1), ops.cast(c.x(2), "int32")
    height, width = c.attr("output_height"), c.attr("output_width")
    ratio = c.attr("sampling_ratio")
    if ratio <= 0:
        raise c.fault("requires a sampling_ratio: how many points there are would be data")
    half = c.attr("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"
    boxes = rois * c.attr("spatial_scale") - (0.5 if half else 0.0)
    weights = [
        _roi_axis(boxes[:, first], boxes[:, first + 2], cells, ratio, x.shape[axis], half)
        for first, cells, axis in ((1, height, 2), (0, width, 3))
    ]
    images = ops.take(x, batch)  # [regions, C, H, W]
    count, channels = rois.shape[0], x.shape[1]
    found: Any = None
    for (y, wy), (z, wz) in product(*weights):  # the corners around each point
        flat = ops.reshape(y, (count, -1, 1)) * x.shape[3] + ops.reshape(z, (count, 1, -1))
        share = ops.reshape(wy, (count, 1, -1, 1)) * ops.reshape(wz, (count, 1, 1, -1))
        value = rows_at(images, flat) * share
        if c.attr("mode") == "max":
            found = value if found is None else ops.maximum(found, value)
        else:
            found = value if found is None else found + value
    points = ops.reshape(found, (count, channels, height, ratio, width, ratio))
    fold = ops.max if c.attr("mode") == "max" else ops.mean
    return fold(points, (3, 5))


def _roi_axis(
    low: Node, high: Node, cells: int, ratio: int, n: int, half: bool
) -> list[tuple[Node, Node]]:
    """(pixels, weights) of both neighbours of each point along an axis, [regions, points]."""
    size = high - low
    size = size if half else ops.maximum(size, 1.0)
    steps = (np.arange(cells * ratio) + 0.5) / (cells * ratio)
    place = ops.reshape(low, (-1, 1)) + ops.reshape(size, (-1, 1)) * constant(steps, low.dtype)
    inside = ops.cast(
        ops.logical_and(ops.less_equal(-1.0, place), ops.less_equal(place, float(n))), low.dtype
    )
    place = ops.clip(place, 0, n - 1)
    first = ops.floor(place)
    t = place - first
    whole = ops.cast(first, "int32")
    return [(whole, (1 - t) * inside), (ops.clip(whole + 1, 0, n - 1), t * inside)]


@rule("Col2Im")
def col2im(c: Applied) -> Node:
    """Windows [N, C * taps, windows], added up to images: a convolution's input gradient, whose
    weights pick one tap each.
    """
    x = c.x(0)
    image, block = c.sizes(1, "an image_shape"), c.sizes(2, "a block_shape")
    rank = len(image)
    stride, dilation = numbers(c, "strides", rank), numbers(c, "dilations", rank)
    padding = paddings(c, image, block, stride, dilation)
    taps = math.prod(block)
    n, channels = x.shape[0], x.shape[1] // taps
    count = tuple(
        (size + low + high - d * (k - 1) - 1) // s + 1
        for size, (low, high), d, k, s in zip(image, padding, dilation, block, stride, strict=True)
    )
    columns = ops.reshape(x, (n, channels, taps, *count))
    full = [size + low + high for size, (low, high) in zip(image, padding, strict=True)]
    total: Any = None
    for number, tap in enumerate(product(*map(range, block))):
        share = columns[:, :, number]
        spread = _strided(share, tap, stride, dilation, full)
        total = spread if total is None else total + spread
    inside = (slice(low, low + size) for size, (low, _) in zip(image, padding, strict=True))
    return total[(slice(None), slice(None), *inside)]


def _strided(x: Node, tap: Any, stride: Any, dilation: Any, full: list[int]) -> Node:
    """Elements at every stride from the tap on, in a larger image of zeros."""
    widths = [(0, 0, 0), (0, 0, 0)]
    for t, s, d, n, size in zip(tap, stride, dilation, x.shape[2:], full, strict=True):
        first = t * d
        widths.append((first, size - first - (n - 1) * s - 1, s - 1))
    return PAD(x, widths=tuple(widths), value=0)


@rule("DeformConv")
def deform_conv(c: Applied) -> Node:
    """A convolution whose taps look where offsets move them (Dai et al., ICCV 2017)."""
    x, w, offset = c.x(0), c.x(1), c.x(2)
    if x.ndim != 4 or any(isinstance(n, Size) for n in x.shape):
        raise c.fault(f"requires images [N, C, H, W] of known sizes, got {x.type}")
    kernel = w.shape[2:]
    stride, dilation = numbers(c, "strides", 2), numbers(c, "dilations", 2)
    padding = paddings(c, x.shape[2:], kernel, stride, dilation)
    n, channels, out = x.shape[0], x.shape[1], offset.shape[2:]
    groups, taps = c.attr("offset_group"), math.prod(kernel)
    moves = ops.reshape(offset, (n, groups, taps, 2, *out))
    masks = ops.reshape(c.x(4), (n, groups, taps, *out)) if c.has(4) else None
    parts = ops.split(x, groups, 1)
    windows = []
    for number, tap in enumerate(product(*map(range, kernel))):
        each = []
        for g, part in enumerate(parts):
            at = [
                moves[:, g, number, a]
                + ops.cast(ops.axis_index((1, *out), a + 1), x.dtype) * stride[a]
                + float(tap[a] * dilation[a] - padding[a][0])
                for a in (0, 1)
            ]
            value = _between(c, part, at)
            if masks is not None:
                value = value * ops.reshape(masks[:, g, number], (n, 1, *out))
            each.append(value)
        windows.append(ops.concat(each, 1))
    columns = ops.stack(windows, 2)  # [N, C, taps, *out]
    count, inner = c.attr("group"), channels // c.attr("group")
    rows = ops.reshape(columns, (n, count, inner * taps, math.prod(out)))
    weights = ops.reshape(w, (count, w.shape[0] // count, inner * taps))
    y = ops.reshape(ops.matmul(weights, rows), (n, w.shape[0], *out))
    return y + ops.reshape(c.x(3), (-1, 1, 1)) if c.has(3) else y


def _between(c: Applied, x: Node, at: list[Node]) -> Node:
    """x between its pixels, zeros beyond it."""
    total: Any = None
    for each in product(*(_taps(c, p, "linear") for p in at)):
        value = _pixel(c, x, [p for p, _ in each], "zeros", False)
        for _, weight in each:
            if weight is not None:
                value = value * ops.reshape(weight, (weight.shape[0], 1, *weight.shape[1:]))
        total = value if total is None else total + value
    return total
