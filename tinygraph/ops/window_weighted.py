"""Weighted sums over windows, one small kernel for all; closed under differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, define, identity, input, same_dtype
from ..graph.types import Type
from .sliding import (
    Sizes,
    check,
    check_fit,
    gathered,
    infer_transposed,
    infer_window,
    like,
    loops_of,
    padded,
    ref_gather,
    ref_scatter,
    scattered,
    spanned,
    taps_of,
)


def _infer(name: str, rule: Callable[..., Type]) -> Callable[..., Type]:
    def infer(x: Type, w: Type, *, kernel: Sizes, **window: Sizes) -> Type:
        same_dtype(name, x, w)
        if w.shape != tuple(kernel):
            raise ShapeError(f"{name} requires weights of the kernel's shape {kernel}, got {w}")
        return rule(x, kernel=kernel, **window)

    return infer


def _infer_gradient(
    x: Type, g: Type, *, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
) -> Type:
    same_dtype("window_weight_gradient", x, g)
    check("window_weight_gradient", x, kernel, stride, padding, size)
    check_fit("window_weight_gradient", g.shape, x.shape, kernel, stride, padding)
    if tuple(size) != tuple(kernel):
        raise ShapeError(
            f"window_weight_gradient requires the kernel's shape {kernel} as size, got {size}"
        )
    return Type(tuple(size), x.dtype)


def _ref_gradient(
    x: Any, g: Any, *, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
) -> np.ndarray:
    w = np.empty(size, x.dtype)
    image = padded(x, 0, kernel, stride, padding, g.shape)
    for _, tap, window in taps_of(kernel, stride, g.shape):
        w[tap] = np.sum(image[window] * g, dtype=x.dtype)
    return w


def _weights(kernel: Sizes, indices: tuple[Index, ...]) -> Read:
    _, taps = spanned(kernel, len(kernel))
    return Read(
        tuple(Index(terms=((taps[a], 1),)) if a in taps else Index() for a in range(len(kernel)))
    )


def _loops_gradient(
    out: Type, x: Type, g: Type, *, kernel: Sizes, stride: Sizes, padding: Sizes, size: Sizes
) -> Loops:
    """The taps are the output axes, the windows the reduction axes."""
    rank = len(kernel)
    image = tuple(
        Index(-before, ((rank + a, s), (a, 1)))
        for a, (s, before) in enumerate(zip(stride, padding, strict=True))
    )
    return Loops(g.shape, (Read(image, 0.0), Read(identity(rank, rank))))


def _vjp(g: Node, y: Node, x: Node, w: Node) -> tuple[Node, Node]:
    dx = WINDOW_WEIGHTED_TRANSPOSE(g, w, **like(y, x.shape))
    return dx, WINDOW_WEIGHT_GRADIENT(x, g, **like(y, w.shape))


def _vjp_transpose(c: Node, x: Node, g: Node, w: Node) -> tuple[Node, Node]:
    dg = WINDOW_WEIGHTED(c, w, **like(x, g.shape))
    return dg, WINDOW_WEIGHT_GRADIENT(c, g, **like(x, w.shape))


def _vjp_gradient(c: Node, w: Node, x: Node, g: Node) -> tuple[Node, Node]:
    dx = WINDOW_WEIGHTED_TRANSPOSE(g, c, **like(w, x.shape))
    return dx, WINDOW_WEIGHTED(x, c, **like(w, g.shape))


def _operations(windows: Type, kernel: Sizes, out: Type) -> int:
    """A multiplication and an addition for each tap, less the first addition into each element."""
    return 2 * windows.size * int(np.prod(kernel)) - out.size


WINDOW_WEIGHTED: Op = define(
    "window_weighted",
    Kind.REDUCE,
    infer=_infer("window_weighted", infer_window("window_weighted")),
    ref=ref_gather(0, 0, lambda out, x, r, tap, w: out + w[tap] * x),
    expr="{0} * {1}",
    loops=loops_of(gathered, 0.0, _weights),
    fold="sum",
    vjp=_vjp,
    cost=lambda out, x, w, *, kernel, **_: _operations(out, kernel, out),
    example=lambda: WINDOW_WEIGHTED(
        input("x", 2, 3, 7, 6), input("w", 1, 1, 3, 2), **_EXAMPLE, size=(2, 3, 4, 6)
    ),
)

WINDOW_WEIGHTED_TRANSPOSE: Op = define(
    "window_weighted_transpose",
    Kind.REDUCE,
    infer=_infer("window_weighted_transpose", infer_transposed("window_weighted_transpose")),
    ref=ref_scatter(lambda g, r, tap, w: w[tap] * g),
    expr="{0} * {1}",
    loops=loops_of(scattered, 0.0, _weights),
    fold="sum",
    vjp=_vjp_transpose,
    cost=lambda out, g, w, *, kernel, **_: _operations(g, kernel, out),
    example=lambda: WINDOW_WEIGHTED_TRANSPOSE(
        input("g", 2, 3, 4, 6), input("w", 1, 1, 3, 2), **_EXAMPLE, size=(2, 3, 7, 6)
    ),
)

WINDOW_WEIGHT_GRADIENT: Op = define(
    "window_weight_gradient",
    Kind.REDUCE,
    infer=_infer_gradient,
    ref=_ref_gradient,
    expr="{0} * {1}",
    loops=_loops_gradient,
    fold="sum",
    vjp=_vjp_gradient,
    cost=lambda out, x, g, *, kernel, **_: _operations(g, kernel, out),
    example=lambda: WINDOW_WEIGHT_GRADIENT(
        input("x", 2, 3, 7, 6), input("g", 2, 3, 4, 6), **_EXAMPLE, size=(1, 1, 3, 2)
    ),
)

_EXAMPLE: dict[str, Sizes] = {
    "kernel": (1, 1, 3, 2),
    "stride": (1, 1, 2, 1),
    "padding": (0, 0, 1, 1),
}
