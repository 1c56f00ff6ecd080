"""Operators that only move indices: a consumer reads through them and nothing is copied.

A slice's gradient is a pad with gaps and a pad's gradient is a slice, so both are closed under
differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import sizes, whole, wholes
from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, Stacked, define, input, promote
from ..graph.types import Type

__all__ = ("broadcast_to", "flip", "reshape", "transpose")

Axes = int | Sequence[int] | None


def free(*_: Any, **__: Any) -> int:
    """The cost of moving indices."""
    return 0


def normalize_axis(name: str, axis: int, rank: int) -> int:
    """Counts a negative axis from the end."""
    axis = whole(f"{name} axis", axis)
    if not -rank <= axis < rank:
        raise ShapeError(f"{name} requires an axis in [{-rank}, {rank}), got {axis}")
    return axis % rank


def normalize_axes(name: str, axis: Axes, rank: int) -> tuple[int, ...]:
    """Sorted, counted from the front; None means all."""
    axes = range(rank) if axis is None else wholes(f"{name} axis", axis)
    return tuple(sorted(normalize_axis(name, a, rank) for a in axes))


# -- reshape ---------------------------------------------------------------------------------------


def _infer_reshape(x: Type, *, shape: tuple[int, ...]) -> Type:
    out = Type(tuple(shape), x.dtype)
    if out.size != x.size:
        raise ShapeError(
            f"reshape requires {x.size} elements, got shape {tuple(shape)} with {out.size}"
        )
    return out


# Row-major order stays; loops is None, because a reshape is not affine in its axes: the planner
# treats it by itself.
RESHAPE: Op = define(
    "reshape",
    Kind.VIEW,
    infer=_infer_reshape,
    ref=lambda x, *, shape: np.reshape(x, shape),
    row_major=True,
    stacked=lambda n, inputs, steps: reshape(inputs[0][0], (steps, *n.shape)),
    vjp=lambda g, out, x: (reshape(g, x.shape),),
    cost=free,
    example=lambda: reshape(input("x", 4, 6), (2, 12)),
)


def reshape(x: Node, *shape: Any) -> Node:
    """x with another shape, elements in row-major order; one size may be -1 and is worked out.

    Raises:
        ShapeError: the sizes do not multiply to x's.

    Example:
        >>> tg.reshape(tg.zeros((8, 3, 4)), 8, -1).shape
        (8, 12)
    """
    (x,) = promote("reshape", (x,))
    given = wholes("reshape", shape[0] if len(shape) == 1 else shape)
    if -1 in given:
        known = math.prod(n for n in given if n != -1)
        if given.count(-1) > 1 or known == 0 or x.type.size % known:
            raise ShapeError(
                f"reshape requires sizes that divide {x.type.size} elements, got {given}"
            )
        given = tuple(x.type.size // known if n == -1 else n for n in given)
    return x if given == x.shape else RESHAPE(x, shape=given)


def aligned(x: Node, stacked: bool, rank: int) -> Node:
    """A value in a loop's steps, so that it broadcasts to one of ``rank`` axes in each step: behind
    the axis of steps, if there is one, come axes of size 1.
    """
    if not stacked:
        return x
    return reshape(x, (x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:]))


# -- transpose -------------------------------------------------------------------------------------


def _infer_transpose(x: Type, *, axes: tuple[int, ...]) -> Type:
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(f"transpose requires each of {len(x.shape)} axes once, got {tuple(axes)}")
    return Type(tuple(x.shape[a] for a in axes), x.dtype)


def _loops_transpose(out: Type, x: Type, *, axes: tuple[int, ...]) -> Loops:
    return Loops((), (Read(tuple(Index(terms=((axes.index(a), 1),)) for a in range(len(axes)))),))


TRANSPOSE: Op = define(
    "transpose",
    Kind.VIEW,
    infer=_infer_transpose,
    ref=lambda x, *, axes: np.transpose(x, axes),
    loops=_loops_transpose,
    stacked=lambda n, inputs, steps: TRANSPOSE(
        inputs[0][0], axes=(0, *(a + 1 for a in n.attr("axes")))
    ),
    vjp=lambda g, out, x: (transpose(g, tuple(int(a) for a in np.argsort(out.attr("axes")))),),
    cost=free,
    example=lambda: transpose(input("x", 4, 3, 2), (2, 0, 1)),
)


def transpose(x: Node, axes: Sequence[int] | None = None) -> Node:
    """Axis i of the result is axis ``axes[i]`` of x; by default all axes are reversed.

    Example:
        >>> tg.transpose(tg.zeros((8, 3, 4)), (0, 2, 1)).shape
        (8, 4, 3)
    """
    (x,) = promote("transpose", (x,))
    order = tuple(reversed(range(x.ndim))) if axes is None else wholes("transpose", axes)
    order = tuple(normalize_axis("transpose", a, x.ndim) for a in order)
    return x if order == tuple(range(x.ndim)) else TRANSPOSE(x, axes=order)


# -- broadcast_to ----------------------------------------------------------------------------------


def _infer_broadcast_to(x: Type, *, shape: tuple[int, ...]) -> Type:
    lead = len(shape) - len(x.shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ShapeError(
            f"broadcast_to requires sizes of 1 where they differ, got {x} for {tuple(shape)}"
        )
    return Type(tuple(shape), x.dtype)


def broadcast_read(shape: tuple[int, ...], rank: int) -> tuple[Index, ...]:
    """Reads ``shape`` in a nest of ``rank`` output axes, right-aligned; sizes of 1 do not move."""
    lead = rank - len(shape)
    return tuple(Index() if n == 1 else Index(terms=((lead + a, 1),)) for a, n in enumerate(shape))


def _loops_broadcast_to(out: Type, x: Type, *, shape: tuple[int, ...]) -> Loops:
    return Loops((), (Read(broadcast_read(x.shape, len(shape))),))


BROADCAST_TO: Op = define(
    "broadcast_to",
    Kind.VIEW,
    infer=_infer_broadcast_to,
    ref=lambda x, *, shape: np.broadcast_to(x, shape),
    loops=_loops_broadcast_to,
    stacked=lambda n, inputs, steps: broadcast_to(
        aligned(inputs[0][0], inputs[0][1], n.ndim), (steps, *n.shape)
    ),
    vjp=lambda g, out, x: (g,),
    cost=free,
    example=lambda: broadcast_to(input("x", 4, 1), (2, 4, 3)),
)


def broadcast_to(x: Any, shape: Sequence[int]) -> Node:
    """x repeated along new leading axes and axes of size 1.

    Args:
        shape: of the result.

    Example:
        >>> tg.run(tg.broadcast_to(tg.constant([1.0, 2.0]), (2, 2)))
        array([[1., 2.],
               [1., 2.]], dtype=float32)
    """
    (x,) = promote("broadcast_to", (x,))
    shape = sizes("broadcast_to", shape)
    return x if shape == x.shape else BROADCAST_TO(x, shape=shape)


# -- slice -----------------------------------------------------------------------------------------


def _infer_slice(
    x: Type, *, start: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]
) -> Type:
    if not len(start) == len(size) == len(step) == len(x.shape):
        raise ShapeError(
            f"slice requires a start, size and step for each axis of {x}, "
            f"got {start}, {size}, {step}"
        )
    for n, first, count, s in zip(x.shape, start, size, step, strict=True):
        if s < 1 or first < 0 or count < 0 or (count and first + (count - 1) * s >= n):
            raise ShapeError(
                f"slice requires positions inside of {x}, "
                f"got start {start}, size {size}, step {step}"
            )
    return Type(tuple(size), x.dtype)


def _ref_slice(
    x: Any, *, start: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]
) -> Any:
    return x[tuple(slice(b, b + n * s, s) for b, n, s in zip(start, size, step, strict=True))]


def _loops_slice(out: Type, x: Type, *, start: Any, size: Any, step: Any) -> Loops:
    return Loops(
        (),
        (
            Read(
                tuple(Index(b, ((a, s),)) for a, (b, s) in enumerate(zip(start, step, strict=True)))
            ),
        ),
    )


def _vjp_slice(g: Node, out: Node, x: Node) -> tuple[Node]:
    """Puts the elements back where they came from, zeros between and around them."""
    widths = []
    for n, first, count, s in zip(
        x.shape, out.attr("start"), out.shape, out.attr("step"), strict=True
    ):
        last = first + max(0, count - 1) * s + 1 if count else first
        widths.append((first, n - last, s - 1))
    return (PAD(g, widths=tuple(widths), value=0),)


def _stacked_slice(n: Node, inputs: Sequence[Stacked], steps: int) -> Node:
    start, size, step = (
        (first, *n.attr(k)) for k, first in (("start", 0), ("size", steps), ("step", 1))
    )
    return SLICE(inputs[0][0], start=start, size=size, step=step)


SLICE: Op = define(
    "slice",
    Kind.VIEW,
    infer=_infer_slice,
    ref=_ref_slice,
    loops=_loops_slice,
    stacked=_stacked_slice,
    vjp=_vjp_slice,
    cost=free,
    example=lambda: SLICE(input("x", 7, 5), start=(1, 0), size=(3, 5), step=(2, 1)),
)

# -- flip ------------------------------------------------------------------------------------------


def _infer_flip(x: Type, *, axis: tuple[int, ...]) -> Type:
    if any(not 0 <= a < len(x.shape) for a in axis):
        raise ShapeError(f"flip requires axes of {x}, got {axis}")
    return x


def _loops_flip(out: Type, x: Type, *, axis: tuple[int, ...]) -> Loops:
    mirrored = (
        Index(n - 1, ((a, -1),)) if a in axis else Index(0, ((a, 1),))
        for a, n in enumerate(x.shape)
    )
    return Loops((), (Read(tuple(mirrored)),))


FLIP: Op = define(
    "flip",
    Kind.VIEW,
    infer=_infer_flip,
    ref=lambda x, *, axis: np.flip(x, axis),
    loops=_loops_flip,
    stacked=lambda n, inputs, steps: FLIP(inputs[0][0], axis=tuple(a + 1 for a in n.attr("axis"))),
    vjp=lambda g, out, x: (FLIP(g, axis=out.attr("axis")),),
    cost=free,
    example=lambda: flip(input("x", 4, 3), 1),
)


def flip(x: Node, axis: int | Sequence[int] | None = None) -> Node:
    """x in reverse order along ``axis`` (one, several, or all).

    Example:
        >>> tg.run(tg.flip(tg.arange(4)))
        array([3, 2, 1, 0], dtype=int32)
    """
    (x,) = promote("flip", (x,))
    return FLIP(x, axis=normalize_axes("flip", axis, x.ndim))


# -- pad -------------------------------------------------------------------------------------------

Widths = tuple[tuple[int, int, int], ...]


def _infer_pad(x: Type, *, widths: Widths, value: float) -> Type:
    if len(widths) != len(x.shape) or any(len(w) != 3 or w[2] < 0 for w in widths):
        raise ShapeError(
            f"pad requires (before, after, between >= 0) for each axis of {x}, got {widths}"
        )
    sizes = [
        n + max(0, n - 1) * gap + low + high
        for n, (low, high, gap) in zip(x.shape, widths, strict=True)
    ]
    if any(n < 0 for n in sizes):
        raise ShapeError(f"pad requires widths that leave something of {x}, got {widths}")
    if not DTYPES[x.dtype].holds(value):
        raise ShapeError(f"pad requires a value that {x.dtype} can hold, got {value!r}")
    return Type(tuple(sizes), x.dtype)


def _ref_pad(x: np.ndarray, *, widths: Widths, value: float) -> np.ndarray:
    spread = [n + max(0, n - 1) * gap for n, (_, _, gap) in zip(x.shape, widths, strict=True)]
    sizes = [
        n + max(0, low) + max(0, high) for n, (low, high, _) in zip(spread, widths, strict=True)
    ]
    out = np.full(sizes, value, x.dtype)
    inside = zip(spread, widths, strict=True)
    out[tuple(slice(max(0, low), max(0, low) + n, gap + 1) for n, (low, _, gap) in inside)] = x
    return out[
        tuple(
            slice(max(0, -low), n - max(0, -high))
            for n, (low, high, _) in zip(sizes, widths, strict=True)
        )
    ]


def _loops_pad(out: Type, x: Type, *, widths: Widths, value: float) -> Loops:
    indices = tuple(Index(-low, ((a, 1),), gap + 1) for a, (low, _, gap) in enumerate(widths))
    return Loops((), (Read(indices, outside=value),))


def _vjp_pad(g: Node, out: Node, x: Node) -> tuple[Node]:
    widths = out.attr("widths")
    if any(low < 0 or high < 0 for low, high, _ in widths):  # what was cut off gets no gradient
        g = PAD(
            g, widths=tuple((max(0, -low), max(0, -high), 0) for low, high, _ in widths), value=0
        )
    start = tuple(max(0, low) for low, _, _ in widths)
    return (SLICE(g, start=start, size=x.shape, step=tuple(gap + 1 for _, _, gap in widths)),)


# Elements before, after and between those of x; negative widths cut elements off.
PAD: Op = define(
    "pad",
    Kind.VIEW,
    infer=_infer_pad,
    ref=_ref_pad,
    loops=_loops_pad,
    stacked=lambda n, inputs, steps: PAD(
        inputs[0][0], widths=((0, 0, 0), *n.attr("widths")), value=n.attr("value")
    ),
    vjp=_vjp_pad,
    cost=free,
    example=lambda: PAD(input("x", 4, 3), widths=((1, 2, 0), (0, 1, 1)), value=0),
)
