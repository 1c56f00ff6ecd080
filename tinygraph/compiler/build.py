"""Builds a program: from the graph as handed to compile() to its code, without a pass if known.

The program's key leads to a manifest of what running takes, and that through the kernels' keys to
objects.
"""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager

import numpy as np

from . import manifest
from .backend import Starting
from .key import program_key
from .manifest import Built
from .process_setting import ProcessSetting
from .source import Source
from .store import Store


def obtain(source: Source, store: Store, fresh: bool = False) -> Built:
    """The code of a program: looked up, or compiled and kept; ``fresh``: compiled in any case."""
    key = program_key(source)
    if key is not None and not fresh and (data := store.get("program", key)) is not None:
        return manifest.read(data, key)
    built = build(source, store, key)
    if key is not None:
        store.put("program", key, manifest.write(built))
    return built


def build(source: Source, store: Store, key: str | None) -> Built:
    """Compiles. Everything that a later process does not need is imported here."""
    from .check_values import value_check
    from .progress import progress

    check = value_check(source.graph) if source.options.verify == "values" else None
    if isinstance(source.backend, Starting):
        source.backend.start()
    with progress(source.graph.name), rarely_collected():
        made = source.translate(check)
        source.backend.build(made.code, store, source.runtime)
    constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
    return Built(made.code, constants, key, made)


OBJECTS = 200_000  # new ones after which the collector searches while something is compiled
_THRESHOLDS = ProcessSetting(
    gc.get_threshold, lambda found: gc.set_threshold(*found), lambda found: (OBJECTS, *found[1:])
)


def rarely_collected() -> AbstractContextManager[None]:
    """Reference cycles are searched for rarely: compiling allocates much and keeps most of it until
    the end, and the usual search every 700 objects finds nothing.

    The collector is one for the whole process. Cycles that other threads leave meanwhile are found
    too, only later; whether it is on is never touched.
    """
    return _THRESHOLDS.changed()
