"""What a process of its own does for a check: asks the machine, runs one case, or PyTorch's step.

A fault of a GPU ends its context for the process, and a kernel may hang: what comes after it is in
other processes.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any

from tinygraph.compiler.backend import BackendError

from ..compile.compiled import CompiledKernel
from ..runtimes import device, probe
from .peer import peers
from .replay import replay
from .results import Machine, Result, write

PACKAGES = ("numpy", "cuda-core", "cuda-bindings", "numba-cuda", "nvidia-nvjitlink", "torch")


class LenientRuntime(device.DeviceRuntime):
    """Where the driver refuses machine code, it compiles the kernel's PTX itself; that is noted."""

    def __init__(self, core: Any):
        super().__init__(core)
        self.notes: list[str] = []

    def load(self, built: CompiledKernel, name: str) -> Any:
        try:
            return super().load(built, name)
        except BackendError as error:
            self.notes.append(str(error))
            ptx = built.ptx.encode()  # a str would be the name of a file
            return self.core.ObjectCode.from_ptx(ptx, name=name).get_kernel(built.symbol)


def main(folder: Path, kind: str, number: int, out: Path) -> None:
    """Writes what was found to ``out``, and ends the process before anything can be torn down."""
    if kind == "machine":
        write(out, machine())
    elif kind == "torch":
        write(out, peers(case_of(folder, number)))
    else:
        write(out, case(folder, number))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def versions() -> dict[str, str]:
    """Of Python and packages, none of which is imported."""
    found = {"system": platform(), "Python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> Machine:
    found = Machine(versions())
    try:
        found.architecture = probe.architecture()
        runtime = device.DeviceRuntime(device.cuda_core())
        found.device = runtime.describe()
        found.roofline = runtime.roofline()
    except Exception as error:
        problem = described(error)
        found.problem = "" if found.device else problem
        found.device += f"; its rates are not known: {problem}" if found.device else ""
    return found


def case(folder: Path, number: int) -> Result:
    """A case on the GPU; whatever goes wrong is in the result."""
    result = Result(case_of(folder, number)["name"], ran=True)
    try:
        runtime = LenientRuntime(device.cuda_core())
        try:
            replay(folder, number, runtime, probe.architecture(), result)
        finally:
            if runtime.notes:
                more = f" (and {len(runtime.notes) - 1} more)" if runtime.notes[1:] else ""
                result.notes.append(f"{runtime.notes[0]}{more}: PTX was compiled by the driver")
    except Exception as error:
        result.fault = described(error)
    return result


def case_of(folder: Path, number: int) -> dict[str, Any]:
    return json.loads((folder / "cases" / f"{number:03}.json").read_text())


def described(error: Exception) -> str:
    """In one line."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, BackendError) else f"{type(error).__name__}: {text}"
