"""The store on disk: programs, kernels and generated sources, by key.

Files are written whole or not at all, carry a checksum, and lie in a folder that only the user can
write, since code is run from it. Whatever is wrong with a file makes it missing, never an error; a
folder that cannot be written switches caching off, with one warning.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..settings import settings

KINDS = {"program": ".json", "kernel": ".o", "source": ".py"}
LIMIT = 1 << 30  # bytes
STALE = 3600  # seconds after which an unfinished file was left by a process that died

# Behind the data, so that a source stays a Python module and an object an object.
_MARK = b"\n# sha256 "
_TRAILER = len(_MARK) + 64 + 1


class CacheError(RuntimeError):
    """The cache folder is not safe to run code from."""


def default_store() -> Store:
    """The store in settings.cache, one a process."""
    return _store(settings.cache)


@cache
def _store(folder: Path) -> Store:
    return Store(folder)


class Store:
    """A folder of files by (kind, key).

    Any number of threads and processes may use one folder.

    Args:
        folder: by default, settings.cache.
        limit: bytes; beyond it, the files that were not used for longest are removed.

    Raises:
        CacheError: the folder belongs to, or can be written by, another user.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit: int = LIMIT) -> None:
        self.folder = Path(folder) if folder is not None else settings.cache
        self.limit = limit
        self._room: int | None = None  # bytes left until the folder is looked through again
        self._writable = True
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            for kind in KINDS:
                (self.folder / kind).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            self._switch_off(error)

    def path(self, kind: str, key: str) -> Path:
        """Where an entry lies, whether or not it is there."""
        if kind not in KINDS or not re.fullmatch(r"\w+", key):
            raise ValueError(f"not an entry of the cache: {kind!r} {key!r}")
        return self.folder / kind / (key + KINDS[kind])

    def get(self, kind: str, key: str) -> bytes | None:
        """The data of an entry, or None. A damaged file is removed."""
        path = self.path(kind, key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data, trailer = content[:-_TRAILER], content[-_TRAILER:]
        if trailer != _trailer(data):
            _remove(path)
            return None
        with suppress(OSError):  # read-only: then it only seems unused for longer
            os.utime(path)
        return data

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Writes an entry, or leaves the store as it was."""
        path = self.path(kind, key)
        if not self._writable:
            return
        content = data + _trailer(data)
        try:
            self._make_room(len(content))
            handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, path)
            except BaseException:
                _remove(Path(temporary))
                raise
        except OSError as error:
            self._switch_off(error)

    def _check_owner(self) -> None:
        if os.name != "posix":
            return
        status = self.folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CacheError(
                f"the cache folder {self.folder} can be written by other users, who could plant "
                f"code in it: chmod 700 it, or set TINYGRAPH_CACHE to another folder"
            )

    def _switch_off(self, error: OSError) -> None:
        self._writable = False
        warnings.warn(f"compiled code is not cached: {error}", RuntimeWarning, stacklevel=3)

    def _make_room(self, size: int) -> None:
        """Prunes when the limit is reached; looks through the folder rarely."""
        if self._room is None or self._room < size:
            used = self._prune(self.limit - size)
            self._room = self.limit - used
        self._room -= size

    def _prune(self, allowed: int) -> int:
        """Removes what dead processes left and, beyond `allowed` bytes, the entries unused for
        longest, with a tenth to spare. Returns the bytes that remain."""
        entries = []
        now = time.time()
        for kind in KINDS:
            for path in (self.folder / kind).iterdir():
                try:
                    status = path.stat()
                except OSError:
                    continue  # another process was faster
                if path.name.startswith("."):
                    if now - status.st_mtime > STALE:
                        _remove(path)
                    continue
                entries.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in entries)
        if used <= allowed:
            return used
        for _, size, path in sorted(entries):
            if used <= allowed - self.limit // 10:
                break
            _remove(path)
            used -= size
        return used


def _trailer(data: bytes) -> bytes:
    return _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n"


def _remove(path: Path) -> None:
    with suppress(OSError):  # read-only, or another process was faster
        path.unlink()
