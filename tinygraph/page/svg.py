"""Pictures of a program without a browser: its kernels, its memory, its roofline, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from ..inspect.remarks import size_text
from .drawing import Box, layered

PARTS = {"forward": "#0072b2", "backward": "#d55e00", "update": "#009e73"}
STYLE = {  # of the classes below, in this picture alone: a notebook has more of them
    "text": "font:12px system-ui,sans-serif;fill:#1d2126",
    ".name": "font-weight:600",
    ".soft": "fill:#4a5058;font-size:11px",
    ".edge": "fill:none;stroke:#a9aeb6",
    ".box": "stroke:#d0d0ca",
    ".line": "stroke:#e2e2dd",
    ".roof": "fill:none;stroke:#1d2126;stroke-width:1.5",
}
WIDTH, HEIGHT = 190, 44
COLD, HOT = (0xF3, 0xF4, 0xF6), (0xE8, 0x71, 0x0A)


def picture(width: float, height: float, parts: Iterable[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    style = "".join(f".tinygraph {name}{{{rule}}}" for name, rule in STYLE.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tinygraph" {size}><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = "", room: int = 0, end: str = "start") -> str:
    shown = words if not room or len(words) <= room else words[: room - 1] + "…"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{end}">{escape(shown)}</text>'
    )


def heat(share: float) -> str:
    """A share from 0 to 1 as a colour."""
    part = math.sqrt(min(max(share, 0.0), 1.0))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(COLD, HOT, strict=True))


# -- kernels ---------------------------------------------------------------------------------------


def graph(page: Mapping[str, Any], noun: str = "kernels") -> str:
    """The kernels of a run, or other things with their fields, folded by layer, with their share of
    the time, else of the work: the forward part downwards, the backward part, with updates, upwards
    beside it.
    """
    groups, edges = folded([k for k in page["kernels"] if k["part"] != "prepare"])
    lanes = [[k for k, g in enumerate(groups) if (g[0]["part"] == "forward") == ahead]
             for ahead in (True, False)]  # fmt: skip
    boxes = [Box(WIDTH, HEIGHT) for _ in groups]
    right = lane_height = 0.0
    for lane, up in zip(lanes, (False, True), strict=True):
        at = {k: i for i, k in enumerate(lane)}
        inner = [(at[a], at[b]) for a, b in edges if a in at and b in at]
        width, height = layered([boxes[k] for k in lane], inner)
        for k in lane:
            boxes[k].x += right
            boxes[k].y = height - HEIGHT - boxes[k].y if up else boxes[k].y
        right += width + 90 if lane else 0
        lane_height = max(lane_height, height)
    first = set(lanes[0])
    weights = [sum(map(weight, g)) for g in groups]
    most = max(weights, default=0) or 1
    parts = [curve(boxes[a], boxes[b], (a in first) != (b in first)) for a, b in edges]
    for box, members, w in zip(boxes, groups, weights, strict=True):
        parts += node(box, members, noun, heat(w / most))
    frame = f'<g transform="translate(16,16)">{"".join(parts)}</g>'
    return picture(right - 90 + 32, lane_height + 32, [frame])


def curve(a: Box, b: Box, across: bool) -> str:
    """An edge: downwards, upwards, or from lane to lane."""
    if across:
        x, y, u, v = a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2
        m = (x + u) / 2
        path, faint = f"{m:.0f} {y:.0f} {m:.0f} {v:.0f}", ' opacity=".35"'
    else:
        down = a.y < b.y
        x, y = a.x + WIDTH / 2, a.y + (HEIGHT if down else 0)
        u, v = b.x + WIDTH / 2, b.y + (0 if down else HEIGHT)
        m = (y + v) / 2
        path, faint = f"{x:.0f} {m:.0f} {u:.0f} {m:.0f}", ""
    return f'<path class="edge"{faint} d="M{x:.0f} {y:.0f}C{path} {u:.0f} {v:.0f}"/>'


def node(
    box: Box, members: Sequence[Mapping[str, Any]], noun: str, colour: str
) -> Iterable[str]:
    first = members[0]
    name = first["layer"].split(".")[0] or first["what"]
    value = value_text(members)
    yield (
        f'<rect class="box" x="{box.x:.0f}" y="{box.y:.0f}" width="{WIDTH}" height="{HEIGHT}" '
        f'rx="7" fill="{colour}"/><rect x="{box.x:.0f}" y="{box.y + 6:.0f}" width="4" '
        f'height="{HEIGHT - 12}" rx="2" fill="{PARTS[first["part"]]}"/>'
    )
    yield text(box.x + 12, box.y + 18, name, "name", (WIDTH - 24 - 6 * len(value)) // 7)
    yield text(box.x + WIDTH - 8, box.y + 18, value, "soft", end="end")
    what = max(members, key=weight)["what"]
    what = what if len(members) == 1 else f"{len(members)} {noun}: {what}"
    yield text(box.x + 12, box.y + 34, what, "soft", 27)


def weight(kernel: Mapping[str, Any]) -> float:
    return float(kernel.get("us", max(kernel["flops"] / 8, kernel["bytes"])))


def value_text(members: Sequence[Mapping[str, Any]]) -> str:
    if "value" in members[-1]:
        return str(members[-1]["value"])
    if "us" in members[0]:
        us = sum(k["us"] for k in members)
        return f"{us:,.0f} µs" if us < 1e4 else f"{us / 1e3:,.1f} ms"
    return size_text(sum(k["bytes"] for k in members))


def folded(
    kernels: Sequence[Mapping[str, Any]],
) -> tuple[list[list[Mapping[str, Any]]], list[tuple[int, int]]]:
    """Kernels of one layer that follow each other are one group; and what groups read of which."""
    groups: list[list[Mapping[str, Any]]] = []
    of: dict[tuple[str, str], int] = {}
    wrote: dict[int, set[int]] = {}
    after: list[set[int]] = []
    for k in kernels:
        reads = set().union(*(wrote.get(b, set()) for b in k["reads"]))
        name = (k["part"], k["layer"].split(".")[0] or k["what"])
        mine = of.get(name)
        if mine is None or any(reaches(after, mine, g) for g in reads - {mine}):
            mine = of[name] = len(groups)
            groups.append([])
            after.append(set())
        groups[mine].append(k)
        for g in reads - {mine}:
            after[g].add(mine)
        for b in k["writes"]:
            wrote[b] = wrote.get(b, set()) | {mine} if b not in k["reads"] else {mine}
    return groups, [(a, b) for a, more in enumerate(after) for b in sorted(more)]


def reaches(after: Sequence[set[int]], start: int, end: int) -> bool:
    """Whether a path leads from one group to another."""
    stack, seen = [start], {start}
    while stack:
        here = stack.pop()
        if here == end:
            return True
        stack += after[here] - seen
        seen |= after[here]
    return False


# -- memory and roofline ---------------------------------------------------------------------------


def memory(page: Mapping[str, Any]) -> str:
    """The arena: addresses from below, launches from left to right."""
    held = page["memory"]
    launches, arena = max(len(held["live"]), 1), max(held["arena"], 1)
    width, height, left, top = 860, 420, 70, 16
    parts = []
    for f in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - f)
        parts.append(f'<line class="line" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>')
        parts.append(text(left - 8, y + 4, size_text(round(arena * f)), "soft", end="end"))
    writers = {b: k["part"] for k in page["kernels"] for b in k["writes"]}
    for number, b in enumerate(held["buffers"]):
        if b["home"] == "arena" and b["first"] >= 0:
            x = left + b["first"] * width / launches
            w = max((b["last"] - b["first"] + 1) * width / launches - 1, 1.5)
            h = max(b["bytes"] * height / arena - 0.6, 0.8)
            y = top + height - (b["offset"] + b["bytes"]) * height / arena
            colour = PARTS.get(writers.get(number, ""), "#888")
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="2" '
                f'fill="{colour}" fill-opacity=".18" stroke="{colour}" stroke-opacity=".6"/>'
            )
            if h > 13 and w > 50:
                parts.append(text(x + 5, y + h / 2 + 4, b["name"], "soft", int(w / 6.5)))
    parts.append(text(left, top + height + 20, f"{launches} launches", "soft"))
    return picture(left + width + 20, top + height + 34, parts)


def roofline(page: Mapping[str, Any]) -> str:
    """Kernels against the processor: operations per byte, GFLOP/s of a thread, both logarithmic.

    Raises:
        ValueError: the program was not profiled.
    """
    if "profile" not in page:
        raise ValueError("a roofline needs times: profile the program before")
    peak = page["profile"]
    flops, bandwidth = (peak[k] / peak["threads"] / 1e9 for k in ("flops", "bandwidth"))
    dots = [
        (k["flops"] / k["bytes"], k["flops"] / k["us"] / 1e3, k)
        for k in page["kernels"]
        if k.get("us") and k["flops"] and k["bytes"]
    ]
    ridge = flops / bandwidth
    xs = [math.log10(x) for x, _, _ in dots] + [math.log10(ridge / 8), math.log10(ridge * 4)]
    ys = [math.log10(y) for _, y, _ in dots] + [math.log10(flops * 2), math.log10(flops / 30)]
    x0, x1, y0, y1 = min(xs) - 0.1, max(xs) + 0.1, min(ys) - 0.1, max(ys) + 0.1
    width, height, left, top = 800, 440, 60, 16
    at_x = lambda v: left + (math.log10(v) - x0) / (x1 - x0) * width  # noqa: E731
    at_y = lambda v: top + height - (math.log10(v) - y0) / (y1 - y0) * height  # noqa: E731
    parts = []
    for p in range(math.ceil(x0), math.floor(x1) + 1):
        x = at_x(10.0**p)
        parts.append(f'<line class="line" x1="{x}" x2="{x}" y1="{top}" y2="{top + height}"/>')
        parts.append(text(x, top + height + 16, f"{10.0**p:g}", "soft", end="middle"))
    for p in range(math.ceil(y0), math.floor(y1) + 1):
        y = at_y(10.0**p)
        parts.append(f'<line class="line" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>')
        parts.append(text(left - 8, y + 4, f"{10.0**p:g}", "soft", end="end"))
    low = max(10**x0, 10**y0 / bandwidth)
    points = ((low, low * bandwidth), (ridge, flops), (10**x1, flops))
    line = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
    parts.append(f'<polyline class="roof" points="{line}"/>')
    most = max((k["us"] for _, _, k in dots), default=1)
    for x, y, k in sorted(dots, key=lambda d: -d[2]["us"]):
        radius = 3 + 12 * math.sqrt(k["us"] / most)
        parts.append(
            f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="{radius:.1f}" '
            f'fill="{PARTS[k["part"]]}" fill-opacity=".45" stroke="#fff">'
            f"<title>{escape(k['layer'] + ' ' + k['what'])}</title></circle>"
        )
    parts.append(text(left + width / 2, top + height + 34, "operations per byte", "soft"))
    parts.append(text(left + 4, top + 12, "GFLOP/s of a thread", "soft"))
    return picture(left + width + 20, top + height + 44, parts)
