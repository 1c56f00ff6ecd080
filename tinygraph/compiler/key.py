"""The key of a program in the store: all that its code depends on."""

from __future__ import annotations

import hashlib

import numpy as np

from ..graph.dump import canonical
from ..passes import PIPELINE
from .source import Source
from .sources import sources_digest


def program_key(source: Source) -> str | None:
    """None where the code depends on something without a version: a user's pass or operator. Or
    where all ranks check values together, of which none may find what another has stored.
    """
    graph, options = source.graph, source.options
    if options.verify and any(n.op.ordered for n in graph.everywhere):
        return None
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
