"""Memory over time: every buffer, what it holds, when it is live."""

from __future__ import annotations

from typing import Any

from ..inspect.inspection import Inspection
from ..inspect.plan_text import buffer_names
from .items import Items


def memory(inspection: Inspection, items: Items) -> dict[str, Any]:
    """The buffers of a plan, and the bytes that are live in each launch."""
    plan, names = inspection.plan, buffer_names(inspection.plan)
    held: dict[int, list[int]] = {}
    for node, location in plan.stored:
        held.setdefault(id(location.buffer), []).extend(items.of([node]))
    known = {n: items.last[n] for n in inspection.parameters if n in items.last}
    for b in plan.buffers:
        if b.home == "parameter" and inspection.parameters[b.number] in known:
            held.setdefault(id(b), []).append(known[inspection.parameters[b.number]])
    buffers = []
    for b in plan.buffers:
        record: dict[str, Any] = {"name": names[id(b)], "home": b.home, "bytes": b.bytes}
        if b.home in ("arena", "prepared"):
            record |= {"offset": b.offset}
        if b.home == "arena":
            record |= {"first": b.first, "last": b.last}
        if id(b) in held:
            record["items"] = sorted({*held[id(b)]})
        buffers.append(record)
    live = [0] * (len(plan.launches) + 1)
    for b in plan.buffers:
        if b.home == "arena" and b.first >= 0:
            live[b.first] += b.bytes
            live[min(b.last + 1, len(plan.launches))] -= b.bytes
    for k in range(1, len(live)):
        live[k] += live[k - 1]
    return {
        "buffers": buffers,
        "arena": plan.arena,
        "prepared": plan.prepared,
        "bound": plan.live_bound,
        "live": live[:-1],
    }
