"""The page as one text: the data, the style and the scripts in a frame that loads nothing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

SCRIPTS = (  # each knows those above it
    "base", "model", "layout", "fold", "graph", "things", "kernels", "source", "memory", "timeline",
    "roofline", "remarks", "compare", "card", "main",
)  # fmt: skip


def page(title: str, programs: Sequence[dict[str, Any]]) -> str:
    """A page of one program, or of two side by side, from their records."""
    parts = {
        "title": html.escape(title),
        "style": asset("page.css"),
        "data": embedded({"programs": list(programs)}),
        "script": "\n".join(asset(f"{name}.js") for name in SCRIPTS),
    }
    return re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], asset("page.html"))


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element, and all is ASCII, so
    that no encoding changes it.
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
