"""Leave to use the processor's matrix registers (AMX), which Linux gives to a process that asks.

Intel, Architecture Instruction Set Extensions, chapter on AMX; Linux, Documentation/arch/x86,
xstate.rst.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Mapping
from functools import cache

NEEDED = ("amx-tile", "amx-int8", "amx-bf16")  # in LLVM's words
ARCH_PRCTL = 158  # the number of the system call, on x86-64
REQUEST, TILE_DATA = 0x1023, 18  # ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA


def refusal(flags: Mapping[str, bool]) -> str:
    """Why this process has no matrix registers, given the processor's features; "" if it has."""
    missing = [name for name in NEEDED if not flags.get(name)]
    if missing:
        return f"the processor has no {missing[0]}"
    return "" if permitted() else "the system does not permit them (arch_prctl)"


@cache
def permitted() -> bool:
    """Whether the threads of this process may use the registers. Asked once: threads that begin
    later, and processes that are forked, inherit the answer.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST, TILE_DATA) == 0)
    except (AttributeError, OSError):  # no such function, or a sandbox that forbids it
        return False
