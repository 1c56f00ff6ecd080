"""What ranks must have in common to run one program together."""

from __future__ import annotations

import hashlib
from typing import Any

from ..graph.dump import canonical
from ..graph.ir import Graph
from ..ops.random import SEED
from .backend import find
from .sources import sources_digest


def facts(spec: str, *graphs: Graph) -> dict[str, Any]:
    """By name, for ``require_same``, of the graphs of programs for one backend."""
    backend, runtime = find(spec)
    text = "".join(map(canonical, graphs))
    return {
        "the sources of tinygraph": sources_digest()[:16],
        "the processor that it compiles for": backend.fingerprint(runtime),
        "the seed": int(SEED.value),
        "the program": hashlib.sha256(text.encode()).hexdigest()[:16],
    }
