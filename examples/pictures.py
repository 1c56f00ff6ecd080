"""Pictures without a library: grey images and curves as SVG files, which every browser shows."""

from __future__ import annotations

import math
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

FOLDER = Path("pictures")  # where the examples put theirs
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # for all eyes (Okabe and Ito, 2008)
LINE = 20  # pixels, of text
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 480, 280, 60, 30, 45  # of curves; of their margins


def page(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [n, height, width] edge to edge, in rows of ``columns``."""
    n, height, width = images.shape
    rows = images.reshape(n // columns, columns, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(n // columns * height, columns * width)


def stretched(image: np.ndarray, around: float | None = None) -> np.ndarray:
    """An image in 0..1: its least value black and its greatest white, or ``around`` half grey."""
    if around is None:
        return (image - image.min()) / (np.ptp(image) or 1)
    return 0.5 + (image - around) / (2 * np.abs(image - around).max() or 1)


def gallery(
    images: Sequence[tuple[str, np.ndarray]], columns: int, zoom: int = 1, title: str = ""
) -> str:
    """Images [height, width] from 0, black, to 1, white, below their captions, in rows."""
    height, width = (zoom * max(n) for n in zip(*(i.shape for _, i in images), strict=True))
    parts = [text(4, 15, title, "start", weight="bold")]
    for k, (caption, image) in enumerate(images):
        x = 4 + k % columns * (width + 6)
        y = LINE * bool(title) + k // columns * (height + LINE + 4)
        data = b64encode(png(image.repeat(zoom, 0).repeat(zoom, 1))).decode()
        parts.append(text(x + width / 2, y + 15, caption))
        parts.append(
            f'<image x="{x}" y="{y + LINE}" width="{zoom * image.shape[1]}" '
            f'height="{zoom * image.shape[0]}" href="data:image/png;base64,{data}"/>'
        )
    return svg(columns * (width + 6) + 2, y + height + LINE + 4, parts)


def curves(
    x: Sequence[float] | np.ndarray,
    ys: Mapping[str, Sequence[float] | np.ndarray],
    x_label: str,
    y_label: str,
    title: str = "",
) -> str:
    """Lines over common x, each with its name next to it."""
    low, high = (pick([pick(y) for y in ys.values()]) for pick in (min, max))
    x_ticks, y_ticks = ticks(min(x), max(x)), ticks(low, high, around=True)
    low, high = y_ticks[0], y_ticks[-1]

    def place(at: float, value: float) -> tuple[float, float]:
        right = (at - min(x)) / (max(x) - min(x)) * WIDTH
        return LEFT + right, TOP + HEIGHT - (value - low) / (high - low) * HEIGHT

    parts = [text(LEFT, 15, title, "start", weight="bold")]
    parts += [text(place(at, low)[0], TOP + HEIGHT + 18, f"{at:g}") for at in x_ticks]
    parts.append(text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, x_label))
    for value in y_ticks:
        y = place(x[0], value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{value:g}", "end"))
    parts.append(f'<g transform="translate(15 {TOP + HEIGHT / 2}) rotate(-90)">')
    parts += [text(0, 0, y_label), "</g>"]
    for k, (name, values) in enumerate(ys.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(*p)) for p in zip(x, values, strict=True))
        colour = COLOURS[k % len(COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(text(LEFT + WIDTH + 12, TOP + LINE * (k + 1), name, "start", colour))
    names = 8 * max(map(len, ys))
    return svg(LEFT + WIDTH + 20 + names, TOP + HEIGHT + BOTTOM, parts)


def ticks(low: float, high: float, around: bool = False) -> list[float]:
    """About five round numbers between two, or from below the lower to above the higher."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.99)
    first, last = low / step, high / step
    down, up = (math.floor, math.ceil) if around else (math.ceil, math.floor)
    return [round(k * step, 10) for k in range(down(first), up(last) + 1)]


def text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = "black", **style: str
) -> str:
    more = "".join(f' font-{name}="{value}"' for name, value in style.items())
    words = escape(words)
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{more}>{words}</text>'


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """A picture of SVG's elements, on white."""
    size = f'width="{width:g}" height="{height:g}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect {size} fill="white"/>', *parts, "</svg>\n",
    ])  # fmt: skip


def png(image: np.ndarray) -> bytes:
    """An image [height, width], 0 black and 1 white, as a grey PNG file (RFC 2083)."""
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", *pixels.shape[::-1], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def save(path: Path, picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture)
    print(f"picture: {path}")
