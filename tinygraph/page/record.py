"""All that a page shows of one program, as plain data: see the other files of this room."""

from __future__ import annotations

from typing import Any

from ..inspect.inspection import Inspection
from ..inspect.profile import Profile
from .code import files, generated, place_records
from .items import Items
from .kernels import kernels
from .memory import memory
from .remarks import remarks
from .stages import stages
from .timing import timeline


def record(inspection: Inspection, title: str, profile: Profile | None = None) -> dict[str, Any]:
    """A program's stages, kernels, texts, memory and remarks; with a profile its times.

    Args:
        title: the program's signature.
    """
    items = Items(inspection.steps)
    texts = generated(inspection)
    made = kernels(inspection, items, texts, profile)
    items.nearest({n for k in made for n in k["items"]})
    found: dict[str, Any] = {
        "name": inspection.plan.name,
        "title": title,
        "cost": inspection.cost(),
        "launches": [
            {"name": x.name, "waits": list(x.waits), "parts": x.parts}
            for x in inspection.plan.launches
        ],
        "loops": [[x.first, x.last, x.length] for x in inspection.plan.loops],
        "devices": list(inspection.plan.devices),
        "stages": stages(inspection.steps, items),
        "kernels": made,
        "code": texts,
        "memory": memory(inspection, items),
        "remarks": remarks(inspection, items),
    }
    if profile is not None:
        found["profile"] = {
            "seconds": profile.seconds,
            "threads": profile.peak.threads,
            "flops": profile.peak.flops,
            "bandwidth": profile.peak.bandwidth,
        }
        if profile.timing.timeline is not None:
            found["timeline"] = timeline(inspection, profile.timing.timeline)
    return found | {
        "items": items.table,
        "places": place_records(items.known),
        "files": files(items.known),
    }
