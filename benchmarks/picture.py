"""Results as a picture: bars of time relative to tinygraph's, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, LABEL, BAR, GAP = 840, 290, 13, 12
COLOURS = {
    "tinygraph": "#1a7f5a",
    "torch": "#ee4c2c",
    "torch-nhwc": "#f28e78",
    "torch-compile": "#b3341a",
    "onnxruntime": "#5d6d7e",
    "openvino": "#2f6db5",
    "mnn": "#8e6bbf",
    "ncnn": "#c2a83e",
    "jax": "#4a9aa8",
}


def bars(rows: Mapping[str, Mapping[str, float]], threads: int) -> str:
    """One group of bars a row: milliseconds of each contender; shorter is better."""
    parts, y = (
        [_text(LABEL, 18, f"time relative to tinygraph, {threads} threads; shorter is better")],
        32,
    )
    for title, times in rows.items():
        scale = (WIDTH - LABEL - 170) / max(times.values())
        middle = y + len(times) * BAR / 2 + 4
        parts.append(_text(LABEL - 10, middle, title, anchor="end"))
        for name, ms in times.items():
            width = ms * scale
            relative = ms / times["tinygraph"]
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                f'fill="{COLOURS[name]}"/>'
            )
            note = f"{name} {ms:.3g} ms" + ("" if name == "tinygraph" else f" ({relative:.2f}×)")
            parts.append(_text(LABEL + width + 5, y + BAR - 4, note, size=10))
            y += BAR
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, content: str, size: int = 12, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(content)}</text>"
