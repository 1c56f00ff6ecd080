"""What the processor offers to LLVM: vector width and registers, name and features."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cache

from tinygraph.settings import settings

from .host import host
from .matrix_registers import refusal


@dataclass(frozen=True, slots=True)
class Features:
    """The target that machine code is made for.

    Attributes:
        lanes: float32 elements of one vector register.
        registers: vector registers.
        fma: whether it has a fused multiply-add.
        cpu, features: LLVM's names, as ``create_target_machine`` takes them.
        quick: whether code that is compiled quickly is preferred to code that runs fast.
        dot: the instruction that products of bytes are made of: "vpdpbusd", "pmaddwd", or "".
        dot_bfloat16: that of products of bfloat16: "vdpbf16ps", or "".
        matrix: whether there are matrix registers (AMX) for products of bytes and of bfloat16.
    """

    lanes: int
    registers: int
    fma: bool
    cpu: str
    features: str
    quick: bool = False
    dot: str = ""
    dot_bfloat16: str = ""
    matrix: bool = False

    def dot_of(self, dtype: str) -> str:
        """The instruction that products of such operands are made of."""
        return {"float32": "", "bfloat16": self.dot_bfloat16}.get(dtype, self.dot)


QUICK = "quick"  # the runtime of ``backend="cpu:quick"``
FEW = 8  # registers of a tile that is compiled quickly: a third of the instructions of a large one


def features_for(runtime: str) -> Features:
    """What code is compiled for; ``runtime`` is QUICK or empty."""
    found = detect()
    return replace(found, registers=FEW, quick=True) if runtime == QUICK else found


# LLVM's tuning for several processors stays at 256 bits: half the speed, and sums in another order
# than elsewhere
WIDE = "-prefer-256-bit"

# What TINYGRAPH_CPU can ask for instead of the processor at hand: on which machines, and what.
LEVELS = {
    "sapphirerapids": (
        ("x86_64",),
        Features(
            16,
            32,
            True,
            "sapphirerapids",
            WIDE,
            dot="vpdpbusd",
            dot_bfloat16="vdpbf16ps",
            matrix=True,
        ),
    ),
    "cooperlake": (
        ("x86_64",),
        Features(16, 32, True, "cooperlake", WIDE, dot="vpdpbusd", dot_bfloat16="vdpbf16ps"),
    ),
    "icelake-server": (("x86_64",), Features(16, 32, True, "icelake-server", WIDE, dot="vpdpbusd")),
    "x86-64-v4": (("x86_64",), Features(16, 32, True, "x86-64-v4", WIDE, dot="pmaddwd")),
    "x86-64-v3": (("x86_64",), Features(8, 16, True, "x86-64-v3", "", dot="pmaddwd")),
    "x86-64-v2": (("x86_64",), Features(4, 16, False, "x86-64-v2", "", dot="pmaddwd")),
    "armv8-a": (("aarch64", "arm64"), Features(4, 32, True, "generic", "+neon")),
}


def detect(level: str | None = None) -> Features:
    """The host's features, or those of a level.

    Args:
        level: ``native``, or one of ``LEVELS``; by default settings.cpu.

    Raises:
        ValueError: there is no such level, or it is of other processors.
    """
    return _features(level or settings.cpu)


@cache
def _features(level: str) -> Features:
    if level != "native":
        if level not in LEVELS:
            raise ValueError(f"TINYGRAPH_CPU requires native, {', '.join(LEVELS)}; got {level!r}")
        machines, found = LEVELS[level]
        if platform.machine() not in machines:
            of = machines[0].replace("_", "-")
            raise ValueError(
                f"TINYGRAPH_CPU={level} is a level of {of}, which this processor is not"
            )
        return found
    cpu, features, flags = host()
    if flags.get("neon"):
        return Features(4, 32, True, cpu, features)
    if flags.get("avx512f"):
        dot = "vpdpbusd" if flags.get("avx512vnni") else "pmaddwd"
        pairs = "vdpbf16ps" if flags.get("avx512bf16") else ""
        matrix, wide = not refusal(flags), f"{features},{WIDE}"
        return Features(16, 32, True, cpu, wide, dot=dot, dot_bfloat16=pairs, matrix=matrix)
    fma = bool(flags.get("fma"))
    dot = "vpdpbusd" if flags.get("avxvnni") else "pmaddwd"
    return Features(8 if flags.get("avx2") else 4, 16, fma, cpu, features, dot=dot)
