"""Folds over sliding windows of any rank, and the transposes that carry gradients back.

Every operator has one kernel size, stride and padding (before the first element) per axis, and an
explicit ``size`` of its result; axes that no window spans have kernel 1. What lies behind the last
element follows from the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..ir import Node
from ..op import Index, Kind, Loops, Op, Read, ShapeError, define, identity, input
from ..types import Type
from .logic import is_float

Sizes = tuple[int, ...]


def check(name: str, x: Type, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes) -> None:
    """What all window operators require of their attributes."""
    rank = len(x.shape)
    if not len(kernel) == len(stride) == len(padding) == len(size) == rank:
        raise ShapeError(
            f"{name} requires a kernel, stride, padding and size for each of {rank} axes of {x}"
        )
    if not is_float(x.dtype):
        raise ShapeError(f"{name} requires float32 or float64, got {x.dtype}; convert with tg.cast")
    if rank and (min(*kernel, *stride, 1) < 1 or min(*padding, 0) < 0):
        raise ShapeError(
            f"{name} requires kernel and stride of at least 1, got {kernel}, {stride}, {padding}"
        )


def check_fit(
    name: str, small: Sizes, large: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes
) -> None:
    """Every window must touch the image, or its maximum would be of nothing."""
    for n, image, k, s, p in zip(small, large, kernel, stride, padding, strict=True):
        if n and ((n - 1) * s - p >= image or p >= k):
            got = f"{small} of {kernel} with stride {stride} and padding {padding}"
            raise ShapeError(f"{name} requires windows that touch {large}, got {got}")


def infer_window(name: str) -> Callable[..., Type]:
    """Type rule of what folds windows over the first input."""

    def infer(x: Type, *_: Type, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes) -> Type:
        check(name, x, kernel, stride, padding, size)
        check_fit(name, size, x.shape, kernel, stride, padding)
        return Type(tuple(size), x.dtype)

    return infer


def infer_transposed(name: str) -> Callable[..., Type]:
    """Type rule of what adds windows, one for each element of the first input, into an image."""

    def infer(g: Type, *_: Type, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes) -> Type:
        check(name, g, kernel, stride, padding, size)
        check_fit(name, g.shape, size, kernel, stride, padding)
        return Type(tuple(size), g.dtype)

    return infer


# -- the NumPy meaning: one strided view of the padded image for each tap of the kernel ------------


def padded(
    x: np.ndarray, value: float, kernel: Sizes, stride: Sizes, padding: Sizes, out: Sizes
) -> np.ndarray:
    behind = (
        max(0, (n - 1) * s - p + k - image)
        for n, s, p, k, image in zip(out, stride, padding, kernel, x.shape, strict=True)
    )
    return np.pad(x, tuple(zip(padding, behind, strict=True)), constant_values=value)


def taps_of(
    kernel: Sizes, stride: Sizes, out: Sizes
) -> Iterator[tuple[int, Sizes, tuple[slice, ...]]]:
    """(flat number of the tap, its place in the kernel, where it looks in the padded image)."""
    for r, tap in enumerate(product(*map(range, kernel))):
        yield (
            r,
            tap,
            tuple(
                slice(t, t + (n - 1) * s + 1, s) for t, n, s in zip(tap, out, stride, strict=True)
            ),
        )


def ref_gather(
    start: float, outside: float, combine: Callable[..., Any]
) -> Callable[..., np.ndarray]:
    """Folds ``combine(result, tap of x, r, tap, other)`` over the taps."""

    def ref(
        x: Any, *other: Any, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
    ) -> np.ndarray:
        out = np.full(size, start, x.dtype)
        image = padded(x, outside, kernel, stride, padding, size)
        for r, tap, window in taps_of(kernel, stride, size):
            out = combine(out, image[window], r, tap, *other)
        return out

    return ref


def ref_scatter(share: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Adds ``share(g, r, tap, other)`` of every window to the elements that its taps look at."""

    def ref(
        g: Any, *other: Any, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
    ) -> np.ndarray:
        image = padded(np.zeros(size, g.dtype), 0, kernel, stride, padding, g.shape)
        for r, tap, window in taps_of(kernel, stride, g.shape):
            image[window] += share(g, r, tap, *other)
        return image[tuple(slice(p, p + n) for p, n in zip(padding, size, strict=True))]

    return ref


def _ref_max_index(
    x: Any, y: Any, *, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
) -> np.ndarray:
    out = np.full(size, nowhere(kernel), index_dtype(kernel))
    image = padded(x, -np.inf, kernel, stride, padding, size)
    for r, _, window in taps_of(kernel, stride, size):
        tap = image[window]
        hit = (tap == y) | np.isnan(tap)
        out[hit & (out == nowhere(kernel))] = r
    return out



def index_dtype(kernel: Sizes) -> str:
    """The dtype of a tap's number; its largest number says that no tap is meant."""
    return "uint8" if math.prod(kernel) < 2**8 else "int32"


def nowhere(kernel: Sizes) -> int:
    return int(np.iinfo(index_dtype(kernel)).max)


# -- the loop nests --------------------------------------------------------------------------------


def spanned(kernel: Sizes, rank: int) -> tuple[Sizes, dict[int, int]]:
    """The reduction's sizes, and which axis of the nest walks the windows of each image axis."""
    axes = [a for a, k in enumerate(kernel) if k > 1]
    return tuple(kernel[a] for a in axes), {a: rank + i for i, a in enumerate(axes)}


def gathered(kernel: Sizes, stride: Sizes, padding: Sizes) -> tuple[Index, ...]:
    """Tap t of window y looks at element y * stride - padding + t."""
    _, taps = spanned(kernel, len(kernel))
    return tuple(
        Index(-p, ((a, s), *(((taps[a], 1),) if a in taps else ())))
        for a, (s, p) in enumerate(zip(stride, padding, strict=True))
    )


def scattered(kernel: Sizes, stride: Sizes, padding: Sizes) -> tuple[Index, ...]:
    """Tap t of window y touches element y * stride - padding + t: solved for y."""
    _, taps = spanned(kernel, len(kernel))
    return tuple(
        Index(p, ((a, 1), *(((taps[a], -1),) if a in taps else ())), s)
        for a, (s, p) in enumerate(zip(stride, padding, strict=True))
    )


def loops_of(
    place: Callable[[Sizes, Sizes, Sizes], tuple[Index, ...]],
    outside: float,
    second: Callable[[Sizes, tuple[Index, ...]], Read] | None = None,
) -> Callable[..., Loops]:
    """One read of the image by ``place``, and what ``second`` says of another input."""

    def loops(
        out: Type, *_: Type, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
    ) -> Loops:
        indices = place(kernel, stride, padding)
        reads = (Read(indices, outside), *((second(kernel, indices),) if second else ()))
        return Loops(spanned(kernel, len(kernel))[0], reads)

    return loops


def own(kernel: Sizes, indices: tuple[Index, ...]) -> Read:
    """Reads an input that has one element for each window."""
    return Read(identity(len(kernel)))


# -- the operators ---------------------------------------------------------------------------------


def like(node: Node, size: Sizes) -> dict[str, Any]:
    """The same windows for a result of another size."""
    return {key: node.attr(key) for key in ("kernel", "stride", "padding")} | {"size": size}


def cost_gathered(out: Type, *_: Type, kernel: Sizes, **__: Sizes) -> int:
    """One operation for each tap of each window but the first."""
    return out.size * (math.prod(kernel) - 1)


def cost_scattered(out: Type, g: Type, *_: Type, kernel: Sizes, **__: Sizes) -> int:
    """One addition for each tap of each window, less the first into each element."""
    return max(0, g.size * math.prod(kernel) - out.size)


_WINDOW: dict[str, Sizes] = {
    "kernel": (1, 1, 3, 2),
    "stride": (1, 1, 2, 1),
    "padding": (0, 0, 1, 1),
}
_SMALL: dict[str, Sizes] = _WINDOW | {"size": (2, 3, 4, 6)}
_LARGE: dict[str, Sizes] = _WINDOW | {"size": (2, 3, 7, 6)}

WINDOW_SUM: Op = define(
    "window_sum",
    Kind.REDUCE,
    infer=infer_window("window_sum"),
    ref=ref_gather(0, 0, lambda out, x, r, tap: out + x),
    loops=loops_of(gathered, 0.0),
    fold="sum",
    vjp=lambda g, y, x: (WINDOW_SUM_TRANSPOSE(g, **like(y, x.shape)),),
    cost=cost_gathered,
    example=lambda: WINDOW_SUM(input("x", 2, 3, 7, 6), **_SMALL),
)

WINDOW_SUM_TRANSPOSE: Op = define(
    "window_sum_transpose",
    Kind.REDUCE,
    infer=infer_transposed("window_sum_transpose"),
    ref=ref_scatter(lambda g, r, tap: g),
    loops=loops_of(scattered, 0.0),
    fold="sum",
    vjp=lambda c, x, g: (WINDOW_SUM(c, **like(x, g.shape)),),
    cost=cost_scattered,
    example=lambda: WINDOW_SUM_TRANSPOSE(input("g", 2, 3, 4, 6), **_LARGE),
)


def _infer_max_index(
    x: Type, y: Type, *, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
) -> Type:
    window = infer_window("window_max_index")(
        x, kernel=kernel, stride=stride, padding=padding, size=size
    )
    if window != y:
        raise ShapeError(f"window_max_index requires the maxima {window}, got {y}")
    return Type(y.shape, index_dtype(kernel))


def _infer_unpool(g: Type, index: Type, *, kernel: Sizes, **window: Sizes) -> Type:
    wanted = Type(g.shape, index_dtype(kernel))
    if index != wanted:
        raise ShapeError(f"window_unpool requires indices {wanted}, got {index}")
    return infer_transposed("window_unpool")(g, kernel=kernel, **window)


def _infer_pick(x: Type, index: Type, *, kernel: Sizes, size: Sizes, **window: Sizes) -> Type:
    wanted = Type(tuple(size), index_dtype(kernel))
    if index != wanted:
        raise ShapeError(f"window_pick requires indices {wanted}, got {index}")
    return infer_window("window_pick")(x, kernel=kernel, size=size, **window)


def _expr_max_index(*, kernel: Sizes, **_: Sizes) -> str:
    return f"K({{r}}) if {{0}} == {{1}} or {{0}} != {{0}} else K({nowhere(kernel)})"


def _expr_picked(*, kernel: Sizes, **_: Sizes) -> str:
    """What the first input adds to the tap that the second one names."""
    return f"{{0}} if {{1}} == {index_dtype(kernel)}({{r}}) else K(0)"


def _vjp_max(g: Node, y: Node, x: Node) -> tuple[Node]:
    """All to the first maximum of each window, as in PyTorch; NaN counts as the maximum."""
    index = WINDOW_MAX_INDEX(x, y, **like(y, y.shape))
    return (WINDOW_UNPOOL(g, index, **like(y, x.shape)),)


WINDOW_MAX: Op = define(
    "window_max",
    Kind.REDUCE,
    infer=infer_window("window_max"),
    ref=ref_gather(-np.inf, -np.inf, lambda out, x, r, tap: np.maximum(out, x)),
    loops=loops_of(gathered, -math.inf),
    fold="max",
    vjp=_vjp_max,
    cost=cost_gathered,
    example=lambda: WINDOW_MAX(input("x", 2, 3, 7, 6), **_SMALL),
)

# Which tap of each window, counted in scan order, is the first that equals the maximum y or is NaN.
WINDOW_MAX_INDEX: Op = define(
    "window_max_index",
    Kind.REDUCE,
    infer=_infer_max_index,
    ref=_ref_max_index,
    expr=_expr_max_index,
    loops=loops_of(gathered, -math.inf, own),
    fold="min",
    vjp=lambda g, index, x, y: (None, None),
    cost=cost_gathered,
    example=lambda: _example_index(),
)

# Element i of the result is the sum of g over the windows whose index names i.
WINDOW_UNPOOL: Op = define(
    "window_unpool",
    Kind.REDUCE,
    infer=_infer_unpool,
    ref=ref_scatter(lambda g, r, tap, index: np.where(index == r, g, 0)),
    expr=_expr_picked,
    loops=loops_of(scattered, 0.0, lambda kernel, indices: Read(indices, nowhere(kernel))),
    fold="sum",
    vjp=lambda c, x, g, index: (WINDOW_PICK(c, index, **like(x, g.shape)), None),
    cost=cost_scattered,
    example=lambda: WINDOW_UNPOOL(
        input("g", 2, 3, 4, 6), input("index", 2, 3, 4, 6, dtype="uint8"), **_LARGE
    ),
)

# The element of each window that its index names.
WINDOW_PICK: Op = define(
    "window_pick",
    Kind.REDUCE,
    infer=_infer_pick,
    ref=ref_gather(0, 0, lambda out, x, r, tap, index: out + np.where(index == r, x, 0)),
    expr=_expr_picked,
    loops=loops_of(gathered, 0.0, own),
    fold="sum",
    vjp=lambda g, y, x, index: (WINDOW_UNPOOL(g, index, **like(y, x.shape)), None),
    cost=cost_gathered,
    example=lambda: WINDOW_PICK(
        input("x", 2, 3, 7, 6), input("index", 2, 3, 4, 6, dtype="uint8"), **_SMALL
    ),
)


def _example_index() -> Node:
    x = input("x", 2, 3, 7, 6)
    return WINDOW_MAX_INDEX(x, WINDOW_MAX(x, **_SMALL), **_SMALL)
