"""A page about a value that is wrong: its node is selected, its numbers are a histogram."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..inspect.inspection import Inspection
from .items import Items
from .page import page
from .record import record

BINS = 32


def write_failure(
    inspection: Inspection, title: str, text: str, nodes: Sequence[Node], values: np.ndarray
) -> Path:
    """Writes a page into the folder for temporary files, where it stays.

    Args:
        text: what is wrong.
        nodes: of the graph as it was written or after the passes, the wrong one first.
        values: of the first of them.

    Raises:
        OSError: it cannot be written.
    """
    items = Items(inspection.steps)
    shown = [stage[n] for n in nodes for stage in (items.whole[0], items.last) if n in stage]
    found = record(inspection, title)
    found["failure"] = {
        "text": text,
        "items": list(dict.fromkeys(shown)),
        "histogram": histogram(values),
    }
    name = re.sub(r"\W+", "_", inspection.plan.name)[:40]
    number, path = tempfile.mkstemp(".html", f"tinygraph-{name}-")
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(page(f"{found['name']}: {text.partition(chr(10))[0]}", [found]))
    return Path(path)


def histogram(values: np.ndarray) -> dict[str, Any]:
    """How often which numbers occur; NaN and infinities by themselves."""
    numbers = np.asarray(values, np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    counts, edges = np.histogram(finite, BINS) if finite.size else (np.zeros(0, int), np.zeros(0))
    return {
        "counts": counts.tolist(),
        "edges": [float(f"{e:.6g}") for e in edges],
        "size": int(numbers.size),
        "nan": int(np.isnan(numbers).sum()),
        "inf": int((numbers == np.inf).sum()),
        "-inf": int((numbers == -np.inf).sum()),
        "zero": int((numbers == 0).sum()),
    }
