"""The project's source files: their digest is part of every key, and is that of what was imported.

Files can change while a process runs: an upgrade, an edit while a notebook is open. What the
process then compiles is made by the old code, or by modules of both, so it must not be kept under
the key of the new files. They are looked at when tinygraph is imported, before any other module is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

Look = dict[str, tuple[int, int, int]]  # of each file: when it was written, its size, its inode


def folders() -> list[str]:
    """The folders of the core and of the backends that are installed with it."""
    here = Path(__file__).parent.parent
    roots = [root for root in (here.parent / "backends", here.parent) if root.is_dir()]
    return [str(here), *(str(f) for root in roots for f in sorted(root.glob("tinygraph_*")))]


def files(folder: str) -> Iterator[os.DirEntry[str]]:
    """Python files in a folder and those below, in a fixed order."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        if entry.name.endswith(".py"):
            yield entry
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from files(entry.path)


def look() -> Look:
    """How the source files look now."""
    stats = {e.path: e.stat() for folder in folders() for e in files(folder)}
    return {path: (s.st_mtime_ns, s.st_size, s.st_ino) for path, s in stats.items()}


IMPORTED = look()


def changed() -> bool:
    """True if any source file was changed, added or removed since tinygraph was imported."""
    try:
        return look() != IMPORTED
    except OSError:  # just being replaced
        return True


def digest(paths: Iterable[str | Path]) -> str:
    """The digest of files as they were imported; if they have changed since, a word that no other
    process has, so that nothing is found under it.
    """
    content = hashlib.blake2b()  # twice as fast as SHA-256 where that has no instructions
    try:
        for path in paths:
            content.update(os.path.basename(path).encode())
            with open(path, "rb", buffering=0) as file:  # Path.read_bytes takes twice as long
                content.update(file.read())
    except OSError:
        return uuid4().hex
    return uuid4().hex if changed() else content.hexdigest()


@cache
def sources_digest() -> str:
    """The digest of every source file: editing one line of a pass is seen as a miss."""
    return digest(entry.path for folder in folders() for entry in files(folder))
