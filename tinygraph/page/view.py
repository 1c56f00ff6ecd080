"""Writes pages and pictures: where ``Program.view``, ``tinygraph.view`` and ``save_svg`` end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..inspect.inspection import Inspection
from ..inspect.profile import Profile
from . import svg
from .loops import loops
from .page import page
from .record import record


def write(
    path: str | os.PathLike[str], programs: Sequence[tuple[Inspection, str, Profile | None]]
) -> Path:
    """Writes the page of some programs, each with its signature and, maybe, a profile.

    Raises:
        ValueError: the file would not be taken for a page.
        OSError: it cannot be written.
    """
    target = Path(path)
    if target.suffix not in (".html", ".htm"):
        raise ValueError(f"view writes a page, a file ending in .html; got {target.name!r}")
    records = [whole(*program) for program in programs]
    target.write_text(page(" and ".join(r["name"] for r in records), records), encoding="utf-8")
    return target


def whole(inspection: Inspection, title: str, profile: Profile | None) -> dict[str, Any]:
    """The record of a program, with the machine code of its loops."""
    found = record(inspection, title, profile)
    for number, lines in loops(inspection):
        found["code"][number]["loop"] = lines
    return found


PICTURES = {"kernels": svg.graph, "memory": svg.memory, "roofline": svg.roofline}


def write_svg(
    path: str | os.PathLike[str], program: tuple[Inspection, str, Profile | None], what: str
) -> Path:
    """Writes a picture of a program, for papers and READMEs.

    Raises:
        ValueError: there is no such picture, or it needs a profile; or the file would not be taken
            for one.
    """
    target = Path(path)
    if what not in PICTURES:
        raise ValueError(f"no picture {what!r}; there is {', '.join(PICTURES)}")
    if target.suffix != ".svg":
        raise ValueError(f"save_svg writes a file ending in .svg; got {target.name!r}")
    target.write_text(PICTURES[what](record(*program)), encoding="utf-8")
    return target
