"""Writes pages: ``Program.view`` and ``tinygraph.view`` end here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..inspect.inspection import Inspection
from ..inspect.profile import Profile
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
    records = [record(*program) for program in programs]
    target.write_text(page(" and ".join(r["name"] for r in records), records), encoding="utf-8")
    return target
