"""What convolutions and pools have in common: strides, dilations and paddings of N axes."""

from __future__ import annotations

from typing import Any

from .rules import Applied, number

Pairs = tuple[tuple[int, int], ...]
MOST = 1 << 31  # no stride, dilation, padding or kernel is larger


def numbers(c: Applied, name: str, count: int, default: int = 1) -> tuple[int, ...]:
    """An attribute that is a number for each axis, at least ``default``."""
    found = tuple(c.attr(name) or (default,) * count)
    if len(found) != count or not all(default <= n < MOST for n in found):
        raise c.fault(f"requires {count} {name} of at least {default}, got {list(found)}")
    return found


def paddings(
    c: Applied, image: tuple[Any, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Pairs:  # fmt: skip
    """(before, after) for each axis: given, or so that there is a window for each stride."""
    way = c.attr("auto_pad", "NOTSET")
    count = len(kernel)
    if way in ("NOTSET", ""):
        found = tuple(c.attr("pads") or (0,) * (2 * count))
        if len(found) != 2 * count or not all(-MOST < n < MOST for n in found):
            raise c.fault(f"requires {2 * count} pads, got {list(found)}")
        return tuple(zip(found[:count], found[count:], strict=True))
    if way == "VALID":
        return ((0, 0),) * count
    if way not in ("SAME_UPPER", "SAME_LOWER"):
        raise c.fault(f"has no auto_pad {way!r}")
    if not all(number(n) for n in image):
        raise c.fault(f"requires known sizes with auto_pad {way!r}, got {image}")
    return tuple(
        shared(max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n), way)
        for n, k, s, d in zip(image, kernel, stride, dilation, strict=True)
    )


def shared(total: int, way: str) -> tuple[int, int]:
    """Padding on both sides; the odd one is after, or with SAME_LOWER before."""
    half = total // 2
    return (half, total - half) if way == "SAME_UPPER" else (total - half, half)
