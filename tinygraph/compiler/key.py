"""The key of a program in the store: all that its code depends on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from ..graph.dump import canonical
from ..passes import PIPELINE
from .source import Source


def program_key(source: Source) -> str | None:
    """None where the code depends on something without a version: a user's pass or operator."""
    graph, options = source.graph, source.options
    others = (p for p in options.passes if p not in PIPELINE)
    versions = {p.__name__: getattr(p, "version", None) for p in others}
    versions |= {n.op.name: n.op.version for n in graph.everywhere if not n.op.built_in}
    if None in versions.values():
        return None
    numbers = {p: i for i, p in enumerate(graph.parameters)}
    changed = [numbers.get(p, -1) for p in source.updates]
    orders = [p.state.order for p in source.parameters]
    content = "\n".join((
        canonical(graph), repr((changed, orders, sorted(versions.items()))), options.text(),
        source.backend.fingerprint(source.runtime), sources_digest(), f"numpy {np.__version__}",
    ))  # fmt: skip
    return hashlib.sha256(content.encode()).hexdigest()[:32]


@cache
def sources_digest() -> str:
    """Of every source file of the project: editing one line of a pass is seen as a miss."""
    here = Path(__file__).parent.parent
    roots = [root for root in (here.parent / "backends", here.parent) if root.is_dir()]
    digest = hashlib.blake2b()  # twice as fast as SHA-256 where that has no instructions
    for folder in (here, *(f for root in roots for f in sorted(root.glob("tinygraph_*")))):
        for path in sources(str(folder)):
            digest.update(path.removeprefix(str(folder)).encode())
            with open(path, "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


def sources(folder: str) -> Iterator[str]:
    """Python files in a folder and those below, in a fixed order."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        if entry.name.endswith(".py"):
            yield entry.path
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from sources(entry.path)
