"""Why not: remarks with the nodes and kernels that they are about."""

from __future__ import annotations

from typing import Any

from ..inspect.inspection import Inspection
from .items import Items


def remarks(inspection: Inspection, items: Items) -> list[dict[str, Any]]:
    """Every remark; those of one kind have one number."""
    kinds: dict[tuple[str, ...], int] = {}
    found = []
    for r in inspection.details:
        kind = kinds.setdefault(r.kind or (r.text,), len(kinds))
        record: dict[str, Any] = {"text": r.text, "kind": kind, "bytes": r.bytes}
        found.append(record | {"about": r.about, "items": items.of(r.nodes)})
    return found
