"""A profile's timeline in the Chrome trace format, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..plan.records.device import Timeline
from .words import layer, what


def trace_text(name: str, timeline: Timeline, rows: Sequence[Any], launches: Sequence[Any]) -> str:
    """The text of a trace file: an event for each part of each launch, and for each wait.

    Args:
        name: of the program.
        rows: the profile's rows of the launches, whose numbers each event repeats.
        launches: of the plan.
    """
    events = list(named_threads(name, timeline))
    for p in timeline.parts:
        row, launch = rows[p.launch], launches[p.launch]
        nodes = [n for m in launch.members for n in m.nodes]
        title = " + ".join(dict.fromkeys(what(m) for m in launch.members))
        numbers = {"launch": p.launch, "part": p.part, "operations of the launch": row.flops,
                   "bytes of the launch": row.bytes, "bound by": row.hint,
                   "from": "; ".join(row.places)}  # fmt: skip
        place = {"pid": 1, "tid": p.thread}
        if p.begin - p.taken > 1e-7:
            events.append({"name": "wait", "cat": "wait", **span(p.taken, p.begin), **place})
        shown = f"{layer(nodes)} {title}".strip()
        kernel = {"name": shown, "cat": "kernel", **span(p.begin, p.end), **place}
        events.append(kernel | {"args": numbers})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})


def span(begin: float, end: float) -> dict[str, Any]:
    """A complete event's times, in microseconds."""
    return {"ph": "X", "ts": round(1e6 * begin, 3), "dur": round(1e6 * (end - begin), 3)}


def named_threads(name: str, timeline: Timeline) -> Iterator[dict[str, Any]]:
    yield {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": name}}
    for thread in range(timeline.threads):
        title = f"worker {thread}" if thread else "caller"
        yield {"name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": {"name": title}}
