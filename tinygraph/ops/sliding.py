"""Windows that slide over any number of axes: what the operators on them share.

Each has one kernel size, stride and padding (before the first element) per axis, and an explicit
``size`` of its result; axes that no window spans have kernel 1. What comes after the last element
follows from the size. ``dilation``, where it is given, is the distance between the elements of a
window. Windows are gathered (an image to one element for each window) or scattered
(the transpose, which carries gradients back).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..graph.dtype import is_float, is_integer
from ..graph.ir import Node
from ..graph.op import Index, Loops, Read, ShapeError, identity
from ..graph.types import Type

Sizes = tuple[int, ...]


def spans(kernel: Sizes, dilation: Sizes) -> Sizes:
    """From the first element of a window to the last, both included."""
    if not dilation:
        return kernel
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def check(
    name: str,
    x: Type,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    size: Sizes,
    dilation: Sizes = (),
    integers: bool = False,
) -> None:
    """Checks what all window operators require of their attributes, most also floats."""
    rank = len(x.shape)
    if dilation and (len(dilation) != rank or min(dilation) < 1):
        raise ShapeError(f"{name} requires a dilation of at least 1 for each axis, got {dilation}")
    if not len(kernel) == len(stride) == len(padding) == len(size) == rank:
        raise ShapeError(
            f"{name} requires a kernel, stride, padding and size for each of {rank} axes of {x}"
        )
    if not is_float(x.dtype) and not (integers and is_integer(x.dtype)):
        raise ShapeError(f"{name} requires float32 or float64, got {x.dtype}; convert with tg.cast")
    if rank and (min(*kernel, *stride, 1) < 1 or min(*padding, 0) < 0):
        raise ShapeError(
            f"{name} requires kernel and stride of at least 1, got {kernel}, {stride}, {padding}"
        )


def check_fit(
    name: str,
    small: Sizes,
    large: Sizes,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes = (),
) -> None:
    """Every window must touch the image, or its maximum would be of nothing."""
    kernel = spans(kernel, dilation)
    for n, image, k, s, p in zip(small, large, kernel, stride, padding, strict=True):
        if n and ((n - 1) * s - p >= image or p >= k):
            got = f"{small} of {kernel} with stride {stride} and padding {padding}"
            raise ShapeError(f"{name} requires windows that touch {large}, got {got}")


def infer_window(name: str, integers: bool = False) -> Callable[..., Type]:
    """Type rule of what folds windows over the first input."""

    def infer(
        x: Type,
        *_: Type,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        size: Sizes,
        dilation: Sizes = (),
    ) -> Type:
        check(name, x, kernel, stride, padding, size, dilation, integers)
        check_fit(name, size, x.shape, kernel, stride, padding, dilation)
        return Type(tuple(size), x.dtype)

    return infer


def infer_transposed(name: str) -> Callable[..., Type]:
    """Type rule of what adds windows, one for each element of the first input, into an image."""

    def infer(
        g: Type,
        *_: Type,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        size: Sizes,
        dilation: Sizes = (),
    ) -> Type:
        check(name, g, kernel, stride, padding, size, dilation)
        check_fit(name, g.shape, size, kernel, stride, padding, dilation)
        return Type(tuple(size), g.dtype)

    return infer


# -- the NumPy meaning: one strided view of the padded image for each tap of the kernel ------------


def padded(
    x: np.ndarray,
    value: float,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    out: Sizes,
    dilation: Sizes = (),
) -> np.ndarray:
    kernel = spans(kernel, dilation)
    behind = (
        max(0, (n - 1) * s - p + k - image)
        for n, s, p, k, image in zip(out, stride, padding, kernel, x.shape, strict=True)
    )
    return np.pad(x, tuple(zip(padding, behind, strict=True)), constant_values=value)


def taps_of(
    kernel: Sizes, stride: Sizes, out: Sizes, dilation: Sizes = ()
) -> Iterator[tuple[int, Sizes, tuple[slice, ...]]]:
    """(flat number of the tap, its place in the kernel, where it looks in the padded image)."""
    gaps = dilation or (1,) * len(kernel)
    for r, tap in enumerate(product(*map(range, kernel))):
        yield (
            r,
            tap,
            tuple(
                slice(t * d, t * d + max(0, (n - 1) * s + 1), s)
                for t, d, n, s in zip(tap, gaps, out, stride, strict=True)
            ),
        )


def ref_gather(
    start: float, outside: float, combine: Callable[..., Any]
) -> Callable[..., np.ndarray]:
    """Folds ``combine(result, tap of x, r, tap, other)`` over the taps."""

    def ref(
        x: Any,
        *other: Any,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        size: Sizes,
        dilation: Sizes = (),
    ) -> np.ndarray:
        out = np.full(size, start, x.dtype)
        image = padded(x, outside, kernel, stride, padding, size, dilation)
        for r, tap, window in taps_of(kernel, stride, size, dilation):
            out = combine(out, image[window], r, tap, *other)
        return out

    return ref


def ref_scatter(share: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Adds ``share(g, r, tap, other)`` of every window to the elements that its taps look at."""

    def ref(
        g: Any,
        *other: Any,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        size: Sizes,
        dilation: Sizes = (),
    ) -> np.ndarray:
        image = padded(np.zeros(size, g.dtype), 0, kernel, stride, padding, g.shape, dilation)
        for r, tap, window in taps_of(kernel, stride, g.shape, dilation):
            image[window] += share(g, r, tap, *other)
        return image[tuple(slice(p, p + n) for p, n in zip(padding, size, strict=True))]

    return ref


# -- the loop nests --------------------------------------------------------------------------------


def spanned(kernel: Sizes, rank: int) -> tuple[Sizes, dict[int, int]]:
    """The reduction's sizes, and which axis of the nest walks the windows of each image axis."""
    axes = [a for a, k in enumerate(kernel) if k > 1]
    return tuple(kernel[a] for a in axes), {a: rank + i for i, a in enumerate(axes)}


def gathered(
    kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes = ()
) -> tuple[Index, ...]:
    """Tap t of window y looks at element y * stride - padding + t * dilation."""
    _, taps = spanned(kernel, len(kernel))
    gaps = dilation or (1,) * len(kernel)
    return tuple(
        Index(-p, ((a, s), *(((taps[a], d),) if a in taps else ())))
        for a, (s, p, d) in enumerate(zip(stride, padding, gaps, strict=True))
    )


def scattered(
    kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes = ()
) -> tuple[Index, ...]:
    """Tap t of window y touches element y * stride - padding + t * dilation: solved for y."""
    _, taps = spanned(kernel, len(kernel))
    gaps = dilation or (1,) * len(kernel)
    return tuple(
        Index(p, ((a, 1), *(((taps[a], -d),) if a in taps else ())), s)
        for a, (s, p, d) in enumerate(zip(stride, padding, gaps, strict=True))
    )


def loops_of(
    place: Callable[..., tuple[Index, ...]],
    outside: float,
    second: Callable[[Sizes, tuple[Index, ...]], Read] | None = None,
) -> Callable[..., Loops]:
    """One read of the image by ``place``, and what ``second`` says of another input."""

    def loops(
        out: Type,
        *_: Type,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        size: Sizes,
        dilation: Sizes = (),
    ) -> Loops:
        indices = place(kernel, stride, padding, dilation)
        reads = (Read(indices, outside), *((second(kernel, indices),) if second else ()))
        return Loops(spanned(kernel, len(kernel))[0], reads)

    return loops


def own(kernel: Sizes, indices: tuple[Index, ...]) -> Read:
    """Reads an input that has one element for each window."""
    return Read(identity(len(kernel)))


# -- attributes and costs --------------------------------------------------------------------------


def like(node: Node, size: Sizes) -> dict[str, Any]:
    """The same windows for a result of another size."""
    kept = ("kernel", "stride", "padding", "dilation")
    return {key: value for key, value in node.attrs if key in kept} | {"size": size}


def cost_gathered(out: Type, *_: Type, kernel: Sizes, **__: Sizes) -> int:
    """One operation for each tap of each window but the first."""
    return out.size * (math.prod(kernel) - 1)


def cost_scattered(out: Type, g: Type, *_: Type, kernel: Sizes, **__: Sizes) -> int:
    """One addition for each tap of each window, less the first into each element."""
    return max(0, g.size * math.prod(kernel) - out.size)
