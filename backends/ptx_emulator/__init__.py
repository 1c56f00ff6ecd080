"""An emulator of CUDA kernels: the PTX that a GPU's driver would be given, on NumPy arrays.

    memory = Memory()
    x = memory.upload(array, "x")
    Kernel(ptx)(memory, grid, block, [x, array.size])
    result = memory.read(x, array.shape, "float32")

Every access is checked for bounds, alignment and races, every barrier for divergence; a Fault names
kernel, line and thread. README.md says what is checked and what cannot be seen.
"""

from .counters import Counters
from .faults import (
    DivergentBarrier,
    DivergentWarp,
    Fault,
    Misaligned,
    OutOfBounds,
    Race,
    Trap,
    Unfinished,
    Uninitialized,
    UnsupportedInstruction,
)
from .kernel import Kernel
from .memory import Memory

__all__ = [
    "Counters",
    "DivergentBarrier",
    "DivergentWarp",
    "Fault",
    "Kernel",
    "Memory",
    "Misaligned",
    "OutOfBounds",
    "Race",
    "Trap",
    "Unfinished",
    "Uninitialized",
    "UnsupportedInstruction",
]
