"""Operands that are read through windows: positions that outputs and taps share."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.op import Index
from ..records.work import Access, Location
from .accesses import place_access
from .index import Leaf, Sizes
from .phases import Unsuitable


@dataclass(frozen=True, slots=True)
class Window:
    """An axis of the image: window position t of output o is at step * o + t + origin, inside if
    that is in [0, size).

    ``flip``: the filter's last tap comes first.
    """

    out: int
    tap: int
    origin: int
    size: int
    stride: int
    flip: bool
    step: int = 1


def windows_of(place: Location, leaf: Leaf, axes: Sizes) -> tuple[list[Window], Access]:
    """The axes of an operand that a window slides over, and the access of the rest."""
    windows: list[Window] = []
    rank = len(axes)
    offset, strides = place.offset, [0] * rank
    for index, stride, extent in zip(leaf.indices, place.strides, leaf.root.shape, strict=True):
        beyond = [g for k, g in enumerate(leaf.guards) if index.terms == ((rank + k, 1),)]
        if beyond:
            offset += index.constant * stride
            index, extent = beyond[0].index, beyond[0].size
        if (slide := sliding(index, axes)) is not None:
            out, tap, step, flip = slide
            windows.append(Window(out, tap, index.constant, extent, stride, flip, step))
            continue
        if beyond or index.divisor != 1 or any(a >= rank for a, _ in index.terms):
            return [], place_access(place, offset, strides)
        offset += index.constant * stride
        for a, c in index.terms:
            strides[a] += c * stride
    return windows, place_access(place, offset, strides)


def sliding(index: Index, axes: Sizes) -> tuple[int, int, int, bool] | None:
    """(out, tap, step, flip) of an index that is step * out + tap, windows that overlap, or out -
    tap, and a constant. If the step is one, the first axis is called out.
    """
    if len(index.terms) != 2 or index.divisor != 1:
        return None
    (first, a), (second, b) = index.terms
    if a == 1 and abs(b) == 1:
        return first, second, 1, b < 0
    if b == 1 and 1 < a < axes[second]:
        return first, second, a, False
    if a == 1 and 1 < b < axes[first]:
        return second, first, b, False
    return None


def plain(place: Location, leaf: Leaf, axes: Sizes) -> Access:
    """The weights: read by every axis alone, within their edges."""
    windows, access = windows_of(place, leaf, axes)
    if windows or leaf.guards:
        raise Unsuitable("both operands have windows")
    return access
