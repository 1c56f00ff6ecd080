"""Images made larger or smaller: nearest, linear and cubic interpolation along any axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..graph.convert import flag, whole, wholes
from ..graph.dtype import is_float
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, constant, define, input, promote
from ..graph.size import Size
from ..graph.types import Type
from .gather import take
from .logic import where
from .resample_tables import COORDINATES, ROUNDING, Grid, Table, nearest, transposed, weighted
from .resample_template import MOST, resampled, resampled_parts
from .view import broadcast_to, normalize_axis, reshape

__all__ = ("interpolate", "resize")


def _infer(x: Type, *tables: Type, axes: tuple[int, ...]) -> Type:
    if not is_float(x.dtype) or len(tables) != 2 * len(axes):
        raise ShapeError(f"resample requires floats and a table for each axis, got {x}")
    shape = list(x.shape)
    for axis, index, weight in zip(axes, tables[::2], tables[1::2], strict=True):
        if index.shape != weight.shape or weight.dtype != x.dtype or len(index.shape) != 2:
            raise ShapeError(f"resample requires tables of one shape, got {index} and {weight}")
        if x.shape[axis] == 0 and index.shape[0]:
            raise ShapeError(f"resample requires elements along axis {axis} of {x}, got none")
        shape[axis] = index.shape[0]
    return Type(tuple(shape), x.dtype)


def _ref(x: np.ndarray, *tables: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    for axis, index, weight in zip(axes, tables[::2], tables[1::2], strict=True):
        taken = np.take(x, index, axis)
        shape = (*(1,) * axis, *weight.shape, *(1,) * (x.ndim - axis - 1))
        x = np.sum(taken * weight.reshape(shape), axis + 1, dtype=x.dtype)
    return x


def _vjp(g: Node, out: Node, x: Node, *tables: Node) -> tuple[Node | None, ...]:
    """Each element of x takes what results have made of it: the same operator."""
    axes = out.attr("axes")
    found = {
        axis: transposed(Table(*(t.attr("value").data for t in pair)), x.shape[axis])
        for axis, pair in zip(axes, zip(tables[::2], tables[1::2], strict=True), strict=True)
    }
    return resampled_by(g, found), *(None,) * len(tables)


# The sum of elements of x at the places of a table, times the table's weights; for each of the axes
# there is a table of places and one of weights, [size of the result, number of places].
RESAMPLE: Op = define(
    "resample",
    Kind.OPAQUE,
    infer=_infer,
    ref=_ref,
    template=resampled,
    parts=resampled_parts,
    keeps_order=True,
    vjp=_vjp,
    cost=lambda out, x, *tables, axes: 2 * out.size * math.prod(t.shape[1] for t in tables[::2]),
    example=lambda: resize(input("x", 2, 4, 5), (7, 3), (1, 2)),
)


def resampled_by(x: Node, tables: dict[int, Table]) -> Node:
    """All axes at once, or one after the other where that is much less work."""
    steps = [tables]
    if math.prod(t.index.shape[1] for t in tables.values()) > MOST:
        steps = [{axis: table} for axis, table in tables.items()]
    for step in steps:
        nodes = [
            n
            for t in step.values()
            for n in (constant(t.index, "int32"), constant(t.weight, x.dtype))
        ]
        x = RESAMPLE(x, *nodes, axes=tuple(step))
    return x


def resize(
    x: Any,
    size: int | Sequence[int],
    axes: int | Sequence[int],
    *,
    mode: str = "linear",
    coordinates: str = "half_pixel",
    scale: Sequence[float] | None = None,
    rounding: str = "round_prefer_floor",
    cubic: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
    region: Sequence[tuple[float, float]] | None = None,
    outside: float = 0,
) -> Node:
    """x with new sizes along ``axes``, its values interpolated: all that ONNX's Resize can do.

    Args:
        x: floats; with mode 'nearest', any array.
        size: the new size of each of the axes.
        axes: the axis, or several.
        mode: 'nearest', 'linear' or 'cubic'.
        coordinates: where results are in x: 'half_pixel' (as images are), 'align_corners',
            'asymmetric' (i / scale), 'pytorch_half_pixel', 'half_pixel_symmetric',
            'tf_half_pixel_for_nn' or 'tf_crop_and_resize', which cuts out ``region``.
        scale: the factor of each axis, where it is not the quotient of the sizes.
        rounding: of mode 'nearest': 'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'.
        cubic: the parameter of mode 'cubic' (Keys, IEEE ASSP 29, 1981).
        exclude_outside: what is beyond the edges has no weight, instead of repeating the edge.
        antialias: a wider filter where x becomes smaller.
        region: for each of the axes (begin, end), 0 being x's first element and 1 its last.
        outside: the value of what 'tf_crop_and_resize' finds outside of x.

    Raises:
        ShapeError: an argument is none of these, an axis is open, or x is of integers.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.resize(tg.constant([0.0, 4.0]), 4, 0))
        array([0., 1., 3., 4.], dtype=float32)
    """
    (x,) = promote("resize", (x,))
    where_to = [normalize_axis("resize", a, x.ndim) for a in wholes("resize axes", axes)]
    sizes = wholes("resize size", size)
    if len(sizes) != len(where_to) or len(set(where_to)) != len(where_to):
        raise ShapeError(f"resize requires a size for each axis, got {size} for {axes}")
    for value, name, known in (
        (mode, "mode", ("nearest", "linear", "cubic")),
        (coordinates, "coordinates", COORDINATES),
        (rounding, "rounding", ROUNDING),
    ):
        if value not in known:
            raise ShapeError(f"resize requires {name} of {', '.join(known)}, got {value!r}")
    exclude_outside = flag("resize exclude_outside", exclude_outside)
    antialias = flag("resize antialias", antialias)
    _, border = promote("resize", (x, outside))
    tables: dict[int, Table] = {}
    chosen: dict[int, np.ndarray] = {}
    beyond: list[tuple[int, np.ndarray]] = []
    for k, (axis, n) in enumerate(zip(where_to, sizes, strict=True)):
        old = x.shape[axis]
        if isinstance(old, Size) or isinstance(n, Size) or n < 1 or old < 1:
            raise ShapeError(f"resize requires sizes from 1 up, got {x.type}, axis {axis} to {n}")
        factor = scale[k] if scale is not None else n / old
        grid = Grid(old, n, factor, coordinates, region[k] if region else (0.0, 1.0))
        places = grid.places()
        if grid.crops and grid.beyond(places).any():
            beyond.append((axis, grid.beyond(places)))
        if mode == "nearest":
            chosen[axis] = nearest(places, old, rounding)
        elif not np.array_equal(places, np.arange(old)):
            tables[axis] = weighted(grid, places, mode, cubic, exclude_outside, antialias)
    if mode != "nearest" and not is_float(x.dtype):
        raise ShapeError(f"resize with mode {mode!r} requires floats, got {x.type}; use tg.cast")
    y = resampled_by(x, tables) if tables else _nearest(x, chosen)
    for axis, mask in beyond:
        y = where(reshape(constant(mask), (-1, *(1,) * (y.ndim - axis - 1))), border, y)
    return y


def _nearest(x: Node, chosen: dict[int, np.ndarray]) -> Node:
    """Elements that are repeated equally often along their axes are one view; others are looked
    up.
    """
    times = {}
    for axis, places in chosen.items():
        n = x.shape[axis]
        count, rest = divmod(len(places), n)
        if not rest and np.array_equal(places, np.repeat(np.arange(n), count)):
            times[axis] = count
        else:
            x = take(x, places, axis)
    each = [(n, times.get(axis, 1)) for axis, n in enumerate(x.shape)]
    apart = [(n, 1) if axis in times else (n,) for axis, n in enumerate(x.shape)]
    spread = [pair if axis in times else pair[:1] for axis, pair in enumerate(each)]
    whole = broadcast_to(reshape(x, [*chain(*apart)]), [*chain(*spread)])
    return reshape(whole, [n * count for n, count in each]) if times else x


MODES = {
    "nearest": ("nearest", 0),
    "nearest-exact": ("nearest", 0),
    "linear": ("linear", 1),
    "bilinear": ("linear", 2),
    "trilinear": ("linear", 3),
    "bicubic": ("cubic", 2),
}


def interpolate(
    x: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Node:
    """Images, or other grids, of another size, as torch.nn.functional.interpolate makes them.

    Args:
        x: [N, C, ...] with one to three axes that are resized.
        size: their new sizes: a number for all, or one for each.
        scale_factor: instead of ``size``, by how much they grow: a number, or one for each.
        mode: 'nearest', 'nearest-exact', 'linear' (of one axis), 'bilinear' (two), 'trilinear'
            (three) or 'bicubic' (two).
        align_corners: the first and the last elements stay where they are, instead of the edges.
        antialias: a wider filter where x becomes smaller; for 'bilinear' and 'bicubic'.

    Raises:
        ShapeError: an unknown mode, both or neither of size and scale_factor, or sizes that do
            not fit the axes.

    Example:
        >>> import tinygraph as tg
        >>> tg.interpolate(tg.zeros((1, 3, 8, 8)), scale_factor=2, mode="bilinear").shape
        (1, 3, 16, 16)
    """
    (x,) = promote("interpolate", (x,))
    if mode not in MODES:
        raise ShapeError(f"interpolate requires mode of {', '.join(MODES)}, got {mode!r}")
    kind, rank = MODES[mode]
    count = x.ndim - 2
    if count < 1 or (rank and count != rank) or (size is None) == (scale_factor is None):
        raise ShapeError(
            f"interpolate requires x[N, C, ...] with {rank or 'some'} axes after the channels for "
            f"mode {mode!r}, and one of size and scale_factor, got {x.type}"
        )
    axes = tuple(range(2, x.ndim))
    scale = None
    if scale_factor is not None:
        scale = _each("scale_factor", scale_factor, count)
        size = [math.floor(x.shape[a] * s) for a, s in zip(axes, scale, strict=True)]
    new = [int(whole("interpolate size", n)) for n in _each("size", size, count)]
    align = flag("interpolate align_corners", align_corners)
    coordinates = "align_corners" if align else "half_pixel"
    return resize(
        x,
        new,
        axes,
        mode=kind,
        coordinates="asymmetric" if mode == "nearest" else coordinates,
        scale=scale,
        rounding="floor" if mode == "nearest" else "round_prefer_ceil",
        antialias=antialias,
        cubic=-0.5 if antialias else -0.75,
        exclude_outside=antialias,
    )


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value for each axis."""
    found = list(value) if isinstance(value, Sequence) else [value] * count
    if len(found) != count:
        raise ShapeError(f"interpolate requires a {name} for each of {count} axes, got {value}")
    return found
