"""Convolutions of volumes become convolutions of images, which have the faster kernels.

    y[n, o, d] = sum over k of  conv2d(x[n, :, d * stride + k * dilation - padding], w[o, :, k])

is one convolution of n * d images, whose channels are those of all slices k that meet in a slice
of the result. Slices are copied once for each k; the copies cost what a few of the multiplications
cost, and Winograd's algorithm saves more. So do the gradients: that to the input reads slices of g,
for each remainder of a position by the stride those that meet it; that to the weights those of x.
Axes along which the kernel has one tap, and the window moves by one, need no copies: two of them
that are side by side are one axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph.ir import Graph, Node
from ..graph.op import Op
from ..graph.rebuild import rebuild
from ..graph.rewrite import Event
from ..ops.conv import (
    CONV2D,
    CONV2D_INPUT_GRADIENT,
    CONV2D_INTEGER,
    CONV2D_WEIGHT_GRADIENT,
    CONV3D,
    CONV3D_INPUT_GRADIENT,
    CONV3D_INTEGER,
    CONV3D_WEIGHT_GRADIENT,
)
from ..ops.indexing import concat, stack
from ..ops.source import full
from ..ops.view import PAD, SLICE, reshape, transpose

FLAT: Mapping[Op, Op] = {
    CONV3D: CONV2D,
    CONV3D_INTEGER: CONV2D_INTEGER,
    CONV3D_INPUT_GRADIENT: CONV2D_INPUT_GRADIENT,
    CONV3D_WEIGHT_GRADIENT: CONV2D_WEIGHT_GRADIENT,
}
DEPTH = 3  # the axis of slices in x[n, g, c, d, h, w] and w[g, o, c, d, h, w]


def flatten_volumes(graph: Graph, log: list[Event] | None = None) -> Graph:
    """The graph with each three-dimensional convolution as a two-dimensional one."""
    log = [] if log is None else log

    def flat(n: Node) -> Node | None:
        if n.op not in FLAT:
            return None
        made = _flat(n)
        log.append(Event("flatten_volumes", n, made))
        return made

    return rebuild(graph, flat)


@dataclass(frozen=True, slots=True)
class _Window:
    """A convolution's attributes along the axes of its image."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def is_plain(self, axis: int) -> bool:
        """True if a result depends on one position along the axis, its own."""
        return (self.kernel[axis], self.stride[axis], self.padding[axis]) == (1, 1, (0, 0))

    def without(self, axis: int) -> dict[str, Any]:
        """The attributes along the other axes."""
        rest = [a for a in range(3) if a != axis]
        names = ("stride", "padding", "dilation")
        return {name: tuple(getattr(self, name)[a] for a in rest) for name in names}


def _flat(n: Node) -> Node:
    """A convolution of volumes as one of images."""
    kernel = n.shape[3:] if n.op is CONV3D_WEIGHT_GRADIENT else n.inputs[1].shape[3:]
    w = _Window(kernel, *(n.attr(name) for name in ("stride", "padding", "dilation")))
    for first in (1, 0):
        if w.is_plain(first) and w.is_plain(first + 1):
            return _joined(n, w, first)
    return STACKED.get(n.op, _stacked)(n, *n.inputs, w)


# -- two axes that are one -------------------------------------------------------------------------


def _joined(n: Node, w: _Window, first: int) -> Node:
    """Axes ``first`` and ``first + 1`` of images as one; those of kernels, of one tap, likewise."""

    def join(x: Node) -> Node:
        before, (a, b), after = _around(x.shape, first)
        return reshape(x, (*before, a * b, *after))

    attrs = w.without(first)
    if n.op is CONV3D_INPUT_GRADIENT:
        attrs["size"] = join(n).shape[3:]
    if n.op is CONV3D_WEIGHT_GRADIENT:
        attrs["kernel"] = join(n).shape[3:]
    return reshape(FLAT[n.op](*map(join, n.inputs), **attrs), n.shape)


def _around(shape: tuple[int, ...], first: int) -> tuple[tuple[int, ...], ...]:
    at = DEPTH + first
    return shape[:at], shape[at : at + 2], shape[at + 2 :]


# -- slices as channels ----------------------------------------------------------------------------


def _stacked(n: Node, x: Node, kernel: Node, w: _Window) -> Node:
    """The convolution itself."""
    slices = _slices_of_taps(x, w, n.shape[DEPTH])
    return _volumes(FLAT[n.op](slices, _filters(kernel, 2), **w.without(0)), n.shape[0])


def _stacked_weight_gradient(n: Node, x: Node, g: Node, w: _Window) -> Node:
    slices, (taps, *kernel) = _slices_of_taps(x, w, g.shape[DEPTH]), w.kernel
    found = CONV2D_WEIGHT_GRADIENT(slices, _images(g), kernel=tuple(kernel), **w.without(0))
    groups, o, channels = n.shape[:3]
    return transpose(reshape(found, groups, o, taps, channels, *kernel), (0, 1, 3, 2, 4, 5))


def _stacked_input_gradient(n: Node, g: Node, kernel: Node, w: _Window) -> Node:
    """A part for each remainder of a position by the stride; between them they have all."""
    depth, stride = n.shape[DEPTH], w.stride[0]
    count = -(-depth // stride)
    parts = [_remainder(n, g, kernel, w, at, count) for at in range(stride)]
    whole = stack(parts, DEPTH + 1)
    before, (a, b), after = _around(whole.shape, 0)
    return _cut(reshape(whole, (*before, a * b, *after)), 0, depth, 1)


def _remainder(n: Node, g: Node, kernel: Node, w: _Window, at: int, count: int) -> Node:
    """The gradient at ``count`` positions from ``at`` on, a stride apart."""
    (before, _), stride, dilation = w.padding[0], w.stride[0], w.dilation[0]
    places = {k: at + before - k * dilation for k in range(w.kernel[0])}
    taps = [k for k, place in places.items() if place % stride == 0]
    if not taps:
        return full((*n.shape[:DEPTH], count, *n.shape[DEPTH + 1 :]), 0, n.dtype)
    slices = _slices(g, [places[k] // stride for k in taps], count, 1)
    apart = taps[1] - taps[0] if len(taps) > 1 else 1
    filters = _filters(_cut(kernel, taps[0], len(taps), apart), 1)
    size = n.shape[DEPTH + 1 :]
    found = CONV2D_INPUT_GRADIENT(slices, filters, size=size, **w.without(0))
    return _volumes(found, n.shape[0])


STACKED: Mapping[Op, Callable[..., Node]] = {
    CONV3D_WEIGHT_GRADIENT: _stacked_weight_gradient,
    CONV3D_INPUT_GRADIENT: _stacked_input_gradient,
}


def _slices_of_taps(x: Node, w: _Window, count: int) -> Node:
    """What the taps of a kernel meet in x, for each of ``count`` slices of a result."""
    starts = [k * w.dilation[0] - w.padding[0][0] for k in range(w.kernel[0])]
    return _slices(x, starts, count, w.stride[0])


def _slices(x: Node, starts: Sequence[int], count: int, step: int) -> Node:
    """Images [n * count, g, starts * c, h, w]: x from each start on; 0 beyond its ends."""
    low, high = min(starts), max(starts) + (count - 1) * step + 1
    before, after = max(0, -low), max(0, high - x.shape[DEPTH])
    if before or after:
        none = (0, 0, 0)
        widths = (none, none, none, (before, after, 0), none, none)
        x = PAD(x, widths=widths, value=0)
    parts = [_images(_cut(x, before + start, count, step)) for start in starts]
    return concat(parts, 2) if len(parts) > 1 else parts[0]


def _cut(x: Node, start: int, size: int, step: int) -> Node:
    """Some slices of x, all of everything else."""
    if (start, size, step) == (0, x.shape[DEPTH], 1):
        return x

    def at_depth(value: int, others: Sequence[int]) -> tuple[int, ...]:
        return (*others[:DEPTH], value, *others[DEPTH + 1 :])

    return SLICE(
        x,
        start=at_depth(start, (0,) * x.ndim),
        size=at_depth(size, x.shape),
        step=at_depth(step, (1,) * x.ndim),
    )


def _images(x: Node) -> Node:
    """[n, g, c, d, h, w] as images [n * d, g, c, h, w]."""
    n, g, c, d, h, w = x.shape
    return reshape(transpose(x, (0, 3, 1, 2, 4, 5)), n * d, g, c, h, w)


def _volumes(x: Node, n: int) -> Node:
    """Images as n volumes again."""
    count, g, c, h, w = x.shape
    return transpose(reshape(x, n, count // n, g, c, h, w), (0, 2, 3, 1, 4, 5))


def _filters(w: Node, axis: int) -> Node:
    """Weights [g, o, c, k, h, w] with the taps k before the channels of ``axis``, as one."""
    order = [0, 1, 2, 4, 5]
    order.insert(axis, DEPTH)
    moved = transpose(w, order)
    shape = moved.shape
    return reshape(moved, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))
