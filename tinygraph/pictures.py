"""Pictures without a library: grey images, curves and confusion matrices as SVG, which every
browser shows.

    pictures.save("curve.svg", pictures.curves(steps, {"loss": losses}, "step", "loss"))

Each function returns the text of a picture; ``save`` writes it to a file.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from .graph.numeric import numeric

__all__ = [
    "confusion_matrix",
    "curves",
    "gallery",
    "page",
    "panels",
    "png",
    "save",
    "stretched",
    "svg",
    "text",
    "ticks",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # for all eyes (Okabe and Ito, 2008)
TEXT_HEIGHT = 20  # pixels, of text
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 480, 280, 60, 30, 45  # of curves; of their margins
CELL = 44  # pixels, of a confusion matrix
Values = Sequence[float] | np.ndarray


@numeric
def page(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [n, height, width] edge to edge, in rows of ``columns``, which divides n.

    Args:
        images: of one size.
        columns: images in a row.

    Example:
        >>> pictures.page(np.zeros((6, 28, 28)), columns=3).shape
        (56, 84)
    """
    n, height, width = images.shape
    rows = images.reshape(n // columns, columns, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(n // columns * height, columns * width)


@numeric
def stretched(image: np.ndarray, around: float | None = None) -> np.ndarray:
    """An image in 0..1: its least value black and its greatest white, or ``around`` half grey.

    Example:
        >>> pictures.stretched(np.array([[2.0, 4.0]]))
        array([[0., 1.]])
    """
    if around is None:
        return (image - image.min()) / (np.ptp(image) or 1)
    return 0.5 + (image - around) / (2 * np.abs(image - around).max() or 1)


@numeric
def gallery(
    images: Sequence[tuple[str, np.ndarray]], columns: int, zoom: int = 1, title: str = ""
) -> str:
    """Images [height, width] from 0, black, to 1, white, below their captions, in rows.

    Args:
        images: pairs of a caption and an image; there may be none.
        columns: images in a row.
        zoom: pixels of the picture for each of an image.
        title: a line above all.

    Example:
        >>> pictures.gallery([("a zero", np.zeros((28, 28)))], columns=1).startswith("<svg")
        True
    """
    shapes = [i.shape for _, i in images] or [(0, 0)]
    height, width = (zoom * max(n) for n in zip(*shapes, strict=True))
    parts = [text(4, 15, title, "start", weight="bold")]
    y = 0
    for k, (caption, image) in enumerate(images):
        x = 4 + k % columns * (width + 6)
        y = TEXT_HEIGHT * bool(title) + k // columns * (height + TEXT_HEIGHT + 4)
        data = b64encode(png(image.repeat(zoom, 0).repeat(zoom, 1))).decode()
        parts.append(text(x + width / 2, y + 15, caption))
        parts.append(
            f'<image x="{x}" y="{y + TEXT_HEIGHT}" width="{zoom * image.shape[1]}" '
            f'height="{zoom * image.shape[0]}" href="data:image/png;base64,{data}"/>'
        )
    return svg(max(columns * (width + 6) + 2, 8 * len(title)), y + height + TEXT_HEIGHT + 4, parts)


def curves(x: Values, ys: Mapping[str, Values], x_label: str, y_label: str, title: str = "") -> str:
    """Lines over common x, each with its name next to it; see ``panels`` for several at once.

    Args:
        x: values [n] in ascending order.
        ys: values [n] of each line, by its name; one that is not finite leaves a gap.
        x_label, y_label: the words at the axes.
        title: a line above.

    Example:
        >>> lines = {"training": [0.9, 0.5, 0.4], "validation": [0.9, 0.6, 0.6]}
        >>> pictures.curves([1, 2, 3], lines, "epoch", "loss").count("<polyline")
        2
    """
    return panels(x, {y_label: ys}, x_label, title)


def panels(x: Values, ys: Mapping[str, Mapping[str, Values]], x_label: str, title: str = "") -> str:
    """Diagrams side by side over common x: for each label of a y axis its lines by name.

    Args:
        x: values [n] in ascending order.
        ys: for each diagram values [n] of each line; one that is not finite leaves a gap.
        x_label: below each diagram.
        title: above the first.

    Example:
        >>> loss, accuracy = {"training": [3, 2], "validation": [3, 3]}, {"": [0.5, 0.6]}
        >>> lines = {"loss": loss, "accuracy": accuracy}
        >>> pictures.panels([0, 1], lines, "epoch").count("<polyline")
        3
    """
    parts, right = [], 0.0
    for label, lines in ys.items():
        inner = _diagram(np.asarray(x, float), lines, x_label, label, title)
        parts += [f'<g transform="translate({right:g} 0)">', *inner, "</g>"]
        right += LEFT + WIDTH + 20 + 8 * max(map(len, lines))
        title = ""
    return svg(right, TOP + HEIGHT + BOTTOM, parts)


def _diagram(
    x: np.ndarray, ys: Mapping[str, Values], x_label: str, y_label: str, title: str
) -> list[str]:
    values = np.concatenate([np.asarray(y, float).ravel() for y in ys.values()])
    left, right = _range(x)
    y_ticks = ticks(*_range(values), around=True)
    low, high = y_ticks[0], y_ticks[-1]

    def place(at: float, value: float) -> tuple[float, float]:
        across = (at - left) / (right - left) * WIDTH
        return LEFT + across, TOP + HEIGHT - (value - low) / (high - low) * HEIGHT

    parts = [text(LEFT, 15, title, "start", weight="bold")]
    whole = bool(np.all(x == np.round(x)))  # epochs have no halves
    x_ticks = [at for at in ticks(left, right) if at.is_integer() or not whole]
    parts += [text(place(at, low)[0], TOP + HEIGHT + 18, f"{at:g}") for at in x_ticks]
    parts.append(text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, x_label))
    for value in y_ticks:
        y = place(left, value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{value:g}", "end"))
    parts.append(f'<g transform="translate(15 {TOP + HEIGHT / 2:g}) rotate(-90)">')
    parts += [text(0, 0, y_label), "</g>"]
    for k, (name, line) in enumerate(ys.items()):
        colour = COLOURS[k % len(COLOURS)]
        points = [place(*p) for p in zip(x, np.asarray(line, float), strict=True)]
        parts += _line(points, colour)
        parts.append(text(LEFT + WIDTH + 12, TOP + TEXT_HEIGHT * (k + 1), name, "start", colour))
    return parts


def _line(points: Iterable[tuple[float, float]], colour: str) -> list[str]:
    """Straight pieces through the finite points; a point alone is a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for p in points:
        if math.isfinite(p[1]):
            runs[-1].append(p)
        elif runs[-1]:
            runs.append([])
    parts = []
    for run in filter(None, runs):
        if len(run) == 1:
            (x, y), = run  # fmt: skip
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        else:
            at = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            style = f'fill="none" stroke="{colour}" stroke-width="2"'
            parts.append(f'<polyline points="{at}" {style}/>')
    return parts


def _range(values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest finite value, or a range around the only one."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if low < high else (low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2)


def confusion_matrix(
    matrix: np.ndarray, names: Sequence[str] | None = None, title: str = ""
) -> str:
    """Counts of examples [true class, predicted class] as a table, the darker the more of its row.

    Args:
        matrix: as ``metrics.confusion_matrix`` gives it.
        names: of the classes; by default their numbers.
        title: a line above it.

    Example:
        >>> pictures.confusion_matrix(np.array([[8, 2], [1, 9]]), ["cat", "dog"]).count("<rect")
        5
    """
    names = [str(k) for k in range(len(matrix))] if names is None else names
    left, top = 40 + 8 * max(map(len, names), default=0), TEXT_HEIGHT * bool(title) + 50
    side = CELL * len(matrix)
    parts = [text(4, 15, title, "start", weight="bold")]
    parts.append(text(left + side / 2, top - 30, "predicted"))
    parts.append(f'<g transform="translate(15 {top + side / 2:g}) rotate(-90)">')
    parts += [text(0, 0, "true"), "</g>"]
    for k, name in enumerate(names):
        middle = k * CELL + CELL / 2
        parts.append(text(left + middle, top - 8, name))
        parts.append(text(left - 8, top + middle + 4, name, "end"))
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            part = count / max(row.sum(), 1)
            shade = COLOURS[0 if i == j else 1]
            at = f'x="{left + j * CELL}" y="{top + i * CELL}" width="{CELL - 1}"'
            opacity = f"{part**0.5:.3f}" if count else "0"
            parts.append(
                f'<rect {at} height="{CELL - 1}" fill="{shade}" fill-opacity="{opacity}" '
                'stroke="#ddd"/>'
            )
            if count:
                ink = "white" if part > 0.4 else "black"
                middle = left + j * CELL + CELL / 2
                parts.append(text(middle, top + i * CELL + CELL / 2 + 4, f"{count:g}", colour=ink))
    return svg(max(left + side, 8 * len(title)) + 8, top + side + 8, parts)


@numeric
def ticks(low: float, high: float, around: bool = False) -> list[float]:
    """About five round numbers between two, or from below the lower to above the higher.

    Args:
        low, high: the two, of which the second is greater.
        around: whether they are to enclose the two.

    Example:
        >>> pictures.ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.99)
    first, last = low / step, high / step
    down, up = (math.floor, math.ceil) if around else (math.ceil, math.floor)
    return [float(f"{k * step:.12g}") for k in range(down(first), up(last) + 1)]


@numeric
def text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = "black", **style: str
) -> str:
    """Words at a point of a picture, as an element of SVG.

    Args:
        x, y: the point, pixels from the left and the top.
        words: any text.
        anchor: what is at the point: ``start``, ``middle`` or ``end``.
        colour: as SVG writes it.
        style: attributes of the font, as weight="bold".

    Example:
        >>> pictures.text(4, 15, "a < b", "start")
        '<text x="4" y="15" text-anchor="start" fill="black">a &lt; b</text>'
    """
    more = "".join(f' font-{name}="{value}"' for name, value in style.items())
    words = escape(words)
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{more}>{words}</text>'


@numeric
def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """A picture of SVG's elements, on white.

    Args:
        width, height: of the picture, pixels.
        parts: the elements, such as ``text`` makes.

    Example:
        >>> pictures.svg(10, 10, [])[:4]
        '<svg'
    """
    size = f'width="{width:g}" height="{height:g}"'
    fit = f'{size} viewBox="0 0 {width:g} {height:g}" style="max-width:100%;height:auto"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {fit} font-family="sans-serif" font-size="13">',
        f'<rect {size} fill="white"/>', *parts, "</svg>\n",
    ])  # fmt: skip


def png(image: np.ndarray) -> bytes:
    """An image [height, width], 0 black and 1 white, as a grey PNG file (RFC 2083).

    Example:
        >>> pictures.png(np.zeros((2, 2)))[:4]
        b'\\x89PNG'
    """
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", *pixels.shape[::-1], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def save(path: str | os.PathLike[str], picture: str) -> Path:
    """Writes a picture, makes its folder where there is none, and returns its path.

    Args:
        path: a file ending in .svg.
        picture: its text.

    Raises:
        ValueError: the path does not end in .svg.

    Example:
        >>> pictures.save("empty.svg", pictures.svg(10, 10, [])).name
        'empty.svg'
    """
    path = Path(path)
    if path.suffix != ".svg":
        raise ValueError(f"a picture goes to a file ending in .svg; got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture, encoding="utf-8")
    return path
