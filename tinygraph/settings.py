"""Everything that the environment decides, in one place; each variable is also an attribute here.

    TINYGRAPH_BACKEND   settings.backend   which backend compile() takes: ``name[:runtime]``
    TINYGRAPH_THREADS   settings.threads   how many threads run a program; None: one a processor
    TINYGRAPH_CACHE     settings.cache     the folder of compiled code
    TINYGRAPH_DUMP      settings.dump      a folder that gets every stage as a file
    TINYGRAPH_VERIFY    settings.verify    ``values``: check what passes and kernels compute
    TINYGRAPH_CUDA      settings.cuda      what ``backend="cuda"`` is: auto, device, emulate or ptx
    TINYGRAPH_CPU       settings.cpu       native, or a level as x86-64-v3: what code is made for
    TINYGRAPH_TIMEOUT   settings.timeout   seconds that a rank waits for another before all end

A variable is read whenever its attribute is, so it may change while the process runs. An attribute
that was set wins over its variable; setting it to None hands it back to the variable.
"""

from __future__ import annotations

import atexit
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Setting(Generic[T]):
    """An attribute: what was set, else what the environment variable says, else the default."""

    def __init__(self, variable: str, read: Callable[[str], T], default: Callable[[], T]):
        self.variable, self.read, self.default = variable, read, default

    @overload
    def __get__(self, owner: None, kind: type) -> Setting[T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object, kind: type) -> Setting[T] | T:
        if owner is None:
            return self
        if self.variable in vars(owner):
            return vars(owner)[self.variable]
        text = os.environ.get(self.variable, "")
        return self._checked(text) if text else self.default()

    def __set__(self, owner: object, value: Any) -> None:
        if value is None:
            vars(owner).pop(self.variable, None)
        else:
            vars(owner)[self.variable] = self._checked(str(value))

    def _checked(self, text: str) -> T:
        try:
            return self.read(text)
        except ValueError as error:
            raise ValueError(f"{self.variable} requires {error}, got {text!r}") from None


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


MOST_THREADS = 1024


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_THREADS:
        raise ValueError(f"a positive integer up to {MOST_THREADS}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError("a positive number of seconds")
    return value


@cache
def temporary_folder() -> Path:
    """A folder of this process, removed at its end; one that cannot be made if there is no room."""
    try:
        folder = tempfile.mkdtemp(prefix="tinygraph-")
    except OSError:
        return Path(os.devnull) / "tinygraph"
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # not a child that was forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


@cache
def _default_cache() -> Path:
    try:
        return Path.home() / ".cache" / "tinygraph"
    except RuntimeError:  # a user whom the system does not know, as in some containers
        warnings.warn(
            "there is no home folder: compiled code is kept for this process only, unless "
            "TINYGRAPH_CACHE names a folder",
            RuntimeWarning,
            stacklevel=2,
        )
        return temporary_folder()


class Settings:
    """The process' settings; ``tinygraph.settings`` is the only one.

    Each is an attribute, which wins over an environment variable of its name (``threads``:
    TINYGRAPH_THREADS); None hands it back to that. Printing it lists all.

    Raises:
        AttributeError, ValueError: there is no such setting, or it cannot have that value.

    Example:
        >>> tg.settings.threads = 1  # programs that are compiled from now on
        >>> tg.settings.threads
        1
        >>> tg.settings.threads = None
    """

    backend = Setting[str]("TINYGRAPH_BACKEND", str, lambda: "cpu")
    threads = Setting[int | None]("TINYGRAPH_THREADS", _count, lambda: None)
    cache = Setting[Path]("TINYGRAPH_CACHE", Path, _default_cache)
    dump = Setting[Path | None]("TINYGRAPH_DUMP", Path, lambda: None)
    verify = Setting[str | None]("TINYGRAPH_VERIFY", _one_of("values"), lambda: None)
    cuda = Setting[str](
        "TINYGRAPH_CUDA", _one_of("auto", "device", "emulate", "ptx"), lambda: "auto"
    )
    cpu = Setting[str](
        "TINYGRAPH_CPU",
        _one_of(
            "native",
            "sapphirerapids",
            "cooperlake",
            "icelake-server",
            "x86-64-v4",
            "x86-64-v3",
            "x86-64-v2",
            "armv8-a",
        ),
        lambda: "native",
    )
    timeout = Setting[float]("TINYGRAPH_TIMEOUT", _seconds, lambda: 300.0)

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), Setting):
            raise AttributeError(f"there is no setting {name!r}; there is {', '.join(_NAMES)}")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {getattr(self, name)}" for name in _NAMES)


_NAMES = tuple(name for name, field in vars(Settings).items() if isinstance(field, Setting))

settings = Settings()
