"""A dilated convolution as plain ones of every d-th pixel, where Winograd's algorithm then serves.

Pixels that a dilated window meets are d apart, along rows and along columns: d * d pictures of
every d-th pixel, side by side as a batch, are convolved by windows without gaps, and their results
put between each other. The copies cost little where channels are many; multiplications become up to
four times fewer. So do the gradients: pictures of the image and of the gradient are taken alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph.dtype import is_float
from ..graph.ir import Graph, Node
from ..graph.rebuild import rebuild
from ..graph.rewrite import Event
from ..ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from ..ops.view import PAD, SLICE, reshape, transpose
from ..plan.records.target import Target
from ..plan.winograd.choice import place, way_of

CHANNELS = 32  # of each side of a group, from which on the copies pay
FEWER = 0.6  # of the multiplications at most remain
TILES = (2, 3, 4)  # rows of results that one of Winograd's tiles has
PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def split_dilation(
    graph: Graph,
    *,
    target: Target | None = None,
    conv: Mapping[str, str] | None = None,
    log: list[Event] | None = None,
    remarks: list[str] | None = None,
) -> Graph:
    """The graph with dilated convolutions split, where that saves multiplications on a target with
    kernels for Winograd's algorithm; a remark for each of them.
    """
    if target is None or not target.winograd:
        return graph
    log, remarks = [] if log is None else log, [] if remarks is None else remarks

    def split(n: Node) -> Node | None:
        d = _dilated(n)
        if d is None or not d.pays() or way_of((n,), conv or {}) == "implicit":
            return None
        made = SPLIT[n.op](n, d)
        log.append(Event("split_dilation", n, made))
        remarks.append(f"{place(n)}: as {d.step**2} pictures of pixels {d.step} apart")
        return made

    return rebuild(graph, split)


@dataclass(frozen=True, slots=True)
class _Dilated:
    """A convolution of stride one whose window has the same gaps along both axes.

    Attributes:
        padded: rows and columns of the image with its padding, and of zeros up to a multiple of
            ``step``; ``before`` are those at its start.
        outputs: rows and columns of the result.
    """

    step: int
    kernel: tuple[int, int]
    before: tuple[int, int]
    image: tuple[int, int]
    padded: tuple[int, int]
    outputs: tuple[int, int]
    channels: tuple[int, int]

    @property
    def results(self) -> tuple[int, int]:
        """Rows and columns of a picture's result."""
        h, w = (n // self.step - k + 1 for n, k in zip(self.padded, self.kernel, strict=True))
        return h, w

    def pays(self) -> bool:
        """True if tiles of all pictures take far fewer multiplications than the window does."""
        (h, w), taps = self.outputs, self.kernel[0]
        if taps != self.kernel[1] or not 3 <= taps <= 5 or min(self.channels) < CHANNELS:
            return False
        tiled = min(self._multiplied(m, m + taps - 1) for m in TILES)
        return tiled <= FEWER * h * w * taps**2

    def _multiplied(self, m: int, n: int) -> int:
        down, across = (-(-size // m) * n for size in self.results)
        return self.step**2 * down * across


def _dilated(n: Node) -> _Dilated | None:
    if n.op not in SPLIT or not is_float(n.dtype):
        return None
    step, also = n.attr("dilation")
    if step == 1 or step != also or n.attr("stride") != (1, 1):
        return None
    if n.op is CONV2D:
        image, kernel, outputs = n.inputs[0], n.inputs[1], n
    elif n.op is CONV2D_INPUT_GRADIENT:
        image, kernel, outputs = n, n.inputs[1], n.inputs[0]
    else:
        image, kernel, outputs = n.inputs[0], n, n.inputs[1]
    (top, _), (left, _) = n.attr("padding")
    (h, w), (down, across) = outputs.shape[3:], kernel.shape[3:]
    padded = [-(-(size + step * (k - 1)) // step) * step for size, k in ((h, down), (w, across))]
    return _Dilated(
        step,
        (down, across),
        (top, left),
        (image.shape[3], image.shape[4]),
        (padded[0], padded[1]),
        (h, w),
        (image.shape[2], outputs.shape[2]),
    )


def _forward(n: Node, d: _Dilated) -> Node:
    x, w = n.inputs
    return _between(CONV2D(_image_pictures(x, d), w, **PLAIN), d.step, (0, 0), d.outputs)


def _input_gradient(n: Node, d: _Dilated) -> Node:
    g, w = n.inputs
    size = (d.padded[0] // d.step, d.padded[1] // d.step)
    found = CONV2D_INPUT_GRADIENT(_result_pictures(g, d), w, size=size, **PLAIN)
    return _between(found, d.step, d.before, d.image)


def _weight_gradient(n: Node, d: _Dilated) -> Node:
    x, g = n.inputs
    pictures = _image_pictures(x, d), _result_pictures(g, d)
    return CONV2D_WEIGHT_GRADIENT(*pictures, kernel=d.kernel, **PLAIN)


SPLIT = {
    CONV2D: _forward,
    CONV2D_INPUT_GRADIENT: _input_gradient,
    CONV2D_WEIGHT_GRADIENT: _weight_gradient,
}


def _image_pictures(x: Node, d: _Dilated) -> Node:
    return _pictures(x, d.step, d.before, d.padded)


def _result_pictures(g: Node, d: _Dilated) -> Node:
    h, w = d.results
    return _pictures(g, d.step, (0, 0), (h * d.step, w * d.step))


def _pictures(x: Node, d: int, before: tuple[int, int], size: tuple[int, int]) -> Node:
    """[n, g, c, h, w], with zeros around it up to a size, as [n * d * d, g, c, h / d, w / d]."""
    sides = zip(before, size, x.shape[3:], strict=True)
    widths = tuple((first, whole - first - own, 0) for first, whole, own in sides)
    if any(any(width) for width in widths):
        x = PAD(x, widths=((0, 0, 0), (0, 0, 0), (0, 0, 0), *widths), value=0)
    n, g, c, h, w = x.shape
    apart = transpose(reshape(x, n, g, c, h // d, d, w // d, d), (0, 4, 6, 1, 2, 3, 5))
    return reshape(apart, n * d * d, g, c, h // d, w // d)


def _between(x: Node, d: int, start: tuple[int, int], size: tuple[int, int]) -> Node:
    """Pictures as one again, of which ``size`` from ``start`` on are kept."""
    n, g, c, h, w = x.shape
    apart = transpose(reshape(x, n // d**2, d, d, g, c, h, w), (0, 3, 4, 5, 1, 6, 2))
    whole = reshape(apart, n // d**2, g, c, h * d, w * d)
    if whole.shape[3:] == size:
        return whole
    kept = (*whole.shape[:3], *size)
    return SLICE(whole, start=(0, 0, 0, *start), size=kept, step=(1,) * 5)
