"""Which GPU there is, asked of the driver's library itself: cuda.core takes long to import."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from tinygraph.compiler.backend import BackendError

DRIVER = "libcuda.so.1"
NEEDED = 13000  # of cuDriverGetVersion: CUDA 13.0, which came with driver 580
OLDEST = (8, 0)  # compute capability that kernels are compiled for
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
REASONS = {  # CUresult, of cuda.h
    3: "the driver is shutting down",
    34: "the driver is a stub library without a GPU",
    100: "the driver finds no GPU",
    101: "the driver finds no usable GPU",
    803: "the driver's library and its kernel module have different versions",
    804: "the driver's library does not fit this GPU",
}


@cache
def architecture() -> str:
    """The architecture of the first GPU, for instance sm_90.

    Raises:
        BackendError: no driver, no GPU, or one that is too old; the message says which.
    """
    return probe(ctypes.CDLL)


def driver_version() -> int:
    """The CUDA version that the installed driver supports: 13010 is CUDA 13.1."""
    return asked(ctypes.CDLL(DRIVER).cuDriverGetVersion)


def probe(load: Callable[[str], Any]) -> str:
    """The architecture, from the library that ``load`` opens."""
    try:
        library = load(DRIVER)
    except OSError:
        raise BackendError(f"no NVIDIA driver is installed ({DRIVER} is missing)") from None
    version = asked(library.cuDriverGetVersion)
    if version < NEEDED:
        found = f"CUDA {version // 1000}.{version % 1000 // 10}"
        raise BackendError(f"the NVIDIA driver supports {found}; 13.0 is needed: driver 580")
    check(library.cuInit(0))
    if asked(library.cuDeviceGetCount) == 0:
        raise BackendError(REASONS[100])
    device = asked(library.cuDeviceGet, 0)
    major, minor = (asked(library.cuDeviceGetAttribute, a, device) for a in (MAJOR, MINOR))
    if (major, minor) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise BackendError(f"the GPU has compute capability {major}.{minor}; {needed} is needed")
    return f"sm_{major}{minor}"


def asked(function: Callable[..., int], *arguments: int) -> int:
    """The integer that a function of the driver writes to its first argument."""
    value = ctypes.c_int()
    check(function(ctypes.byref(value), *arguments))
    return value.value


def check(code: int) -> None:
    if code != 0:
        raise BackendError(REASONS.get(code, f"the NVIDIA driver reports error {code}"))
