"""The store on disk: programs, kernels and generated sources, by key.

Files are written whole or not at all, carry a checksum of their key and content, and belong to the
user, who alone can write them, since code is run from them. Whatever is wrong with a file makes it
missing, never an error. A folder that cannot be written switches caching off, with one warning, and
so do sources that have changed since this process imported them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..settings import settings
from . import sources

KINDS = {"program": ".json", "kernel": ".o", "source": ".py"}
LIMIT = 1 << 30  # bytes
CLAIMED = 10  # seconds for which others wait for who has begun to make an entry
STALE = 3600  # seconds after which an unfinished file was left by a process that died

# After the data, so that a source stays a Python module and an object an object.
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


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the store: when it was last used, its size and its path."""

    used: float
    size: int
    path: Path

    @property
    def key(self) -> tuple[str, str]:
        """Its kind and key, as ``Store.get`` takes them."""
        return self.path.parent.name, self.path.stem


class Store:
    """A folder of files by (kind, key).

    Any number of threads and processes may use one folder.

    Args:
        folder: made if it is missing.
        limit: bytes; beyond it, the files that were not used for longest are removed. Each process
            looks through the folder when it has added a tenth of that.

    Raises:
        CacheError: the folder belongs to, or can be written by, another user.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = LIMIT) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._room = 0  # bytes left until the folder is looked through again
        self._writable = True
        try:
            self._make_folders()
        except OSError as error:
            self._switch_off(error)

    def path(self, kind: str, key: str) -> Path:
        """The path of an entry, whether or not it is there."""
        if kind not in KINDS or not re.fullmatch(r"\w+", key):
            raise ValueError(f"not an entry of the cache: {kind!r} {key!r}")
        return self.folder / kind / (key + KINDS[kind])

    def get(self, kind: str, key: str) -> bytes | None:
        """The data of an entry, or None. A file that is damaged, that was put under another key or
        that another user can write is removed.
        """
        path = self.path(kind, key)
        data = _intact(path, kind, key)
        if data is not None:
            with suppress(OSError):  # read-only: then it only seems unused for longer
                os.utime(path)
        return data

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Writes an entry, or leaves the store as it was. What alone would take half of the limit
        is not kept.
        """
        self.put_all(kind, {key: data})

    def put_all(self, kind: str, entries: Mapping[str, bytes]) -> None:
        """Writes entries by key, as ``put`` does: the sources are looked at once for all."""
        if self._writable and entries and sources.changed():
            self._switch_off(
                "the sources of tinygraph have changed since they were imported (restart the "
                "process to run the new ones)"
            )
        for key, data in entries.items():
            path = self.path(kind, key)
            content = data + _trailer(kind, key, data)
            if not self._writable or len(content) > self.limit // 2:
                continue
            try:
                try:
                    self._write(path, content)
                except FileNotFoundError:  # somebody has removed the folder
                    self._make_folders()
                    self._write(path, content)
            except OSError as error:
                self._switch_off(error)

    def claim(self, kind: str, key: str) -> bool:
        """Whether this process is the one to make an entry: it is not there, and no other process
        has said in the last seconds that it makes it.
        """
        if self.path(kind, key).exists():
            return False
        mark = self._mark(kind, key)
        try:
            if time.time() - mark.stat().st_mtime < CLAIMED:
                return False
            _remove(mark)  # of a process that died
        except OSError:
            pass
        try:
            mark.touch(0o600, exist_ok=False)
        except FileExistsError:
            return False
        except OSError:  # read-only: nobody shares anything
            pass
        return True

    def release(self, kind: str, key: str) -> None:
        """The entry is made, or will not be."""
        _remove(self._mark(kind, key))

    def awaited(self, kind: str, key: str) -> bytes | None:
        """An entry that another process has claimed, once it is there; None if it gives up."""
        while not self.claim(kind, key):
            if (data := self.get(kind, key)) is not None:
                return data
            time.sleep(0.01)
        return None

    def _mark(self, kind: str, key: str) -> Path:
        return self.folder / kind / f".{key}.claim"

    def entries(self) -> list[Entry]:
        """The entries, unused for longest first; removes what dead processes left."""
        found, now = [], time.time()
        for kind in KINDS:
            with suppress(OSError):
                for path in (self.folder / kind).iterdir():
                    try:
                        status = path.stat()
                    except OSError:
                        continue  # another process was faster
                    if not path.name.startswith("."):
                        found.append(Entry(status.st_mtime, status.st_size, path))
                    elif now - status.st_mtime > STALE:
                        _remove(path)
        return sorted(found, key=lambda e: (e.used, e.path))

    def verify(self) -> list[Entry]:
        """Reads all entries; removes and returns those that are damaged."""
        return [e for e in self.entries() if _intact(e.path, *e.key) is None]

    def clear(self) -> None:
        """Removes all entries; programs in memory keep running."""
        for entry in self.entries():
            _remove(entry.path)

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(self.folder)
        for kind in KINDS:
            (self.folder / kind).mkdir(mode=0o700, exist_ok=True)
            _check_owner(self.folder / kind)

    def _write(self, path: Path, content: bytes) -> None:
        self._make_room(len(content))
        handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            _remove(Path(temporary))
            raise

    def _switch_off(self, reason: OSError | str) -> None:
        self._writable = False
        warnings.warn(f"compiled code is not cached: {reason}", RuntimeWarning, stacklevel=3)

    def _make_room(self, size: int) -> None:
        """Prunes when the limit is reached. Looks through the folder only once a tenth of the limit
        was added: other processes add to it too.
        """
        if self._room < size:
            used = self._prune(self.limit - size)
            self._room = max(size, min(self.limit - used, self.limit // 10))
        self._room -= size

    def _prune(self, allowed: int) -> int:
        """Removes, beyond ``allowed`` bytes, the entries unused for longest, with a tenth to spare.
        Returns the bytes that remain.
        """
        entries = self.entries()
        used = sum(entry.size for entry in entries)
        if used <= allowed:
            return used
        for entry in entries:
            if used <= allowed - self.limit // 10:
                break
            _remove(entry.path)
            used -= entry.size
        return used


def _intact(path: Path, kind: str, key: str) -> bytes | None:
    """The data of a file; None, and the file is gone, unless it is as ``put`` wrote it."""
    try:
        with open(path, "rb") as file:
            own = _only_ours(os.fstat(file.fileno()))
            content = file.read()
    except OSError:
        return None
    data, trailer = content[:-_TRAILER], content[-_TRAILER:]
    if own and trailer == _trailer(kind, key, data):
        return data
    _remove(path)
    return None


def _check_owner(folder: Path) -> None:
    if not _only_ours(folder.stat()):
        raise CacheError(
            f"the cache folder {folder} can be written by other users, who could plant "
            f"code in it: chmod 700 it, or set TINYGRAPH_CACHE to another folder"
        )


def _only_ours(status: os.stat_result) -> bool:
    """True if no other user can write a file or folder, as far as the system tells."""
    if os.name != "posix":
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _trailer(kind: str, key: str, data: bytes) -> bytes:
    digest = hashlib.sha256(f"{kind} {key}\n".encode())
    digest.update(data)
    return _MARK + digest.hexdigest().encode() + b"\n"


def _remove(path: Path) -> None:
    with suppress(OSError):  # read-only, or another process was faster
        path.unlink()
