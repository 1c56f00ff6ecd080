"""NVIDIA's driver without a GPU: a libcuda.so.1 whose functions are Python, its kernels emulated.

What runs above it is real: cuda-bindings and cuda-core, and the backend's runtime for devices. It
has as much of the driver as they use; what else they call says by its name that it is missing.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .driver import SUCCESS, Driver
from .functions import FUNCTIONS, in_c, missing, put
from .library import load

NAME = "libcuda.so.1"


def unusable() -> str:
    """Why it cannot run here, in one line; empty if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the fake driver is a library for Linux on x86-64"
    if find_spec("cuda") is None or find_spec("cuda.core") is None:
        return "cuda-core is not installed: pip install 'tinygraph[cuda]'"
    return ""


@cache
def install() -> Driver:
    """The driver of this process from now on; nothing may have opened the real one before."""
    driver = Driver()
    functions = {name: in_c(driver, name) for name in FUNCTIONS}
    others: dict[str, Any] = {}

    @ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_char_p, ctypes.c_void_p))
    def cuGetProcAddress_v2(name: bytes, out: int) -> int:
        text = name.decode()
        known = next((n for v in ("", "_v2", "_v3") if (n := text + v) in FUNCTIONS), None)
        if known is None and text not in others:
            others[text] = missing(text)
        found = getattr(library, known) if known else others[text]
        put(out, ctypes.cast(found, ctypes.c_void_p).value or 0)
        return SUCCESS

    functions["cuGetProcAddress_v2"] = cuGetProcAddress_v2
    folder = tempfile.TemporaryDirectory()
    library = load(Path(folder.name) / NAME, functions)
    driver.alive = (functions, others, folder)  # for as long as C may call them
    return driver
