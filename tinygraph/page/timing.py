"""What each thread did when in one profiled run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from ..inspect.inspection import Inspection
from ..plan.records.device import Timeline

MOST = 6000  # bars; of more, those of one kernel one after the other become one
NEAR = 1e-6  # seconds between parts that are one bar then


def timeline(inspection: Inspection, recorded: Timeline) -> dict[str, Any]:
    """Bars by thread: (kernel's launch and member, taken, begin, end), in microseconds."""
    rows: list[list[list[float]]] = [[] for _ in range(recorded.threads)]
    for p in recorded.parts:
        bar = [
            p.launch,
            member(inspection, p.launch, p.part),
            *(round(1e6 * t, 2) for t in (p.taken, p.begin, p.end)),
        ]
        row = rows[p.thread]
        joined = len(recorded.parts) > MOST and row and row[-1][:2] == bar[:2]
        if joined and bar[3] - row[-1][4] < 1e6 * NEAR:
            row[-1][4] = bar[4]
        else:
            row.append(bar)
    return {"us": round(1e6 * recorded.seconds, 2), "threads": rows}


def measured(
    inspection: Inspection, parts: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    """Seconds of each member of each launch, from those of the parts."""
    found: dict[tuple[int, int], float] = {}
    for (launch, part), seconds in parts.items():
        key = (launch, member(inspection, launch, part))
        found[key] = found.get(key, 0.0) + seconds
    return found


def member(inspection: Inspection, launch: int, part: int) -> int:
    """The member of a launch that a part belongs to."""
    work = inspection.code.calls[launch].work
    ends = list(accumulate(w.parts for w in work))
    return work[bisect_right(ends, part)].member
