"""Rules that write windows over any axes: the axes that they span come last, all others first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ...graph.ir import Node
from ...ops.window import nowhere
from .products import after, correlated, transposed
from .writer import OnnxWriter, Value, writes


class Windows:
    """The windows of a node: which axes they span, and its image and windows as [B, 1, ...].

    ``large`` is the image's shape, ``small`` that of the windows.
    """

    def __init__(self, n: Node, large: tuple[Any, ...], small: tuple[Any, ...]):
        kernel, stride, padding = (n.attr(k) for k in ("kernel", "stride", "padding"))
        dilation = n.attr("dilation", ()) or (1,) * len(kernel)
        whole = [
            k == 1 and s == 1 and p == 0 and a == b
            for k, s, p, a, b in zip(kernel, stride, padding, large, small, strict=True)
        ]
        self.axes = [a for a, w in enumerate(whole) if not w] or [len(kernel) - 1]
        self.others = [a for a in range(len(kernel)) if a not in self.axes]
        self.kernel, self.stride, self.before, self.dilation = (
            [v[a] for a in self.axes] for v in (kernel, stride, padding, dilation)
        )
        self.large, self.small = large, small
        self.image, self.places = [large[a] for a in self.axes], [small[a] for a in self.axes]
        self.spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def rows(self, shape: tuple[Any, ...]) -> tuple[Any, Any]:
        """The shape with the spanned axes last, and as [B, 1, ...]."""
        moved = [shape[a] for a in (*self.others, *self.axes)]
        batch = math.prod(moved[: len(self.others)])
        return moved, [batch, 1, *moved[len(self.others) :]]

    def taken(self, w: OnnxWriter, x: Value, shape: tuple[Any, ...]) -> Value:
        """x[*shape] as [B, 1, ...]."""
        moved, rows = self.rows(shape)
        return w.reshape(w.transpose(x, (*self.others, *self.axes)), moved, rows)

    def given(self, w: OnnxWriter, x: Value, shape: tuple[Any, ...]) -> Value:
        """Back from [B, 1, ...] to ``shape``."""
        moved, rows = self.rows(shape)
        order = (*self.others, *self.axes)
        return w.transpose(w.reshape(x, rows, moved), [order.index(a) for a in range(len(order))])

    def ends(self) -> list[int]:
        """Elements that windows read after the last one; negative: so many are not read."""
        each = zip(self.image, self.places, self.spans, self.stride, self.before, strict=True)
        return [after(*e) for e in each]

    def padded(self, w: OnnxWriter, x: Value, value: Value) -> Value:
        """The image [B, 1, ...] with all that the windows read, and no more."""
        return w.edges(x, [0, 0, *self.before], [0, 0, *self.ends()], value)

    def taps(self, w: OnnxWriter, image: Value) -> Iterator[Value]:
        """For each tap in scan order, the elements that it has in all windows, [B, 1, ...]."""
        axes = range(2, 2 + len(self.axes))
        for tap in product(*map(range, self.kernel)):
            start = [t * d for t, d in zip(tap, self.dilation, strict=True)]
            pairs = zip(start, self.places, self.stride, strict=True)
            stop = [a + (n - 1) * s + 1 if n else a for a, n, s in pairs]
            yield w.crop(image, start, stop, self.stride, axes)

    def scattered(self, w: OnnxWriter, g: Value, kernel: Value) -> Value:
        """g[B, C, ...] added into an image [B, 1, ...] by a kernel [C, 1, ...]."""
        return transposed(
            w, g, self.places, kernel, self.image, self.kernel, self.stride, self.dilation,
            self.before,
        )  # fmt: skip


def gathering(n: Node) -> Windows:
    return Windows(n, n.inputs[0].shape, n.shape)


def scattering(n: Node) -> Windows:
    return Windows(n, n.shape, n.inputs[0].shape)


@writes("window_max", "window_sum")
def window_fold(w: OnnxWriter, n: Node, x: Value) -> Value:
    """A pooling; padding as wide as the kernel, which runtimes refuse, is a node of its own."""
    at = gathering(n)
    largest = n.op.name == "window_max"
    images = at.others == [0, 1]
    image = x if images else at.taken(w, x, at.large)
    pads, ends = at.before, at.ends()
    each = zip(pads, ends, at.kernel, at.stride, strict=True)
    if any(max(p, e) >= k or e <= -s for p, e, k, s in each):
        image = at.padded(w, image, w.like(n, -np.inf if largest else 0))
        pads, ends = [0] * len(pads), [0] * len(ends)
    options: dict[str, Any] = {"kernel_shape": at.kernel, "strides": at.stride}
    options["pads"] = [*pads, *(max(e, 0) for e in ends)]
    if any(d > 1 for d in at.dilation):
        options["dilations"] = at.dilation
    if largest:
        y = w.add("MaxPool", image, **options)
    else:
        mean = w.add("AveragePool", image, count_include_pad=1, **options)
        y = w.add("Mul", mean, w.like(n, math.prod(at.kernel)))
    return y if images else at.given(w, y, at.small)


@writes("window_sum_transpose")
def window_sum_transpose(w: OnnxWriter, n: Node, g: Value) -> Value:
    at = scattering(n)
    ones = w.constant(np.ones((1, 1, *at.kernel)), n.dtype)
    return at.given(w, at.scattered(w, at.taken(w, g, at.small), ones), at.large)


def weights(w: OnnxWriter, at: Windows, n: Node, kernel: Value) -> Value:
    return w.reshape(kernel, n.inputs[1].shape, (1, 1, *at.kernel))


@writes("window_weighted")
def window_weighted(w: OnnxWriter, n: Node, x: Value, kernel: Value) -> Value:
    at = gathering(n)
    y = correlated(
        w, at.taken(w, x, at.large), at.image, weights(w, at, n, kernel), at.places, at.kernel,
        at.stride, at.dilation, at.before,
    )  # fmt: skip
    return at.given(w, y, at.small)


@writes("window_weighted_transpose")
def window_weighted_transpose(w: OnnxWriter, n: Node, g: Value, kernel: Value) -> Value:
    at = scattering(n)
    y = at.scattered(w, at.taken(w, g, at.small), weights(w, at, n, kernel))
    return at.given(w, y, at.large)


@writes("window_weight_gradient")
def window_weight_gradient(w: OnnxWriter, n: Node, x: Value, g: Value) -> Value:
    """The image by the gradient: images are channels, stride and dilation change places."""
    at = Windows(n, n.inputs[0].shape, n.inputs[1].shape)
    image, small = at.rows(at.large)[1], at.rows(at.small)[1]
    x = w.reshape(at.taken(w, x, at.large), image, (1, image[0], *image[2:]))
    g = w.reshape(at.taken(w, g, at.small), small, (1, small[0], *small[2:]))
    y = correlated(w, x, at.image, g, at.kernel, at.places, at.dilation, at.stride, at.before)
    return w.reshape(y, (1, 1, *at.kernel), n.shape)


@writes("window_max_index")
def window_max_index(w: OnnxWriter, n: Node, x: Value, y: Value) -> Value:
    """The first tap that equals the maximum or is NaN: later ones are overwritten."""
    at, dtype = gathering(n), n.inputs[0].dtype
    image = at.padded(w, at.taken(w, x, at.large), w.constant(-np.inf, dtype))
    maxima = at.taken(w, y, at.small)
    found = w.like(n, nowhere(n.attr("kernel")))
    for r, tap in reversed(list(enumerate(at.taps(w, image)))):
        hit = w.add("Or", w.add("Equal", tap, maxima), w.add("IsNaN", tap))
        found = w.add("Where", hit, w.like(n, r), found)
    return at.given(w, found, at.small)


@writes("window_pick")
def window_pick(w: OnnxWriter, n: Node, x: Value, index: Value) -> Value:
    at = gathering(n)
    image = at.padded(w, at.taken(w, x, at.large), w.like(n, 0))
    chosen, total = at.taken(w, index, at.small), w.like(n, 0)
    for r, tap in enumerate(at.taps(w, image)):
        hit = w.add("Equal", chosen, w.constant(r, n.inputs[1].dtype))
        total = w.add("Where", hit, tap, total)
    return at.given(w, total, at.small)


@writes("window_unpool")
def window_unpool(w: OnnxWriter, n: Node, g: Value, index: Value) -> Value:
    """A channel for each tap has the gradient where that tap was chosen; a kernel per channel puts
    it there, and windows that overlap add up.
    """
    at, taps = scattering(n), math.prod(n.attr("kernel"))
    channels = np.arange(taps).reshape(1, taps, *[1] * len(at.axes))
    numbers = w.constant(channels, n.inputs[1].dtype)
    hit = w.add("Equal", at.taken(w, index, at.small), numbers)
    apart = w.add("Where", hit, at.taken(w, g, at.small), w.like(n, 0))
    kernel = w.constant(np.eye(taps).reshape(taps, 1, *at.kernel), n.dtype)
    return at.given(w, at.scattered(w, apart, kernel), at.large)
