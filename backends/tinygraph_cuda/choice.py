"""What ``backend="cuda[:runtime[:architecture]]"`` means on this machine."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

from tinygraph.compiler.backend import BackendError
from tinygraph.settings import settings

from .compile.budget import LIMITS
from .runtimes import probe

RUNTIMES = ("device", "emulate", "ptx")
ARCHITECTURE = "sm_80"  # that cards are for if there is no device and none is named


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """A runtime, and the architecture that its machine code is for."""

    runtime: str
    architecture: str


def choose(text: str) -> RuntimeChoice:
    """The choice that ``runtime[:architecture]`` makes; "" leaves it to settings.cuda.

    Raises:
        BackendError: no such runtime or architecture; or a device that is not there.
    """
    name, _, architecture = text.partition(":")
    if name and name not in RUNTIMES:
        raise BackendError(
            f"backend 'cuda:{text}': the runtime is one of {', '.join(RUNTIMES)}, got {name!r}"
        )
    if architecture and architecture not in LIMITS:
        known = ", ".join(LIMITS)
        raise BackendError(
            f"backend 'cuda:{text}': the architecture is one of {known}, got {architecture!r}"
        )
    runtime = name or settings.cuda
    if runtime == "auto":
        runtime = automatic()
    if runtime != "device":
        return RuntimeChoice(runtime, architecture or ARCHITECTURE)
    return RuntimeChoice(runtime, device_architecture(text, architecture))


def device_architecture(text: str, wanted: str) -> str:
    """The device's, which must be the one that was asked for."""
    try:
        found = probe.architecture()
    except BackendError as reason:
        raise BackendError(f"backend 'cuda:device' cannot run: {reason}") from None
    if wanted not in ("", found):
        raise BackendError(f"backend 'cuda:{text}': the device is {found}")
    return found


def automatic() -> str:
    """The device if there is one, else the emulator, with a warning."""
    try:
        probe.architecture()
    except BackendError as reason:
        warn(str(reason))
        return "emulate"
    return "device"


@cache
def warn(reason: str) -> None:
    """Once a process."""
    warnings.warn(
        f"backend 'cuda' runs in the emulator, which is for checking, not for speed: {reason}",
        RuntimeWarning,
        stacklevel=2,
    )
